"""The `sheaf` command. Modules import what is heavy inside their functions, so `--help` is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sheaf import __version__
from sheaf.cli import doc, doctor, invitations, invite, join, members, open, relay, space, status, token, up
from sheaf.cli.errors import CommandFailed
from sheaf.cli.options import AsJson, DataDir, RootOptions
from sheaf.journal import ERROR, is_journal, with_priority

app = typer.Typer(
    name="sheaf",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 not found, 5 not allowed, "
    "6 not saved, 75 data directory in use.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sheaf {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Documents that live on your own machines and meet each other directly."""
    ctx.obj = RootOptions(data_dir=data_dir, as_json=as_json)


app.command("up")(up.up)
app.command("status")(status.status)
app.command("open")(open.open_editor)
app.add_typer(space.app, name="space")
app.add_typer(doc.app, name="doc")
app.command("invite")(invite.invite)
app.command("invitations")(invitations.invitations)
app.command("join")(join.join)
app.command("members")(members.members)
app.command("peers")(status.peers)
app.command("token")(token.token)
app.add_typer(doctor.app, name="doctor")
app.command("relay")(relay.relay)


def main() -> None:
    """The console script."""
    try:
        app()
    except CommandFailed as failure:
        text = f"sheaf: {failure}"
        typer.echo(with_priority(text, ERROR) if is_journal(sys.stderr) else text, err=True)
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    main()
