"""Who listens at this node: rendezvous subscriptions and the sides of nameplates (PROTOCOL §7).

The node's `FleetListener`. Everything that waits waits for the fleet; telling clients never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Deliver, Frame, Nobody, Send, Sent, encode_frame
from sheaf.core.wire.relay_requests import (
    NameplateAllocate,
    NameplateClaim,
    NameplateClosed,
    NameplateFrame,
    NameplateHeard,
    NameplateHeld,
    NameplateRelease,
    NameplateSay,
)
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.client import Client
from sheaf.relay.fleet import Fleet
from sheaf.relay.limits import Addresses, RelayLimits
from sheaf.relay.metrics import RelayMetrics

_SIDE_BYTES: Final = 8


class Hub:
    """Subscribers by rendezvous id, clients by nameplate side.

    Invariants:
    1. The fleet is told of an id with its first subscriber here and after its last. No subscriber is
       answered before the fleet has confirmed the id, whoever was first.
    2. A client that left is in no table.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        limits: RelayLimits,
        addresses: Addresses,
        metrics: RelayMetrics,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._fleet = fleet
        self._limits = limits
        self._addresses = addresses
        self._metrics = metrics
        self._entropy = entropy
        self._subscribers: dict[RendezvousId, list[Client]] = {}
        self._sides: dict[str, Client] = {}
        self._claiming: dict[tuple[str, int], list[Frame]] = {}
        self._telling_fleet = asyncio.Lock()
        self._in_force: set[RendezvousId] = set()
        """The ids that the fleet has confirmed."""

    # ------------------------------------------------------------------ rendezvous

    async def subscribe(self, client: Client, rids: Sequence[RendezvousId]) -> bool:
        """Deliver to `client` from now on; False when these are too many for one connection."""
        held = client.rids if client.rids is not None else set()
        fresh = [rid for rid in dict.fromkeys(rids) if rid not in held]
        if len(held) + len(fresh) > self._limits.rids_max:
            return False
        client.rids = held
        for rid in fresh:
            held.add(rid)
            self._subscribers.setdefault(rid, []).append(client)
        self._metrics.subscriptions.set(len(self._subscribers))
        if not self._in_force.issuperset(fresh):
            async with self._telling_fleet:  # (1)
                news = [rid for rid in fresh if rid in self._subscribers and rid not in self._in_force]
                await self._fleet.subscribe(news)
                self._in_force.update(news)
        return True

    async def unsubscribe(self, client: Client, rids: Sequence[RendezvousId]) -> None:
        """Stop delivering these to `client`."""
        last = []
        for rid in rids:
            if client.rids is None or rid not in client.rids:
                continue
            client.rids.discard(rid)
            subscribers = self._subscribers[rid]
            subscribers.remove(client)
            if not subscribers:
                del self._subscribers[rid]
                last.append(rid)
        self._metrics.subscriptions.set(len(self._subscribers))
        if last:
            async with self._telling_fleet:  # (1)
                gone = [rid for rid in last if rid not in self._subscribers]
                self._in_force.difference_update(gone)
                await self._fleet.unsubscribe(gone)

    async def send(self, client: Client, frame: Send) -> None:
        """Hand a message over and tell the sender how it went."""
        if await self._fleet.send(frame.rid, frame.payload):
            client.push(Sent(frame.rid))
        else:
            self._metrics.nobody.inc()
            client.push(Nobody(frame.rid))

    def deliver(self, rid: RendezvousId, payload: bytes) -> bool:
        """See `FleetListener`."""
        subscribers = self._subscribers.get(rid)
        if not subscribers:
            return False
        data = encode_frame(Deliver(rid, payload))
        reached = False
        for client in subscribers:
            was_dropped = client.is_dropped
            if client.push_raw(data):
                self._metrics.delivered.inc()
                reached = True
            elif client.is_dropped and not was_dropped:
                self._metrics.dropped.labels("slow").inc()
        return reached

    # ------------------------------------------------------------------ nameplates

    async def serve_nameplate(self, client: Client, frame: NameplateFrame) -> None:
        """Do what a client asks about nameplates.

        Raises:
            RelayRefused: as the fleet does; RATE.
            WireError: clients do not send such a frame.
        """
        match frame:
            case NameplateSay(number, payload):
                await self._say(client, number, payload)
            case NameplateRelease(number):
                await self._release(client, number)
            case NameplateAllocate(request):
                await self._allocate(client, request)
            case NameplateClaim(request, number):
                await self._claim(client, request, number)
            case _:
                raise WireError("clients do not send this")

    async def _allocate(self, client: Client, request: int) -> None:
        self._may_have_one(client)
        number = await self._fleet.allocate_nameplate(self._side_of(client))
        _plates_of(client).add(number)
        client.push(NameplateHeld(request, number))

    async def _claim(self, client: Client, request: int, number: int) -> None:
        self._may_have_one(client)
        side, plates = self._side_of(client), _plates_of(client)
        if number in plates:
            await self._fleet.claim_nameplate(number, side)  # refused, whoever else is there
            return
        plates.add(number)
        early: list[Frame] = []  # bounded: what a nameplate keeps for its second side
        self._claiming[side, number] = early
        try:
            await self._fleet.claim_nameplate(number, side)
        except RelayRefused:
            plates.discard(number)
            raise
        finally:
            del self._claiming[side, number]
        client.push(NameplateHeld(request, number))
        for frame in early:
            client.push(frame)

    async def _say(self, client: Client, number: int, payload: bytes) -> None:
        if client.side is None or number not in _plates_of(client):
            client.push(NameplateClosed(number, RefusalCode.GONE))
            return
        try:
            await self._fleet.say(number, client.side, payload)
        except RelayRefused as refusal:
            client.push(NameplateClosed(number, refusal.code))
            await self._release(client, number)

    async def _release(self, client: Client, number: int) -> None:
        if client.side is not None and number in _plates_of(client):
            _plates_of(client).discard(number)
            await self._fleet.release_nameplate(number, client.side)

    def heard(self, side: str, number: int, payload: bytes) -> None:
        """See `FleetListener`."""
        self._tell_side(side, number, NameplateHeard(number, payload))

    def nameplate_closed(self, side: str, number: int, code: RefusalCode) -> None:
        """See `FleetListener`."""
        self._tell_side(side, number, NameplateClosed(number, code))
        client = self._sides.get(side)
        if client is not None:
            _plates_of(client).discard(number)

    def _tell_side(self, side: str, number: int, frame: Frame) -> None:
        client = self._sides.get(side)
        if client is None or number not in _plates_of(client):
            return
        early = self._claiming.get((side, number))
        if early is not None:
            early.append(frame)  # first it hears that the number is its own
        else:
            client.push(frame)

    def _may_have_one(self, client: Client) -> None:
        if not self._addresses.may_use_nameplate(client.address):
            raise RelayRefused(RefusalCode.RATE)
        if len(_plates_of(client)) >= self._limits.nameplates_max:
            raise RelayRefused(RefusalCode.RATE)

    def _side_of(self, client: Client) -> str:
        if client.side is None:
            client.side = self._entropy(_SIDE_BYTES).hex()
            self._sides[client.side] = client
        return client.side

    # ------------------------------------------------------------------ the end

    async def leave(self, client: Client) -> None:
        """The client's connection ended (2)."""
        rids, plates = client.rids, client.plates
        if rids:
            await self.unsubscribe(client, list(rids))
        if client.side is not None:
            del self._sides[client.side]
            for number in plates or ():
                await self._fleet.release_nameplate(number, client.side)


def _plates_of(client: Client) -> set[int]:
    if client.plates is None:
        client.plates = set()
    return client.plates
