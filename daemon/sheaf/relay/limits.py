"""What one relay node bears: from one connection, from one address, and altogether.

Pure accounting with an injected clock: no sockets here. Decision 0051 says how the numbers were chosen.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.limits import KIB, MIB
from sheaf.core.wire.frame_fields import RIDS_MAX
from sheaf.core.wire.relay_words import TUNNEL_BYTES_MAX

_ADDRESSES_MAX: Final = 8192
UNKNOWN_ADDRESS: Final = "unknown"


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """All of it can be set; the defaults fit a small team's server."""

    connections_max: int = 10_000
    connections_per_address_max: int = 256
    """An office behind one address has many devices."""
    handshakes_per_min: float = 120.0
    handshakes_burst: float = 256.0
    """After a restart of the relay all of them come back at once."""
    handshake_s_max: float = 5.0
    first_frame_s_max: float = 7.0
    """With the second between two looks, well within FAULTS A3's ten."""
    silence_s_max: float = 90.0
    rids_max: int = RIDS_MAX
    watches_max: int = 512
    nameplates_max: int = 12
    """At a time on one connection: a daemon lets eight codes wait, and joins by others' codes meanwhile."""
    nameplates_per_min: float = 30.0
    """Per address: guessing other people's codes takes a connection and a number per guess."""
    nameplates_burst: float = 30.0
    frames_per_s: float = 100.0
    frames_burst: float = 1000.0
    bytes_per_s: float = 8 * MIB
    """What one connection may send and ask for; beyond it is read more slowly."""
    bytes_burst: float = 16 * MIB
    stored_bytes_per_s: float = 64 * KIB
    """What one address may put into mailboxes in the long run; beyond it, REFUSED RATE."""
    stored_bytes_burst: float = 256 * MIB
    unsent_bytes_max: int = 512 * KIB
    """A receiver with more than this waiting is let go; answers to its own requests are not counted."""
    send_s_max: float = 10.0
    tunnels_max: int = 2_000
    tunnel_wait_s: float = 20.0
    tunnel_bytes_per_s: float = 4 * MIB
    """Per direction."""
    tunnel_bytes_burst: float = 1 * MIB
    tunnel_buffer_bytes: int = TUNNEL_BYTES_MAX
    store_s_max: float = 8.0
    """Less than the ten seconds a client waits."""
    trusts_local: bool = True
    """This machine itself is not counted per address: who connects from it is here already."""


class Budget:
    """A token bucket that may go into debt: `burst` at once, `per_s` afterwards."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, *, burst: float, now: float) -> None:
        self._tokens = burst
        self._at = now

    def spend(self, cost: float, now: float, *, burst: float, per_s: float) -> float:
        """Take `cost`; returns how many seconds must pass before the next (0.0: none)."""
        self._tokens = min(burst, self._tokens + (now - self._at) * per_s) - cost
        self._at = now
        return 0.0 if self._tokens >= 0 else -self._tokens / per_s

    def afford(self, cost: float, now: float, *, burst: float, per_s: float) -> bool:
        """Take `cost` if there is as much; else take nothing."""
        self._tokens = min(burst, self._tokens + (now - self._at) * per_s)
        self._at = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True


@dataclass(slots=True)
class _Address:
    open: int
    handshakes: Budget
    nameplates: Budget
    stored: Budget


class Addresses:
    """Counts per address of the far end; for IPv6, per /64.

    Invariants:
    1. Of addresses without a connection at most 16,384 are remembered; the longest unseen are
       forgotten first.
    2. Whoever connects from this machine is not counted, if `trusts_local`.
    """

    def __init__(self, *, limits: RelayLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def __len__(self) -> int:
        return len(self._addresses)

    def is_exempt(self, address: str) -> bool:
        """Whether this address is not counted (2)."""
        return self._limits.trusts_local and is_loopback(address)

    def admit(self, address: str) -> bool:
        """Whether a connection from there may begin; when True, `leave` must follow."""
        if self.is_exempt(address):
            return True
        limits = self._limits
        entry = self._entry(address)
        if entry.open >= limits.connections_per_address_max or not entry.handshakes.afford(
            1, self._now(), burst=limits.handshakes_burst, per_s=limits.handshakes_per_min / 60
        ):
            return False
        entry.open += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was admitted ended."""
        entry = self._addresses.get(address_key(address))
        if entry is not None and entry.open > 0:
            entry.open -= 1

    def may_use_nameplate(self, address: str) -> bool:
        """Count one number allocated or claimed; False when it is too much."""
        limits = self._limits
        return self.is_exempt(address) or self._entry(address).nameplates.afford(
            1, self._now(), burst=limits.nameplates_burst, per_s=limits.nameplates_per_min / 60
        )

    def may_store(self, address: str, size_bytes: int) -> bool:
        """Count bytes for a mailbox; False when it is too much."""
        limits = self._limits
        return self.is_exempt(address) or self._entry(address).stored.afford(
            size_bytes, self._now(), burst=limits.stored_bytes_burst, per_s=limits.stored_bytes_per_s
        )

    def _entry(self, address: str) -> _Address:
        key = address_key(address)
        entry = self._addresses.get(key)
        if entry is None:
            limits, now = self._limits, self._now()
            entry = _Address(
                open=0,
                handshakes=Budget(burst=limits.handshakes_burst, now=now),
                nameplates=Budget(burst=limits.nameplates_burst, now=now),
                stored=Budget(burst=limits.stored_bytes_burst, now=now),
            )
            self._addresses[key] = entry
            self._forget_some()
        self._addresses.move_to_end(key)
        return entry

    def _forget_some(self) -> None:
        if len(self._addresses) <= 2 * _ADDRESSES_MAX:
            return
        idle = [key for key, entry in self._addresses.items() if entry.open == 0]
        for key in idle[: max(0, len(idle) - _ADDRESSES_MAX)]:  # (1)
            del self._addresses[key]


def is_loopback(address: str) -> bool:
    """Whether this is an address of this machine's loopback."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_private(address: str) -> bool:
    """Whether this address belongs to no public network: loopback, private, link-local."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_private
    except ValueError:
        return False


def address_key(address: str) -> str:
    """The address, or the /64 of an IPv6 one: whoever has one of those has them all."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
