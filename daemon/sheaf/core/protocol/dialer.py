"""When to call whom, and where (PROTOCOL §5 "one peer connection per device pair", "Paths", §6).

Pure: told which devices are wanted, where they were seen, which relays are connected, and what became of
calls; says which call to make next. Knows no keys, spaces or sockets.

Invariants:
1. Of two devices the one with the smaller id dials; the other pokes, which asks to be dialled. Over a relay
   both begin with a poke, which costs little when nobody is there; the smaller dials when it is poked.
2. One connection per device: nothing is started towards a device that is connected, except the search for a
   better path, and a call to one that asks for it and so has lost what we still have; when two sessions come
   up all the same, `keeps_newcomer` decides alike on both sides.
3. Failures back off with jitter (0.5 s on a freshly seen LAN address, else 1 s, × 1.5 up to 60 s);
   a new sighting of an address makes the next try immediate, and a device with several addresses
   is tried at each of them before a pause, but no device more often than every `REDIAL_MIN_S`.
   Who is not at a relay is poked there rarely: it pokes us when it comes.
4. At most `DIALS_MAX` calls of each kind are under way and `DEVICES_MAX` devices remembered: a relay that
   answers nothing holds up no call on the LAN.
5. A path is replaced by better ones only. The search for one is begun by the smaller id, and backs off from
   5 s to 5 min, also across connections that did not last; a sighting or a changed network begins it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Entropy, Seconds
from sheaf.core.protocol.dial_lines import NEVER, KnownDevice, Line, PathRank
from sheaf.core.wire.relay_url import is_relay_address

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_LAN_FIRST_S: Final = 0.5
BACKOFF_FACTOR: Final = 1.5
BACKOFF_MAX_S: Final = 60.0
ABSENT_FIRST_S: Final = 30.0
ABSENT_FACTOR: Final = 2.0
ABSENT_MAX_S: Final = 600.0
"""For a device that is not at the relay."""
UPGRADE_FIRST_S: Final = 5.0
UPGRADE_FACTOR: Final = 2.0
UPGRADE_MAX_S: Final = 300.0
SETTLED_S: Final = 60.0
"""A better path that held this long was worth the search."""
EXPECTED_S: Final = 15.0
"""A connection that ends so soon after our addresses changed, or after the other side called although it was
there, is followed by a call at once."""
MISSED_S: Final = 1.0
"""Who asks to be called so long after the best of connections was made has lost it. Earlier it may just have
asked before it knew."""
REDIAL_MIN_S: Final = 0.25
REDIAL_AGAIN_S: Final = 1.0
"""Who pokes over a relay while it is being called there, and not just since, was restarted: once more."""
RELAY_HEAD_START_S: Final = 1.0
"""What a call to an address is given before a relay is asked too."""
POKE_PATIENCE_S: Final = 3.0
RELAY_POKE_PATIENCE_S: Final = 6.0
"""How long a poke may stay unanswered before it counts as failed."""
CALL_PATIENCE_S: Final = 30.0
"""How long a call may go without a report: longer than signalling, connecting and HELLO together.
Nobody should rely on it, but a call that is never reported must not block a device for ever."""
CLONED_PAUSE_S: Final = 10.0
"""Where two daemons use one device's identity, each gets its turn, and nobody hurries (decision 0073)."""
DIALS_MAX: Final = 8
DEVICES_MAX: Final = 1024
ADDRESSES_MAX: Final = 8
"""Per device; the one seen longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Offer to `device_id` at `address` ('host:port', or a relay's URL); report `connected` or `failed`."""

    device_id: DeviceId
    address: str
    better_than: PathRank | None = None
    """Only paths above this one are of use."""
    is_replacing: bool = False
    """There is a connection, but the other side seems to have lost it."""


@dataclass(frozen=True, slots=True)
class Poke:
    """Ask `device_id` at `address` to offer to us; report `failed` if it could not be delivered."""

    device_id: DeviceId
    address: str


