"""`sheaf status` and `sheaf peers`: the daemon, its spaces, who is connected and what they have."""

from __future__ import annotations

from typing import Any, Final

import typer

from sheaf.cli.delivery import print_spaces_delivery
from sheaf.cli.options import AsJson, DataDir, Session
from sheaf.cli.space import print_spaces
from sheaf.cli.tables import plural, print_table, printable

_SAVED: Final = {"ok": "everything is saved", "low": "everything is saved. {detail}"}
"""What `sheaf status` says of a storage state; of any other, only why it is so."""
HELD: Final = (
    "{} in open editors not saved here yet: what they build on is on a device that is not connected; "
    "keep the editors open until it is"
)


def status(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the daemon, spaces, peers, and what is saved where."""
    session = Session(ctx, data_dir, as_json)
    state = session.client.get("/status")
    session.show(state, lambda: _print_status(state))


def peers(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the other devices: connected by which path, and what they have."""
    session = Session(ctx, data_dir, as_json)
    found = session.client.get("/peers")["peers"]
    session.show(found, lambda: print_peers(found))


def print_peers(found: list[dict[str, Any]]) -> None:
    """The table of peers."""
    print_table(
        ("PERSON", "DEVICE", "STATE", "PATH", "RTT", "HAS", "LAST SEEN"),
        (
            (
                peer["user_name"],
                peer["device_name"],
                peer["state"],
                peer["path"] or "–",
                f"{peer['rtt_ms']:.1f} ms" if peer["rtt_ms"] is not None else "–",
                _has(peer["spaces"]),
                peer["last_seen_at"] or ("now" if peer["state"] == "live" else "–"),
            )
            for peer in found
        ),
        empty="No other device is known yet. Invite somebody with `sheaf invite SPACE`.",
    )


def _has(spaces: list[dict[str, Any]]) -> str:
    behind = sum(space["behind"] for space in spaces)
    return plural(behind, "change") + " behind" if behind else "everything"


def _relay(relay: dict[str, Any]) -> str:
    if relay["problem"]:
        return f"{relay['state']}: {printable(relay['problem'])}"
    rtt = f", {relay['rtt_ms']:.0f} ms away" if relay["rtt_ms"] is not None else ""
    return f"{printable(relay['url'])} {relay['state']}{rtt}"


def _others(addresses: list[str], listening: str) -> str:
    return "".join(f", {address}" for address in addresses if address != listening)


def _print_status(state: dict[str, Any]) -> None:
    lan, storage = state["lan"], state["storage"]
    typer.echo(
        f"Sheaf {state['version']} at http://127.0.0.1:{state['port']}/, up since {state['started_at']}"
    )
    typer.echo(f"You       {printable(state['user_name'])} on {printable(state['device_name'])}")
    typer.echo(f"Data      {state['data_dir']}")
    unsent = storage["unsent_edits"]
    detail = printable(storage["detail"] or "").removesuffix(".")
    saved = _SAVED.get(storage["state"], "{detail}").format(detail=detail)
    typer.echo(f"Storage   {saved}")
    if unsent:
        typer.echo(f"          {plural(unsent, 'edit')} nobody else has yet")
    if state["held_changes"]:
        typer.echo(f"          {HELD.format(plural(state['held_changes'], 'change'))}")
    listening = lan["listening"] or "not listening"
    typer.echo(f"Network   {listening}, mDNS {lan['mdns']}" + _others(lan["addresses"], listening))
    for clone in state["clones"]:
        typer.echo(f"Copied    {printable(clone['what'])} {printable(clone['do'])}")
    for relay in state["relays"]:
        typer.echo(f"Relay     {_relay(relay)}")
    typer.echo()
    print_spaces(state["spaces"])
    print_spaces_delivery(state["spaces"])
    typer.echo()
    print_peers(state["peers"])
