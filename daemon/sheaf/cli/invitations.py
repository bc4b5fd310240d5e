"""`sheaf invitations SPACE`: the open tickets and codes of a space, and how to withdraw one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, SpaceArgument
from sheaf.cli.tables import plural, print_table

_PREFIX_CHARS_MIN = 4


def invitations(
    ctx: typer.Context,
    space: SpaceArgument,
    withdraw: Annotated[
        str | None,
        typer.Option("--withdraw", metavar="ID", help="Make this one worthless (the beginning of its id)."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the tickets and codes that can still be used, or withdraw one."""
    from sheaf.cli.resolve import find_space

    session = Session(ctx, data_dir, as_json)
    address = f"/spaces/{find_space(session.client, space)['space_id']}/invitations"
    open_ones: list[dict[str, Any]] = session.client.get(address)["invitations"]
    if withdraw is not None:
        found = _meant(open_ones, withdraw)
        session.client.delete(f"{address}/{found['invitation_id']}")
        session.show(_shown(found), lambda: typer.echo(f"Withdrawn: {found['invitation_id']}"))
        return
    session.show(
        [_shown(each) for each in open_ones],
        lambda: print_table(
            ("ID", "ROLE", "USES LEFT", "UNTIL", "WHAT"),
            (_row(each) for each in open_ones),
            empty="No invitation is open.",
        ),
    )


def _meant(open_ones: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The one whose id begins like this, or whose code it is."""
    folded = wanted.strip().lower()
    found = [
        each
        for each in open_ones
        if each["code"] == folded
        or (len(folded) >= _PREFIX_CHARS_MIN and each["invitation_id"].startswith(folded))
    ]
    if not found:
        raise CommandFailed(f"There is no open invitation “{wanted}” in this space.", ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise CommandFailed(
            f"“{wanted}” fits {plural(len(found), 'invitation')}; give more of the id.", ExitCode.USAGE
        )
    return found[0]


def _row(invitation: dict[str, Any]) -> tuple[str, ...]:
    return (
        invitation["invitation_id"],
        invitation["role"],
        str(invitation["uses_left"]),
        invitation["expires_at"] or "no end",
        _what(invitation),
    )


def _what(invitation: dict[str, Any]) -> str:
    if invitation["code"] is not None:
        guest = f" by {invitation['guest_name']}" if invitation["guest_name"] else ""
        return f"code {invitation['code']}, {invitation['code_state']}{guest}"
    if invitation["ticket"] is None:
        return "ticket, made on another device"
    return "ticket"


def _shown(invitation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in invitation.items() if key != "qr_svg"}
