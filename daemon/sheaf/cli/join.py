"""`sheaf join TICKET`: join a space and wait until the first catch-up is complete."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, note
from sheaf.cli.tables import human_bytes, printable

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
    ticket: Annotated[str, typer.Argument(metavar="TICKET", help="sheaf1…, or the whole link.")],
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up after this long.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Join a space; ends when everything in it has arrived."""
    session = Session(ctx, data_dir, as_json)
    begun = session.client.post("/join", {"ticket": ticket})
    try:
        last = _follow(session, begun, timeout_s)
    except KeyboardInterrupt:
        session.client.delete(f"/join/{begun['join_id']}")
        raise
    if last["state"] == "failed":
        raise CommandFailed(f"{last['error']['title']}: {last['error']['detail']}")
    name = printable(last["space_name"] or last["space_id"])
    session.show(last, lambda: typer.echo(f"You are in “{name}”. {last['space_id']}"))


def _follow(session: Session, begun: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
    steps = _steps(session, begun, timeout_s)
    if sys.stderr.isatty() and not session.as_json:
        return _with_bar(steps)
    return _with_lines(steps)


def _steps(session: Session, join: dict[str, Any], timeout_s: float | None) -> Iterator[dict[str, Any]]:
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
        time.sleep(_POLL_S)
        join = session.client.get(f"/join/{join['join_id']}")


def _with_lines(steps: Iterator[dict[str, Any]]) -> dict[str, Any]:
    shown = None
    for join in steps:
        if join["state"] != shown and join["state"] in _SENTENCES:
            shown = join["state"]
            size = f" {human_bytes(join['total_bytes'])}" if join["total_bytes"] else ""
            note(f"{_SENTENCES[shown]}{size}…" if shown != "done" else "Done.")
    return join


def _with_bar(steps: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(_SENTENCES["searching"], total=None)
        for join in steps:
            progress.update(
                task,
                description=_SENTENCES.get(join["state"], join["state"]),
                total=join["total_bytes"] or None,
                completed=join["done_bytes"],
            )
    return join
