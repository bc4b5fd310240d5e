"""The network between simulated devices.

Signalling messages are lost, doubled and overtaken. A channel is reliable and ordered while it
lives; it can be cut (noticed or silently), stalled, and has a rate and a latency. Pairs can be
out of each other's reach.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Protocol

from sheaf.core.base.ids import DeviceId
from tests.sim.clockwork import Clockwork

ANSWER_DEADLINE_S = 3.0


class Receiver(Protocol):
    """What a channel delivers to."""

    def frame_came(self, frame: bytes) -> None: ...
    def writable(self) -> None: ...
    def channel_lost(self) -> None: ...


class Station(Protocol):
    """A device as the network sees it."""

    device_id: DeviceId
    is_alive: bool

    def answer_offer(self, caller: DeviceId, channel: Channel, transcript: bytes) -> None: ...
    def answer_came(self, target: DeviceId, channel: Channel, transcript: bytes) -> None: ...
    def call_failed(self, target: DeviceId) -> None: ...
    def poke_came(self, caller: DeviceId) -> None: ...


class Channel:
    """Two directions, 0 from the offerer and 1 from the answerer."""

    def __init__(
        self, *, clockwork: Clockwork, chance: random.Random, ends: tuple[DeviceId, DeviceId]
    ) -> None:
        self._clockwork = clockwork
        self.ends = ends
        self._latency_s = chance.choice([0.0005, 0.002, 0.02, 0.15])
        self._bytes_per_s = chance.choice([20_000_000, 2_000_000, 200_000])
        self._receivers: list[Receiver | None] = [None, None]
        self._kept: list[list[bytes]] = [[], []]
        self._free_at = [0.0, 0.0]
        self._arrived_at = [0.0, 0.0]
        self.buffered = [0, 0]
        self.sent_bytes = 0
        self.stalled_until = 0.0
        self.is_open = True

    def attach(self, side: int, receiver: Receiver) -> None:
        """The device at `side` listens from now on; earlier frames are delivered first."""
        self._receivers[side] = receiver
        kept, self._kept[side] = self._kept[side], []
        for frame in kept:
            receiver.frame_came(frame)

    def send(self, side: int, frame: bytes) -> None:
        """Put a frame on its way."""
        if not self.is_open:
            return
        self.sent_bytes += len(frame)
        self.buffered[side] += len(frame)
        start = max(self._clockwork.now, self._free_at[side], self.stalled_until)
        gone = self._free_at[side] = start + len(frame) / self._bytes_per_s
        arrival = self._arrived_at[side] = max(gone + self._latency_s, self._arrived_at[side])
        self._clockwork.at(gone, lambda: self._departed(side, len(frame)))
        self._clockwork.at(arrival, lambda: self._arrive(1 - side, frame))

    def cut(self, *, is_noticed: bool) -> None:
        """The end: frames under way are lost."""
        if not self.is_open:
            return
        self.is_open = False
        for receiver in self._receivers:
            if is_noticed and receiver is not None:
                self._clockwork.after(self._latency_s, receiver.channel_lost)

    def _departed(self, side: int, size: int) -> None:
        self.buffered[side] -= size
        receiver = self._receivers[side]
        if receiver is not None and self.is_open:
            receiver.writable()

    def _arrive(self, side: int, frame: bytes) -> None:
        if not self.is_open:
            return
        receiver = self._receivers[side]
        if receiver is None:
            self._kept[side].append(frame)
        else:
            receiver.frame_came(frame)


class Network:
    """Who can reach whom, and what is in the air."""

    def __init__(self, *, clockwork: Clockwork, chance: random.Random) -> None:
        self._clockwork = clockwork
        self._chance = chance
        self.stations: dict[DeviceId, Station] = {}
        self.channels: list[Channel] = []
        self.islands: dict[DeviceId, int] = {}
        self.is_lossy = True
        self._calls = 0

    def can_reach(self, one: DeviceId, other: DeviceId) -> bool:
        """Whether frames and messages pass between two devices."""
        return self.islands.get(one, 0) == self.islands.get(other, 0)

    def hears(self, one: DeviceId, other: DeviceId) -> bool:
        """Whether `one` sees `other` announced."""
        station = self.stations.get(other)
        return station is not None and station.is_alive and self.can_reach(one, other)

    def partition(self, islands: dict[DeviceId, int]) -> None:
        """Split; channels across the gap go silent."""
        self.islands = islands
        for channel in self.channels:
            if not self.can_reach(*channel.ends):
                channel.cut(is_noticed=False)

    def offer(self, caller: DeviceId, target: DeviceId) -> None:
        """Call: offer, answer, channel; or a failure after the deadline."""
        self._calls += 1
        number, answered = self._calls, [False]

        def arrive() -> None:
            channel = Channel(clockwork=self._clockwork, chance=self._chance, ends=(caller, target))
            self.channels = [old for old in self.channels if old.is_open] + [channel]
            salt = self._chance.randbytes(8)
            transcript = hashlib.sha256(b"%d" % number + salt).digest()
            self.stations[target].answer_offer(caller, channel, transcript)
            self._carry(target, caller, lambda: answer(channel, transcript))

        def answer(channel: Channel, transcript: bytes) -> None:
            if not answered[0] and self.can_reach(caller, target):
                answered[0] = True
                self.stations[caller].answer_came(target, channel, transcript)

        def give_up() -> None:
            if not answered[0]:
                answered[0] = True
                self.stations[caller].call_failed(target)

        self._carry(caller, target, arrive)
        self._clockwork.after(ANSWER_DEADLINE_S, give_up)

    def poke(self, caller: DeviceId, target: DeviceId) -> None:
        """Ask to be called."""
        self._carry(caller, target, lambda: self.stations[target].poke_came(caller))

    def _carry(self, sender: DeviceId, target: DeviceId, deliver: Callable[[], None]) -> None:
        """One signalling message: maybe lost, maybe twice, in any order."""

        def arrive() -> None:
            if self.stations[target].is_alive and self.can_reach(sender, target):
                deliver()

        dice = self._chance.random() if self.is_lossy else 1.0
        copies = 0 if dice < 0.1 else 2 if dice < 0.2 else 1
        for _ in range(copies):
            self._clockwork.after(self._chance.uniform(0.001, 0.2), arrive)
