"""`sheaf open`: a one-time link to the web editor."""

from __future__ import annotations

from typing import Annotated

import typer

from sheaf.cli.options import AsJson, DataDir, Session


def open_editor(
    ctx: typer.Context,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print the link.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a one-time link to the web editor and open it."""
    from sheaf.cli.browser import open_browser

    session = Session(ctx, data_dir, as_json)
    link = session.client.post("/launch")["link"]
    session.show({"link": link}, lambda: typer.echo(link))
    if not no_open:
        open_browser(link, session.data_dir)
