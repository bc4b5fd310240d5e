"""When to call whom, and where (PROTOCOL §5 "one peer connection per device pair", §6).

Pure: told which devices are wanted, where they were seen, and what became of calls; says which
call to make next. Knows no keys, spaces or sockets.

Invariants:
1. Of two devices the one with the smaller id dials; the other pokes, which asks to be dialled.
2. One connection per device: nothing is started towards a device that is connected or being
   dialled; when two sessions come up all the same, `keeps_newcomer` decides alike on both sides.
3. Failures back off with jitter (0.5 s on a freshly seen LAN address, else 1 s, × 1.5 up to 60 s);
   a new sighting of an address makes the next try immediate, and a device with several addresses
   is tried at each of them before a pause, but no device more often than every `REDIAL_MIN_S`.
4. At most `DIALS_MAX` calls are under way and `DEVICES_MAX` devices remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Entropy, Seconds

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_LAN_FIRST_S: Final = 0.5
BACKOFF_FACTOR: Final = 1.5
BACKOFF_MAX_S: Final = 60.0
REDIAL_MIN_S: Final = 0.25
POKE_PATIENCE_S: Final = 3.0
"""How long a poke may stay unanswered before it counts as failed."""
CALL_PATIENCE_S: Final = 30.0
"""How long a call may go without a report: longer than signalling, connecting and HELLO together.
Nobody should rely on it, but a call that is never reported must not block a device for ever."""
DIALS_MAX: Final = 8
DEVICES_MAX: Final = 1024
ADDRESSES_MAX: Final = 8
"""Per device; the one seen longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Offer to `device_id` at `address` ('host:port'); report `connected` or `failed`."""

    device_id: DeviceId
    address: str


@dataclass(frozen=True, slots=True)
class Poke:
    """Ask `device_id` at `address` to offer to us; report `failed` if it could not be delivered."""

    device_id: DeviceId
    address: str


DialEffect = Dial | Poke


@dataclass(slots=True)
class _Device:
    addresses: dict[str, bool] = field(default_factory=dict)
    """Seen on the LAN, the latest last (a set that keeps its order)."""
    is_wanted: bool = False
    is_connected: bool = False
    calling: str | None = None
    is_poking: bool = False
    """The call under way is only a poke: we wait to be dialled."""
    calling_until: Seconds = 0.0
    due: Seconds = 0.0
    failures: int = 0
    turn: int = 0
    called_at: Seconds = float("-inf")


class Dialer:
    """See the module.

    Args:
        own: our device id.
        entropy: for jitter.
        static_addresses: 'host:port' given by hand; any wanted device may be there.
    """

    def __init__(self, *, own: DeviceId, entropy: Entropy, static_addresses: Iterable[str] = ()) -> None:
        self._own = own
        self._entropy = entropy
        self._static = tuple(static_addresses)[:ADDRESSES_MAX]
        self._devices: dict[DeviceId, _Device] = {}

    # ------------------------------------------------------------------ events

    def set_wanted(self, devices: Iterable[DeviceId], now: Seconds) -> list[DialEffect]:
        """The complete set of devices to be connected with (our own is left out)."""
        wanted = {device for device in devices if device != self._own}
        for device_id in sorted(wanted):
            entry = self._entry(device_id)
            if entry is not None and not entry.is_wanted:
                entry.is_wanted, entry.due, entry.failures = True, now, 0
        for device_id, entry in list(self._devices.items()):
            entry.is_wanted = device_id in wanted
            if not entry.is_wanted and not entry.is_connected and entry.calling is None:
                del self._devices[device_id]
        return self.wake(now)

    def sighted(self, device: DeviceId, addresses: Iterable[str], now: Seconds) -> list[DialEffect]:
        """A device announces itself on the LAN at these addresses."""
        entry = self._devices.get(device)
        if entry is None:
            return []
        is_news = False
        for address in addresses:
            is_news |= not entry.addresses.pop(address, False)
            entry.addresses[address] = True
        while len(entry.addresses) > ADDRESSES_MAX:
            del entry.addresses[next(iter(entry.addresses))]
        if is_news or entry.failures:
            entry.failures, entry.turn = 0, 0
            entry.due = max(now, entry.called_at + REDIAL_MIN_S)
        return self.wake(now)

    def lost_sight(self, device: DeviceId, address: str) -> None:
        """An announcement was withdrawn: a hint only, live connections stay."""
        entry = self._devices.get(device)
        if entry is not None:
            entry.addresses.pop(address, None)

    def connected(self, device: DeviceId, now: Seconds) -> list[DialEffect]:
        """A session with this device is up, whoever began."""
        entry = self._entry(device)
        if entry is not None:
            entry.is_connected, entry.calling = True, None
            entry.failures = 0
        return self.wake(now)

    def failed(self, device: DeviceId, address: str | None, now: Seconds) -> list[DialEffect]:
        """A call came to nothing. `address` None: a call along the route a poke came by."""
        entry = self._devices.get(device)
        if entry is not None and entry.calling in (address or "", None):
            entry.calling = None
            self._try_next(entry, now)
        return self.wake(now)

    def closed(self, device: DeviceId, now: Seconds, *, is_peer_fault: bool = False) -> list[DialEffect]:
        """The session with this device is over; after its fault the pause is the longest at once."""
        entry = self._devices.get(device)
        if entry is not None:
            entry.is_connected = False
            self._back_off(entry, now, is_peer_fault=is_peer_fault)
        return self.wake(now)

    def network_changed(self, now: Seconds) -> list[DialEffect]:
        """Addresses of ours came or went, or the machine woke up: try everybody again now."""
        for entry in self._devices.values():
            entry.failures = 0
            entry.due = max(now, entry.called_at + REDIAL_MIN_S)
        return self.wake(now)

    def wake(self, now: Seconds) -> list[DialEffect]:
        """Start the calls that are due."""
        effects: list[DialEffect] = []
        free = DIALS_MAX - self._under_way()
        for device_id, entry in self._devices.items():
            if entry.calling is not None and now >= entry.calling_until:
                entry.calling = None
                self._try_next(entry, now)
            if len(effects) < free and self._is_due(entry, now):
                effects.append(self._call(device_id, entry, now))
        return effects

    def next_wake(self) -> Seconds | None:
        """When to call `wake`."""
        has_room = self._under_way() < DIALS_MAX
        times = [entry.due for entry in self._devices.values() if has_room and self._could_call(entry)]
        times += [entry.calling_until for entry in self._devices.values() if entry.calling is not None]
        return min(times, default=None)

    # ------------------------------------------------------------------ questions

    def keeps_newcomer(self, device: DeviceId, *, newcomer_is_mine: bool) -> bool:
        """Two sessions with one device: whether to keep the newer and close the older.

        The one offered by the smaller id stays, so both sides choose the same; of two by the same
        side the newer is the living one.
        """
        is_mine_right = self._own < device
        return newcomer_is_mine == is_mine_right

    def should_answer(self, device: DeviceId) -> bool:
        """Whether a poke from this device is worth an offer: wanted, and not being talked to.

        Also while we poke it ourselves: a poke in return says that it knows no address of ours.
        """
        entry = self._devices.get(device)
        if entry is None or not entry.is_wanted or entry.is_connected:
            return False
        return entry.calling is None or entry.is_poking

    def poked(self, device: DeviceId, now: Seconds) -> bool:
        """A poke came. True: offer to it now (counts as a call; report `connected` or `failed`)."""
        if not self.should_answer(device):
            return False
        entry = self._devices[device]
        self._begin(entry, self.address_of(device) or "", now, CALL_PATIENCE_S)
        return True

    def address_of(self, device: DeviceId) -> str | None:
        """Where to try this device first: seen most recently on the LAN, else given by hand."""
        entry = self._devices.get(device)
        addresses = self._addresses(entry) if entry is not None else []
        return addresses[0] if addresses else None

    def is_dialling(self, device: DeviceId) -> bool:
        """Whether a call to (or a poke of) this device is under way."""
        entry = self._devices.get(device)
        return entry is not None and entry.calling is not None

    # ------------------------------------------------------------------ helpers

    def _entry(self, device: DeviceId) -> _Device | None:
        entry = self._devices.get(device)
        if entry is None and len(self._devices) < DEVICES_MAX:
            entry = self._devices[device] = _Device()
        return entry

    def _could_call(self, entry: _Device) -> bool:
        is_idle = entry.calling is None and not entry.is_connected
        return entry.is_wanted and is_idle and bool(entry.addresses or self._static)

    def _addresses(self, entry: _Device) -> list[str]:
        seen = list(reversed(entry.addresses))
        return seen + [address for address in self._static if address not in entry.addresses]

    def _is_due(self, entry: _Device, now: Seconds) -> bool:
        return self._could_call(entry) and now >= entry.due

    def _under_way(self) -> int:
        return sum(entry.calling is not None for entry in self._devices.values())

    def _call(self, device: DeviceId, entry: _Device, now: Seconds) -> DialEffect:
        addresses = self._addresses(entry)
        address = addresses[entry.turn % len(addresses)]
        entry.turn += 1
        if self._own < device:
            self._begin(entry, address, now, CALL_PATIENCE_S)
            return Dial(device, address)
        self._begin(entry, address, now, POKE_PATIENCE_S)
        entry.is_poking = True
        return Poke(device, address)

    @staticmethod
    def _begin(entry: _Device, address: str, now: Seconds, patience_s: float) -> None:
        entry.calling, entry.called_at, entry.calling_until = address, now, now + patience_s
        entry.is_poking = False

    def _try_next(self, entry: _Device, now: Seconds) -> None:
        """After a failed call: the next address soon; once all were tried, a pause."""
        addresses = self._addresses(entry)
        if addresses and entry.turn % len(addresses):
            entry.due = max(now, entry.called_at + REDIAL_MIN_S)
        else:
            self._back_off(entry, now)

    def _back_off(self, entry: _Device, now: Seconds, *, is_peer_fault: bool = False) -> None:
        first = BACKOFF_LAN_FIRST_S if entry.addresses else BACKOFF_FIRST_S
        pause = min(BACKOFF_MAX_S, first * BACKOFF_FACTOR ** min(entry.failures, 40))
        if is_peer_fault:
            pause = BACKOFF_MAX_S
        entry.failures += 1
        entry.due = now + pause * (0.75 + self._chance() / 2)

    def _chance(self) -> float:
        return int.from_bytes(self._entropy(2), "big") / 65536
