"""`sheaf space …`: create, list, show, rename, relays, leave."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, SpaceArgument
from sheaf.cli.tables import plural, print_table, printable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make and manage spaces.")


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a space. You own it."""
    session = Session(ctx, data_dir, as_json)
    space = session.client.post("/spaces", {"name": name})
    session.show(space, lambda: typer.echo(f"{space['space_id']}  {printable(space['name'])}"))


@app.command("list")
def list_spaces(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the spaces on this device."""
    session = Session(ctx, data_dir, as_json)
    spaces = session.client.get("/spaces")["spaces"]
    session.show(spaces, lambda: print_spaces(spaces))


@app.command()
def show(ctx: typer.Context, space: SpaceArgument, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one space and its documents."""
    from sheaf.cli.resolve import find_space
    from sheaf.cli.tables import print_tree

    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    documents = session.client.get(f"/spaces/{found['space_id']}/documents")["documents"]

    def human() -> None:
        typer.echo(f"{printable(found['name'])}\n{found['space_id']}")
        state = "" if found["state"] == "ready" else f", {found['state']}"
        typer.echo(
            f"You are {found['role']}{state}; {plural(found['member_count'], 'member')}, "
            f"{plural(found['document_count'], 'document')}.\n"
        )
        print_tree(documents)

    session.show({**found, "documents": documents}, human)


@app.command()
def rename(
    ctx: typer.Context,
    space: SpaceArgument,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give a space another name, for everybody in it."""
    from sheaf.cli.resolve import find_space

    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    renamed = session.client.patch(f"/spaces/{found['space_id']}", {"name": name})
    session.show(renamed, lambda: typer.echo(f"{renamed['space_id']}  {printable(renamed['name'])}"))


@app.command()
def relays(
    ctx: typer.Context,
    space: SpaceArgument,
    urls: Annotated[list[str] | None, typer.Argument(metavar="[URL…]", help="wss://host, up to 4.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Use no relay.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the relays of a space, or choose them for everybody in it."""
    from sheaf.cli.resolve import find_space

    if urls and none:
        raise CommandFailed("Give addresses or --none, not both.", ExitCode.USAGE)
    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    if urls or none:
        found = session.client.patch(f"/spaces/{found['space_id']}", {"relay_urls": urls or []})

    def human() -> None:
        for url in found["relay_urls"]:
            typer.echo(url)
        if not found["relay_urls"]:
            typer.echo("This space has no relay: its members meet on the same network only.")

    session.show({"space_id": found["space_id"], "relay_urls": found["relay_urls"]}, human)


@app.command()
def leave(
    ctx: typer.Context,
    space: SpaceArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove a space from this device. Other members keep it."""
    from sheaf.cli.resolve import find_space

    session = Session(ctx, data_dir, as_json=False)
    found = find_space(session.client, space)
    if not yes:
        typer.confirm(f"Remove “{printable(found['name'])}” from this device?", abort=True)
    session.client.delete(f"/spaces/{found['space_id']}")


def print_spaces(spaces: list[dict[str, Any]]) -> None:
    """The table of spaces."""
    print_table(
        ("ID", "NAME", "ROLE", "MEMBERS", "DOCUMENTS", "STATE"),
        (
            (
                space["space_id"],
                space["name"],
                space["role"],
                str(space["member_count"]),
                str(space["document_count"]),
                space["state"],
            )
            for space in spaces
        ),
        empty="There are no spaces yet. Make one with `sheaf space create NAME`, or join one with a ticket.",
    )
