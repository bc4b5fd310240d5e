"""`sheaf invite SPACE`: a ticket for somebody else, or a code to say aloud (`invite_code`)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, SpaceArgument, note
from sheaf.cli.tables import plural, printable


class InvitedRole(StrEnum):
    """What `--role` takes."""

    EDITOR = "editor"
    READER = "reader"


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AUTO = "auto"


def invite(
    ctx: typer.Context,
    space: SpaceArgument,
    role: Annotated[
        InvitedRole, typer.Option("--role", help="What they may do: write, or only read.")
    ] = InvitedRole.EDITOR,
    code: Annotated[
        bool,
        typer.Option(
            "--code",
            help="Instead of a ticket: a short code to say aloud, for one person, within ten minutes. "
            "Waits for them; Ctrl-C withdraws it. Needs a relay.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --code: print it and end; the daemon waits for them.")
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="For how long: 30m, 12h, 7d. Default: no end."),
    ] = None,
    uses: Annotated[int, typer.Option("--uses", min=1, max=1000, help="How many people may use it.")] = 1,
    qr: Annotated[bool, typer.Option("--qr", help="Draw it as a QR code, too.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="HOST:PORT",
            help="Add where you listen, for networks without multicast; "
            "'auto' adds this machine's addresses.",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a ticket. Whoever has it can join: send it over a channel you trust.

    Or, with --code, print a code to say aloud, and show who came.
    """
    from sheaf.cli.resolve import find_space

    if code:
        if expires is not None or uses != 1 or qr or host is not None:
            raise CommandFailed(
                "A code is for one person and ten minutes: leave --expires, --uses, --qr and --host out.",
                ExitCode.USAGE,
            )
        from sheaf.cli.invite_code import invite_by_code

        invite_by_code(Session(ctx, data_dir, as_json), space, role.value, is_waiting=not no_wait)
        return
    if no_wait:
        raise CommandFailed("--no-wait goes with --code.", ExitCode.USAGE)
    body: dict[str, Any] = {"role": role.value, "max_uses": uses}
    if expires is not None:
        body["expires_in_s"] = seconds(expires)
    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    invitation = session.client.post(f"/spaces/{found['space_id']}/invitations", body)
    if host is not None:
        invitation["ticket"] += "@" + (_own_addresses(session) if host == _AUTO else host)
        invitation["link"] = f"sheaf:join#{invitation['ticket']}"

    def human() -> None:
        note(
            f"For {plural(uses, 'person') if uses == 1 else f'{uses} people'} to join "
            f"“{printable(found['name'])}” as {role.value}"
            + (f", until {invitation['expires_at']}" if invitation["expires_at"] else "")
            + ". They run: sheaf join TICKET"
        )
        typer.echo(invitation["ticket"])
        if qr:
            _draw(invitation["ticket"])

    session.show({key: value for key, value in invitation.items() if key != "qr_svg"}, human)


def seconds(text: str) -> int:
    """`30m`, `12h`, `7d`… in seconds. Raises CommandFailed (2) for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip().lower())
    if match is None or not 60 <= int(match[1]) * _SECONDS[match[2]] <= 366 * 86_400:
        raise CommandFailed(
            f"--expires {text}: give a number and a unit between 1m and 366d, like 30m, 12h or 7d.",
            ExitCode.USAGE,
        )
    return int(match[1]) * _SECONDS[match[2]]


def _own_addresses(session: Session) -> str:
    addresses = session.client.get("/status")["lan"]["addresses"]
    if not addresses:
        raise CommandFailed("This machine has no address on a network to put into the ticket.")
    return ",".join(addresses[:8])


def _draw(ticket: str) -> None:
    import segno

    segno.make(ticket, error="l").terminal(compact=True)