DialEffect = Dial | Poke


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
        self._devices: dict[DeviceId, KnownDevice] = {}
        self._moved_at: Seconds = -NEVER

    # ------------------------------------------------------------------ events

    def set_wanted(self, devices: Iterable[DeviceId], now: Seconds) -> list[DialEffect]:
        """The complete set of devices to be connected with (our own is left out)."""
        wanted = {device for device in devices if device != self._own}
        for device_id in sorted(wanted):
            entry = self._entry(device_id)
            if entry is not None and not entry.is_wanted:
                entry.is_wanted = True
                entry.direct.failures = entry.relay.failures = 0
                entry.direct.due = entry.relay.due = now
        for device_id, entry in list(self._devices.items()):
            entry.is_wanted = device_id in wanted
            is_idle = not entry.is_connected and all(line.calling is None for line in entry.lines)
            if not entry.is_wanted and is_idle:
                del self._devices[device_id]
        return self.wake(now)

    def set_relays(self, relays: Mapping[DeviceId, Sequence[str]], now: Seconds) -> list[DialEffect]:
        """Where wanted devices may be met: of each, the relays that we are connected with right now.

        A relay that was not among them before has just come: each device is asked for there at once.
        """
        for device_id, entry in self._devices.items():
            urls = relays.get(device_id, ())
            fresh = tuple(url for url in urls if url not in entry.relays)
            entry.relays = fresh + tuple(url for url in urls if url not in fresh)
            if fresh:
                entry.relay.restart(now)
        return self.wake(now)

    def sighted(self, device: DeviceId, addresses: Iterable[str], now: Seconds) -> list[DialEffect]:
        """A device announces itself on the LAN at these addresses; those of a link (`%`) are tried last."""
        entry = self._devices.get(device)
        if entry is None:
            return []
        is_news = False
        for address in sorted(addresses, key=lambda each: "%" not in each):
            is_news |= not entry.addresses.pop(address, False)
            entry.addresses[address] = True
        while len(entry.addresses) > ADDRESSES_MAX:
            del entry.addresses[next(iter(entry.addresses))]
        if is_news or entry.direct.failures:
            entry.direct.restart(max(now, entry.direct.called_at + REDIAL_MIN_S))
        if is_news:
            self._seek_better(entry, now)
        return self.wake(now)

    def lost_sight(self, device: DeviceId, address: str) -> None:
        """An announcement was withdrawn: a hint only, live connections stay."""
        entry = self._devices.get(device)
        if entry is not None:
            entry.addresses.pop(address, None)

    def connected(self, device: DeviceId, now: Seconds, rank: PathRank = PathRank.DIRECT) -> list[DialEffect]:
        """A session with this device is up, whoever began; the only one, or better than the one before."""
        entry = self._entry(device)
        if entry is not None:
            entry.rank, entry.ranked_at, entry.missed_at = rank, now, -NEVER
            for line in entry.lines:
                line.end()
            entry.direct.failures = entry.relay.failures = 0
            entry.upgrade.due = NEVER
            if not entry.is_at_best and self._own < device:
                self._pause_search(entry, now)
        return self.wake(now)

    def failed(
        self, device: DeviceId, address: str | None, now: Seconds, *, is_absent: bool = False
    ) -> list[DialEffect]:
        """A call came to nothing.

        Args:
            address: where; None: along the route a poke came by.
            is_absent: the relay says that nobody answers to that name.
        """
        entry = self._devices.get(device)
        if entry is not None:
            line = self._line(entry, address)
            if line.calling is None:  # made when the device was connected, or when it was not
                line = self._line(entry, address, is_connected=not entry.is_connected)
            if line.calling == (address or "") or (line.calling is None and line is not entry.upgrade):
                line.end()
                self._after_failure(entry, line, now, is_absent=is_absent)
        return self.wake(now)

    def closed(
        self, device: DeviceId, now: Seconds, *, is_peer_fault: bool = False, is_cloned: bool = False
    ) -> list[DialEffect]:
        """The session with this device is over; after its fault the pause is the longest at once, and it is
        long where two daemons use one device's identity."""
        entry = self._devices.get(device)
        if entry is not None:
            if entry.is_at_best and now - entry.ranked_at >= SETTLED_S:
                entry.upgrade.failures = 0
            entry.rank, entry.upgrade.due = None, NEVER
            longest = BACKOFF_MAX_S if is_peer_fault else CLONED_PAUSE_S if is_cloned else None
            self._back_off(entry, now, pause_s=longest)
            entry.relay.turn = 0
            entry.relay.due = now + self._jittered(longest or BACKOFF_FIRST_S)
            if longest is None and now < max(entry.missed_at, self._moved_at) + EXPECTED_S:
                entry.direct.due = max(now, entry.direct.called_at + REDIAL_MIN_S)
                entry.relay.due = max(now, entry.relay.called_at + REDIAL_MIN_S)
        return self.wake(now)

    def network_changed(self, now: Seconds) -> list[DialEffect]:
        """Addresses of ours came or went, or the machine woke up: try everybody again now."""
        self._moved_at = now
        for entry in self._devices.values():
            entry.direct.failures = entry.relay.failures = 0
            entry.direct.due = max(now, entry.direct.called_at + REDIAL_MIN_S)
            entry.relay.due = max(now, entry.relay.called_at + REDIAL_MIN_S)
            self._seek_better(entry, now)
        return self.wake(now)

    def seek_better(self, now: Seconds) -> list[DialEffect]:
        """UDP may get through now, where it did not."""
        for entry in self._devices.values():
            self._seek_better(entry, now)
        return self.wake(now)

    def wake(self, now: Seconds) -> list[DialEffect]:
        """Start the calls that are due."""
        for entry in self._devices.values():
            for line in entry.lines:
                if line.calling is not None and now >= line.calling_until:
                    line.end()
                    self._after_failure(entry, line, now)
        return [
            *self._start(now, lambda entry: entry.direct, self._direct_due, self._call),
            *self._start(now, lambda entry: entry.relay, self._relay_due, self._call_by_relay),
            *self._start(now, lambda entry: entry.upgrade, self._upgrade_due, self._call_better),
        ]

    def next_wake(self) -> Seconds | None:
        """When to call `wake`."""
        entries = self._devices.values()
        times = [line.calling_until for entry in entries for line in entry.lines if line.calling is not None]
        dues = (self._direct_due, self._relay_due, self._upgrade_due)
        for kind, due in enumerate(dues):
            if sum(entry.lines[kind].calling is not None for entry in entries) < DIALS_MAX:
                times += [due(entry) for entry in entries]
        return min((time for time in times if time < NEVER), default=None)

    # ------------------------------------------------------------------ questions

    def keeps_newcomer(
        self,
        device: DeviceId,
        *,
        newcomer_is_mine: bool,
        newcomer: PathRank = PathRank.DIRECT,
        older: PathRank = PathRank.DIRECT,
    ) -> bool:
        """Two sessions with one device: whether to keep the newer and close the older.

        The better path stays (5). Of two alike the one offered by the smaller id stays, so both sides
        choose the same; of two by the same side the newer is the living one.
        """
        if newcomer is not older:
            return newcomer > older
        is_mine_right = self._own < device
        return newcomer_is_mine == is_mine_right

    def should_answer(self, device: DeviceId, address: str | None = None) -> bool:
        """Whether a poke from this device is worth an offer: wanted, not being talked to as well as can be.

        Also while we poke it ourselves: a poke in return says that it knows no address of ours.
        """
        entry = self._devices.get(device)
        if entry is None or not entry.is_wanted or entry.is_at_best:
            return False
        return not self._line(entry, address).is_busy

    def poked(self, device: DeviceId, now: Seconds, address: str | None = None) -> Dial | None:
        """A poke came. If it is to be answered by an offer, that call (report `connected` or `failed`).

        Args:
            address: where the answer goes; None: to the best known address, or along the poke's route.
        """
        entry = self._devices.get(device)
        if entry is None or not entry.is_wanted:
            return None
        entry.missed_at = now
        is_missed = entry.is_at_best and now >= entry.ranked_at + MISSED_S
        line = self._line(entry, address, is_connected=entry.is_connected and not is_missed)
        is_again = line is entry.relay and line.is_busy and not line.is_again
        pause_s = REDIAL_AGAIN_S if is_again else REDIAL_MIN_S
        is_too_soon = now < line.called_at + pause_s and not line.is_poking
        if (entry.is_at_best and not is_missed) or is_too_soon or (line.is_busy and not is_again):
            return None
        where = address or self.address_of(device) or ""
        line.begin(where, now, CALL_PATIENCE_S, is_poking=False, is_again=is_again)
        return Dial(device, where, None if is_missed else entry.rank, is_replacing=is_missed)

    def address_of(self, device: DeviceId) -> str | None:
        """Where to try this device first: seen most recently on the LAN, else given by hand."""
        entry = self._devices.get(device)
        addresses = self._addresses(entry) if entry is not None else []
        return addresses[0] if addresses else None

    def is_dialling(self, device: DeviceId) -> bool:
        """Whether a call to (or a poke of) this device is under way."""
        entry = self._devices.get(device)
        return entry is not None and (entry.direct.calling is not None or entry.relay.calling is not None)

    def is_wanted(self, device: DeviceId) -> bool:
        """Whether we want to be connected with it."""
        entry = self._devices.get(device)
        return entry is not None and entry.is_wanted

    # ------------------------------------------------------------------ which line, and when it is due

    def _entry(self, device: DeviceId) -> KnownDevice | None:
        entry = self._devices.get(device)
        if entry is None and len(self._devices) < DEVICES_MAX:
            entry = self._devices[device] = KnownDevice()
        return entry

    @staticmethod
    def _line(entry: KnownDevice, address: str | None, *, is_connected: bool | None = None) -> Line:
        """The line of a call; `is_connected` as the call goes by, which the device may not be any more."""
        if entry.is_connected if is_connected is None else is_connected:
            return entry.upgrade
        return entry.relay if address is not None and is_relay_address(address) else entry.direct

    def _addresses(self, entry: KnownDevice) -> list[str]:
        seen = list(reversed(entry.addresses))
        return seen + [address for address in self._static if address not in entry.addresses]

    def _direct_due(self, entry: KnownDevice) -> Seconds:
        is_idle = entry.direct.calling is None and not entry.is_connected
        return entry.direct.due if entry.is_wanted and is_idle and self._addresses(entry) else NEVER

    def _relay_due(self, entry: KnownDevice) -> Seconds:
        is_idle = entry.relay.calling is None and not entry.is_connected
        if not (entry.is_wanted and is_idle and entry.relays):
            return NEVER
        if entry.direct.calling is not None:
            return max(entry.relay.due, entry.direct.called_at + RELAY_HEAD_START_S)
        return entry.relay.due

    def _upgrade_due(self, entry: KnownDevice) -> Seconds:
        is_idle = entry.upgrade.calling is None and entry.is_connected and not entry.is_at_best
        return entry.upgrade.due if entry.is_wanted and is_idle and self._ways_up(entry) else NEVER

    def _ways_up(self, entry: KnownDevice) -> list[str]:
        return [*self._addresses(entry), *entry.relays]

    # ------------------------------------------------------------------ calling

    def _start(
        self,
        now: Seconds,
        line_of: Callable[[KnownDevice], Line],
        due: Callable[[KnownDevice], Seconds],
        call: Callable[[DeviceId, KnownDevice, Seconds], DialEffect],
    ) -> list[DialEffect]:
        free = DIALS_MAX - sum(line_of(entry).calling is not None for entry in self._devices.values())
        effects: list[DialEffect] = []
        for device_id, entry in self._devices.items():
            if len(effects) < free and now >= due(entry):
                effects.append(call(device_id, entry, now))
        return effects

    def _call(self, device: DeviceId, entry: KnownDevice, now: Seconds) -> DialEffect:
        address = entry.direct.next_address(self._addresses(entry))
        if self._own < device:  # (1)
            entry.direct.begin(address, now, CALL_PATIENCE_S, is_poking=False)
            return Dial(device, address)
        entry.direct.begin(address, now, POKE_PATIENCE_S, is_poking=True)
        return Poke(device, address)

    def _call_by_relay(self, device: DeviceId, entry: KnownDevice, now: Seconds) -> DialEffect:
        address = entry.relay.next_address(entry.relays)
        entry.relay.begin(address, now, RELAY_POKE_PATIENCE_S, is_poking=True)
        return Poke(device, address)

    def _call_better(self, device: DeviceId, entry: KnownDevice, now: Seconds) -> DialEffect:
        address = entry.upgrade.next_address(self._ways_up(entry))
        if self._own < device:
            entry.upgrade.begin(address, now, CALL_PATIENCE_S, is_poking=False)
            return Dial(device, address, entry.rank)
        entry.upgrade.begin(address, now, POKE_PATIENCE_S, is_poking=True)
        return Poke(device, address)

    # ------------------------------------------------------------------ pauses

    def _after_failure(
        self, entry: KnownDevice, line: Line, now: Seconds, *, is_absent: bool = False
    ) -> None:
        """The next address soon; once all were tried, a pause."""
        addresses = self._ways_up(entry) if line is entry.upgrade else self._addresses(entry)
        if line is entry.relay:
            addresses = list(entry.relays)
        if not line.has_tried_all(addresses):
            line.due = max(now, line.called_at + REDIAL_MIN_S)
        elif line is entry.direct:
            self._back_off(entry, now)
        elif line is entry.upgrade:
            self._pause_search(entry, now)
        else:
            first, factor, longest = (
                (ABSENT_FIRST_S, ABSENT_FACTOR, ABSENT_MAX_S)
                if is_absent
                else (BACKOFF_FIRST_S, BACKOFF_FACTOR, BACKOFF_MAX_S)
            )
            line.due = now + self._jittered(_grown(first, factor, longest, line.failures))
            line.failures += 1

    def _seek_better(self, entry: KnownDevice, now: Seconds) -> None:
        """What failed before may go now. Also for the larger id, which then pokes once."""
        if entry.is_connected and not entry.is_at_best:
            entry.upgrade.restart(max(now, entry.upgrade.called_at + REDIAL_MIN_S))

    def _pause_search(self, entry: KnownDevice, now: Seconds) -> None:
        line = entry.upgrade
        if entry.rank is None or (line.is_poking and line.turn):
            line.due, line.is_poking = NEVER, False  # the larger id leaves the rest to the other side
            return
        line.due = now + self._jittered(_grown(UPGRADE_FIRST_S, UPGRADE_FACTOR, UPGRADE_MAX_S, line.failures))
        line.failures += 1

    def _back_off(self, entry: KnownDevice, now: Seconds, *, pause_s: float | None = None) -> None:
        first = BACKOFF_LAN_FIRST_S if entry.addresses else BACKOFF_FIRST_S
        pause_s = pause_s or _grown(first, BACKOFF_FACTOR, BACKOFF_MAX_S, entry.direct.failures)
        entry.direct.failures += 1
        entry.direct.due = now + self._jittered(pause_s)

    def _jittered(self, pause: float) -> float:
        return pause * (0.75 + int.from_bytes(self._entropy(2), "big") / 131_072)


def _grown(first: float, factor: float, longest: float, failures: int) -> float:
    return min(longest, first * factor ** min(failures, 40))
