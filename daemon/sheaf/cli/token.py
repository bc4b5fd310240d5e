"""`sheaf token`: the bearer token for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from sheaf.cli.options import AsJson, DataDir, Session, note


def token(
    ctx: typer.Context,
    new: Annotated[
        bool, typer.Option("--new", help="Replace it; whatever uses the old one is cut off.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the bearer token for scripts. It can do everything you can: keep it secret."""
    from sheaf.cli.client import read_token

    session = Session(ctx, data_dir, as_json)
    if new:
        value = session.client.post("/token")["token"]
        note("The old token no longer works.")
    else:
        value = read_token(session.data_dir, port=None)
    session.show({"token": value}, lambda: typer.echo(value))
