"""`sheaf invite SPACE --code`: a code to say aloud, and who came.

The code lives in the daemon: this command only looks at it. Ending it with Ctrl-C withdraws the
code; when it is ended in any other way (a closed terminal), the code goes on.
"""

from __future__ import annotations

from typing import Any, Final

import typer

from sheaf.cli.errors import CommandFailed
from sheaf.cli.options import Session, note
from sheaf.cli.tables import printable
from sheaf.cli.waiting import Waiting

_POLL_S: Final = 0.2


def invite_by_code(session: Session, space: str, role: str, *, is_waiting: bool) -> None:
    """Make a code, show it, and (`is_waiting`) wait until somebody came or it is over."""
    from sheaf.cli.resolve import find_space

    found = find_space(session.client, space)
    name = printable(found["name"])
    address = f"/spaces/{found['space_id']}/invitations"
    with Waiting() as waiting:
        invitation = session.client.post(address, {"role": role, "code": True})
        made = f"{address}/{invitation['invitation_id']}"
        try:
            _show_code(session, invitation, name, is_waiting=is_waiting)
            waiting.check()
            if is_waiting:
                invitation = _follow(session, made, waiting)
        except KeyboardInterrupt:
            session.client.delete(made)
            note("The code is withdrawn.")
            raise
    shown = {key: value for key, value in invitation.items() if key != "qr_svg"}
    session.show(shown, lambda: typer.echo(_who_came(invitation, name)) if is_waiting else None)


def _who_came(invitation: dict[str, Any], name: str) -> str:
    guest = printable(invitation["guest_name"] or "")
    if invitation["code_problem"] is not None:
        return f"{guest} is in “{name}” already. {invitation['code_problem']}"
    return f"{guest} is in “{name}” now."


def _show_code(session: Session, invitation: dict[str, Any], name: str, *, is_waiting: bool) -> None:
    note(
        f"A code for one person to join “{name}” as {invitation['role']}, once and within ten minutes. "
        "Say it to them:"
    )
    if not session.as_json:
        typer.echo(invitation["code"])
    elif is_waiting:  # standard output is for the one value that comes at the end
        note(invitation["code"])
    note(
        f"They run: sheaf join {invitation['code']}\n"
        f"(with --relay {invitation['code_relay']} if their Sheaf does not use that relay)"
    )
    if is_waiting:
        note("Waiting for them. Ctrl-C withdraws the code.")


def _follow(session: Session, address: str, waiting: Waiting) -> dict[str, Any]:
    """Until they are in. Raises CommandFailed when the code is over without anybody."""
    is_told = False
    while True:
        invitation: dict[str, Any] = session.client.get(address)
        state = invitation["code_state"]
        if invitation["safety_words"] is not None and not is_told:
            is_told = True
            _show_words(session, invitation)
        if state == "used":
            return invitation
        if state is None:
            raise CommandFailed("The code was withdrawn.")
        if state not in ("waiting", "confirmed"):
            raise CommandFailed(
                invitation["code_problem"] or "They have the ticket and did not come. Make a new code."
            )
        waiting.sleep(_POLL_S)


def _show_words(session: Session, invitation: dict[str, Any]) -> None:
    me = printable(session.client.get("/status")["user_name"])
    guest = printable(invitation["guest_name"])
    note(safety_words(f"{guest} knows the code and has the ticket.", me, guest, invitation["safety_words"]))


def safety_words(what: str, me: str, other: str, words: list[str]) -> str:
    """What both people are told once they met, on either side."""
    return (
        f"{what}\n\n    {' '.join(words)}\n\n"
        f"These are the safety words, for {me} and {other} alike. Compare them: if {other} sees others, "
        "somebody heard the code and stands between you. Then write nothing in this space."
    )
