"""How `sheaf doctor network` prints what the daemon found."""

from __future__ import annotations

from typing import Any

import typer

from sheaf.cli.tables import plural, print_table, printable

_MARKS = {"ok": "ok  ", "hint": "hint", "problem": "FAIL"}
_NATS = {
    "unknown": "it takes two answering STUN servers to tell what the router does",
    "none": "no address translation: this computer has a public address",
    "stable": "a router translates addresses, the same for everybody: direct paths are possible",
    "symmetric": "a router translates addresses, different for everybody: direct paths often fail",
}


def print_network(found: dict[str, Any]) -> None:
    """Everything, what to change last."""
    _print_interfaces(found["interfaces"])
    _print_local(found["lan"], found["multicast"])
    _print_beyond(found)
    _print_peers(found["peers"])
    typer.echo()
    for finding in found["findings"]:
        typer.echo(f"{_MARKS[finding['level']]}  {printable(finding['what'])}")
        if finding["do"]:
            typer.echo(f"      → {printable(finding['do'])}")


def _print_interfaces(interfaces: list[dict[str, Any]]) -> None:
    print_table(
        ("INTERFACE", "USED", "ADDRESSES", "WHY"),
        (
            (each["name"], "yes" if each["is_used"] else "no", ", ".join(each["addresses"]), each["reason"])
            for each in interfaces
        ),
        empty="There is no network interface.",
    )
    typer.echo()


def _print_local(lan: dict[str, Any], multicast: dict[str, Any]) -> None:
    listening = lan["listening"] or "off"
    typer.echo(f"LAN listener  {listening}" + "".join(f", {address}" for address in lan["addresses"]))
    words = [multicast["state"]]
    if multicast["state"] == "on":
        words.append("announcing" if multicast["is_announcing"] else "not announcing")
        words.append("own echo heard" if multicast["hears_itself"] else "own echo NOT heard")
        words.append(f"{plural(multicast['others_now'], 'other daemon')} here now")
    typer.echo(f"Multicast     {', '.join(words)}")


def _print_beyond(found: dict[str, Any]) -> None:
    for number, relay in enumerate(found["relays"]):
        words = [relay["state"], *([_ms(relay["rtt_ms"])] if relay["rtt_ms"] is not None else [])]
        words += [printable(relay["problem"])] if relay["problem"] else []
        typer.echo(f"{'' if number else 'Relays':<14}{printable(relay['url'])}: {', '.join(words)}")
    if not found["relays"]:
        typer.echo("Relays        none is set")
    for number, server in enumerate(found["stun"]):
        state = f"alive, sees {server['mapped']}" if server["is_alive"] else "does not answer"
        typer.echo(f"{'' if number else 'STUN':<14}{printable(server['address'])}: {state}")
    if found["stun"]:
        typer.echo(f"{'':<14}{_NATS[found['nat']]}")
    typer.echo()


def _print_peers(peers: list[dict[str, Any]]) -> None:
    print_table(
        ("PERSON", "DEVICE", "STATE", "PATH", "RTT", "BETWEEN", "WHY"),
        (
            (
                peer["user_name"],
                peer["device_name"],
                peer["state"],
                peer["path"] or "–",
                _ms(peer["rtt_ms"]) if peer["rtt_ms"] is not None else "–",
                peer["pair"] or "–",
                peer["reason"] or "–",
            )
            for peer in peers
        ),
        empty="No other device is known yet.",
    )


def _ms(ms: float) -> str:
    return f"{ms:.1f} ms"
