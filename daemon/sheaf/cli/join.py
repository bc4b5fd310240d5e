"""`sheaf join TICKET` (or a spoken code): join a space and wait until the first catch-up is complete."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, note
from sheaf.cli.tables import human_bytes, printable
from sheaf.cli.waiting import Waiting

_POLL_S: Final = 0.1
_SENTENCES: Final = {
    "searching": "Looking for the other side",
    "connecting": "Connecting",
    "joining": "Asking to join",
    "catching_up": "Fetching",
    "done": "Done",
}


def join(
    ctx: typer.Context,
    ticket: Annotated[
        list[str],
        typer.Argument(
            metavar="TICKET", help="sheaf1…, or the whole link; or a code that was said: 7-orbit-velvet."
        ),
    ],
    relay: Annotated[
        str | None,
        typer.Option(
            "--relay",
            metavar="URL",
            help="With a code: the relay of who invites, if this daemon does not use it: wss://…",
        ),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up after this long.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Join a space with a ticket or a spoken code; ends when everything in it has arrived."""
    session = Session(ctx, data_dir, as_json)
    asked = {"ticket": " ".join(ticket)} | ({} if relay is None else {"relay": relay})
    with Waiting() as waiting:
        begun = session.client.post("/join", asked)
        try:
            last = _follow(_steps(session, begun, timeout_s, waiting), session)
        except KeyboardInterrupt:
            session.client.delete(f"/join/{begun['join_id']}")
            raise
    if last["state"] == "failed":
        raise CommandFailed(f"{last['error']['title']}: {last['error']['detail']}")
    name = printable(last["space_name"] or last["space_id"])
    session.show(last, lambda: typer.echo(f"You are in “{name}”. {last['space_id']}"))


def _follow(steps: Iterator[dict[str, Any]], session: Session) -> dict[str, Any]:
    if sys.stderr.isatty() and not session.as_json:
        return _with_bar(steps, _Words(session))
    return _with_lines(steps, _Words(session))


def _steps(
    session: Session, join: dict[str, Any], timeout_s: float | None, waiting: Waiting
) -> Iterator[dict[str, Any]]:
    """The join as it changes, ending with `done` or `failed`."""
    give_up_at = time.monotonic() + timeout_s if timeout_s is not None else None
    while True:
        yield join
        if join["state"] in ("done", "failed"):
            return
        if give_up_at is not None and time.monotonic() >= give_up_at:
            session.client.delete(f"/join/{join['join_id']}")
            raise CommandFailed(
                f"Nothing came of it in {timeout_s:g} s (last: {_SENTENCES[join['state']].lower()}). "
                "Is the other side's daemon running and on this network? "
                "Without multicast, ask for a ticket made with --host.",
                ExitCode.FAILED,
            )
        waiting.sleep(_POLL_S)
        join = session.client.get(f"/join/{join['join_id']}")


class _Words:
    """The safety words, told once, as soon as they are known."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_told = False

    def news(self, join: dict[str, Any]) -> str | None:
        """What to say now, if anything."""
        if self._is_told or join["safety_words"] is None:
            return None
        from sheaf.cli.invite_code import safety_words

        self._is_told = True
        me, inviter = self._session.client.get("/status")["user_name"], printable(join["inviter_name"])
        return safety_words(f"{inviter} sent the ticket.", printable(me), inviter, join["safety_words"])


def _with_lines(steps: Iterator[dict[str, Any]], words: _Words) -> dict[str, Any]:
    shown = None
    for join in steps:
        if text := words.news(join):
            note(text)
        if join["state"] != shown and join["state"] in _SENTENCES:
            shown = join["state"]
            size = f" {human_bytes(join['total_bytes'])}" if join["total_bytes"] else ""
            note(f"{_SENTENCES[shown]}{size}…" if shown != "done" else "Done.")
    return join


def _with_bar(steps: Iterator[dict[str, Any]], words: _Words) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(_SENTENCES["searching"], total=None)
        for join in steps:
            if text := words.news(join):
                progress.console.print(text, markup=False, highlight=False)
            progress.update(
                task,
                description=_SENTENCES.get(join["state"], join["state"]),
                total=join["total_bytes"] or None,
                completed=join["done_bytes"],
            )
    return join
