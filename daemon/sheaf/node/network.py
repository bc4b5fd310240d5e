"""The adapters a node reaches other machines by, and what to call this machine (ports only)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sheaf.ports import (
    Discovery,
    InterfaceStatus,
    Signaling,
    StunReport,
    TunnelTransport,
    WebRtcTransport,
)
from sheaf.ports.relay import RelayPool


def _never(_: Callable[[], None]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Network:
    """The adapters that reach other machines; all optional parts say so themselves."""

    webrtc: WebRtcTransport
    tunnel: TunnelTransport
    signaling: Signaling
    discovery: Discovery
    static_addresses: tuple[str, ...]
    local_addresses: Callable[[], Sequence[str]]
    """Addresses of this machine others may reach, best first; for people and tickets."""
    warm_up: Callable[[], Coroutine[Any, Any, None]]
    """Loads what the first connection needs, so that it need not wait for it."""
    has_address: Callable[[str], bool] = lambda _: True
    """Whether this machine still has an address that a connection was made from."""
    relays: RelayPool | None = None
    own_relays: tuple[str, ...] = ()
    """Public addresses of the relays this daemon was started with."""
    interfaces: Callable[[], Sequence[InterfaceStatus]] = tuple
    """What there is and what is used of it; for people."""
    on_udp: Callable[[Callable[[], None]], None] = _never
    """Registers whom to tell when UDP gets out of this network and did not before."""
    stun: Callable[[], StunReport] = StunReport
    """What STUN found out; for people."""


def dialable(listening: str | None, local_addresses: Sequence[str]) -> tuple[str, ...]:
    """The addresses others may try: a listener on every address has one for each of this machine's."""
    if listening is None:
        return ()
    host, _, port = listening.rpartition(":")
    if host not in ("0.0.0.0", "[::]"):
        return (listening,)
    return tuple(_join_host_port(address, port) for address in local_addresses)


def _join_host_port(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
