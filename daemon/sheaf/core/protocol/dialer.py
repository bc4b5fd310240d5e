"""Decides when to call whom (PROTOCOL §5 "smaller device id offers", §6).

Told which devices are wanted, where they were seen, and how attempts ended; says `Dial`
(we offer, our id is the smaller) or `Poke` (ask the other to offer). One attempt per device
at a time, jittered exponential backoff per device, at once when something new is learnt.
Knows no sockets and no keys.

Invariants:
1. A device that is connected or being dialled is not dialled again.
2. Between attempts to one device without new knowledge lie 0.5 s × 1.5^n, at most 60 s, ± 25 %.
3. At most `ADDRESSES_MAX` addresses are kept for a device, newest first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Entropy, Seconds

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_FACTOR: Final = 1.5
BACKOFF_MAX_S: Final = 60.0
ATTEMPT_S_MAX: Final = 30.0
"""An attempt whose end nobody reported is over after this."""
POKE_PATIENCE_S: Final = 3.0
"""After a poke the other side gets this long to call."""
FAULT_PENALTY_S: Final = 30.0
ADDRESSES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Dial:
    """Offer to this device at this address."""

    device_id: DeviceId
    address: str


@dataclass(frozen=True, slots=True)
class Poke:
    """Ask this device, at this address, to offer to us."""

    device_id: DeviceId
    address: str


@dataclass(slots=True)
class _Target:
    addresses: list[str] = field(default_factory=list)
    next_index: int = 0
    failures: int = 0
    is_connected: bool = False
    busy_until: Seconds | None = None
    due: Seconds = 0.0


class Dialer:
    """One for the daemon.

    Args:
        own: this device.
        entropy: for jitter.
        static_addresses: 'host:port' given by hand, tried for every wanted device.
    """

    def __init__(self, *, own: DeviceId, entropy: Entropy, static_addresses: Iterable[str] = ()) -> None:
        self._own = own
        self._entropy = entropy
        self._static = tuple(static_addresses)
        self._targets: dict[DeviceId, _Target] = {}

    # ------------------------------------------------------------------ events

    def set_wanted(self, devices: frozenset[DeviceId], now: Seconds) -> list[Dial | Poke]:
        """The complete set of devices we want a connection to."""
        for device_id in list(self._targets):
            if device_id not in devices:
                del self._targets[device_id]
        for device_id in devices:
            self._targets.setdefault(device_id, _Target(due=now))
        return self._act(now)

    def sighted(self, device_id: DeviceId, addresses: Iterable[str], now: Seconds) -> list[Dial | Poke]:
        """A wanted device announces these addresses; new ones are tried at once."""
        target = self._targets.get(device_id)
        if target is None:
            return []
        fresh = list(addresses)[:ADDRESSES_MAX]
        is_new = any(address not in target.addresses for address in fresh)
        kept = [address for address in target.addresses if address not in fresh]
        target.addresses = [*fresh, *kept][:ADDRESSES_MAX]
        if is_new:
            target.next_index = 0
            target.failures = 0
            target.due = now
        return self._act(now)

    def connected(self, device_id: DeviceId, now: Seconds) -> list[Dial | Poke]:
        """A session with this device is authenticated."""
        target = self._targets.get(device_id)
        if target is not None:
            target.is_connected = True
            target.busy_until = None
            target.failures = 0
        return self._act(now)

    def closed(self, device_id: DeviceId, now: Seconds, *, is_peer_fault: bool = False) -> list[Dial | Poke]:
        """The session ended; a peer that broke the rules is left alone for a while."""
        target = self._targets.get(device_id)
        if target is not None:
            target.is_connected = False
            target.busy_until = None
            target.next_index = 0
            target.due = now + (FAULT_PENALTY_S if is_peer_fault else self._jittered(BACKOFF_FIRST_S))
        return self._act(now)

    def failed(self, device_id: DeviceId, address: str | None, now: Seconds) -> list[Dial | Poke]:
        """An attempt came to nothing; `address` is where."""
        target = self._targets.get(device_id)
        if target is not None and not target.is_connected:
            target.busy_until = None
            target.next_index += 1
            if target.next_index % max(1, len(self._addresses(target))) == 0:
                target.failures += 1
                target.due = now + self._backoff(target.failures)
            else:
                target.due = now
        return self._act(now)

    def wake(self, now: Seconds) -> list[Dial | Poke]:
        """The time `next_wake` told has come."""
        return self._act(now)

    def next_wake(self) -> Seconds | None:
        """When something is due."""
        times = [
            max(target.due, target.busy_until or 0.0)
            for target in self._targets.values()
            if not target.is_connected and self._addresses(target)
        ]
        return min(times, default=None)

    # ------------------------------------------------------------------ questions

    def address_of(self, device_id: DeviceId) -> str | None:
        """An address this device was seen at, newest first; not those given by hand."""
        target = self._targets.get(device_id)
        return target.addresses[0] if target is not None and target.addresses else None

    def is_dialling(self, device_id: DeviceId) -> bool:
        """Whether an attempt is under way."""
        target = self._targets.get(device_id)
        return target is not None and target.busy_until is not None

    # ------------------------------------------------------------------ inside

    def _act(self, now: Seconds) -> list[Dial | Poke]:
        actions: list[Dial | Poke] = []
        for device_id, target in self._targets.items():
            addresses = self._addresses(target)
            if target.is_connected or not addresses or target.due > now:
                continue
            if target.busy_until is not None and target.busy_until > now:
                continue
            address = addresses[target.next_index % len(addresses)]
            if self._own < device_id:
                target.busy_until = now + ATTEMPT_S_MAX
                actions.append(Dial(device_id, address))
            else:
                target.busy_until = now + POKE_PATIENCE_S
                target.next_index += 1
                target.failures += 1
                target.due = now + max(POKE_PATIENCE_S, self._backoff(target.failures))
                actions.append(Poke(device_id, address))
        return actions

    def _addresses(self, target: _Target) -> list[str]:
        return [*target.addresses, *(a for a in self._static if a not in target.addresses)]

    def _backoff(self, failures: int) -> float:
        return self._jittered(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * BACKOFF_FACTOR ** min(failures, 40)))

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.75 + 0.5 * self._entropy(1)[0] / 255)
