"""`sheaf doc delivery`, and the lines on delivery in `sheaf status`: who has what, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import typer

from sheaf.cli.tables import plural, print_table, printable

_STATES: Final = {
    "waiting": "waits here",
    "on_relay": "on the relay",
    "delivered": "delivered",
    "seen": "seen",
}
_RELAYS: Final = {
    "stored": "kept there",
    "waiting": "not there yet",
    "unreachable": "cannot be reached",
    "full": "is full",
    "lost": "lost it; it is sent again",
}


def print_delivery(delivery: dict[str, Any]) -> None:
    """The table of people and devices, then relays and what is missing."""
    print_table(
        ("PERSON", "DEVICE", "STATE", "MISSING", "SINCE"),
        (
            (
                printable(person["name"]),
                printable(device["name"]),
                _STATES[device["state"]],
                str(device["missing"] or "–"),
                _moment(device["at_ms"]),
            )
            for person in delivery["people"]
            for device in person["devices"]
        ),
        empty="Nobody else is in this space yet. It is saved here.",
    )
    for relay in delivery["relays"]:
        detail = f": {printable(relay['detail'])}" if relay["detail"] else ""
        typer.echo(f"{relay['url']}  {_RELAYS.get(relay['state'], relay['state'])}{detail}")
    if delivery["incomplete"] is not None:
        missing, source = delivery["incomplete"]["missing"], delivery["incomplete"]["from"]
        typer.echo(
            f"Incomplete: {plural(missing, 'change')} announced by {printable(source)} have not arrived."
        )


def print_spaces_delivery(spaces: list[dict[str, Any]]) -> None:
    """One line per space in which something is on its way, missing or wrong."""
    for space in spaces:
        for sentence in _sentences(space["delivery"]):
            typer.echo(f"“{printable(space['name'])}”: {sentence}")


def _sentences(delivery: dict[str, Any]) -> list[str]:
    waiting = delivery["waiting_people"]
    found = []
    if waiting:
        who = "one person does" if waiting == 1 else f"{waiting} people do"
        where = (
            "what they miss is on the relay"
            if delivery["state"] == "on_relay"
            else "what they miss waits here"
        )
        found.append(f"{who} not have everything yet; {where}.")
    if delivery["incomplete_missing"]:
        count = plural(delivery["incomplete_missing"], "change")
        found.append(f"incomplete, {count} that others have did not arrive here.")
    if delivery["relay_warning"]:
        found.append(printable(delivery["relay_warning"]))
    return found


def _moment(at_ms: int | None) -> str:
    if at_ms is None:
        return "–"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
