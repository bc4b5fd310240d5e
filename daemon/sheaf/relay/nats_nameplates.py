"""Nameplates of a fleet: each node keeps those it gave out, NATS keeps who gave out which (PROTOCOL §7).

A number is reserved in a small stream, whose messages name the node and go by themselves when the
number may be given out again. A side at another node speaks to that node through its subject. A node
that ends takes its nameplates with it: their other sides are told GONE. Decision 0053.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import BadRequestError, NotFoundError

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.fleet import FleetListener, Side
from sheaf.relay.nameplates import LIFE_S, NameplateDesk, free_number
from sheaf.relay.nats_link import REQUEST_S, NatsLink, needing_jetstream, refusing
from sheaf.relay.nats_orders import (
    NAME_BYTES_MAX,
    Order,
    OrderKind,
    decode_order,
    decode_verdict,
    encode_order,
    encode_verdict,
)
from sheaf.relay.nats_words import EXPECT_LAST, NAMEPLATE_STREAM, node_subject
from sheaf.task_set import TaskSet

_TRIES: Final = 16
_OUTBOX_MAX: Final = 10_000
"""Messages to other nodes that wait to be handed to NATS; beyond that they are lost, as with NATS away."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """One side of one number."""

    number: int
    side: Side


class NatsNameplates:
    """The nameplates seen from one node.

    Invariants:
    1. What a side at another node hears arrives there in order: one outbox, one subject per node.
    2. A number is in this node's desk only if this node reserved it.
    """

    def __init__(
        self,
        *,
        link: NatsLink,
        node: str,
        now: Callable[[], float],
        choose: Callable[[int], int],
        listener: FleetListener,
    ) -> None:
        self._link = link
        self._node = node
        self._choose = choose
        self._listener = listener
        self._desk = NameplateDesk(
            now=now, choose=choose, on_heard=self._desk_heard, on_closed=self._desk_closed
        )
        self._guests: dict[_Seat, str] = {}
        """Second sides of our numbers that are at another node, and which."""
        self._hosts: dict[_Seat, str] = {}
        """Sides here whose number is another node's, and whose."""
        self._outbox: asyncio.Queue[tuple[str, Order]] = asyncio.Queue(_OUTBOX_MAX)
        self._tasks = TaskSet("nats nameplates")
        self._is_checking = False

    async def start(self) -> None:
        """Listen to the other nodes."""
        self._tasks.spawn(self._speak(), "outbox")
        with suppress(RelayRefused):
            await self._link.listen(node_subject(self._node), self._obey)

    async def close(self) -> None:
        """Tell nobody any more."""
        await self._tasks.close()

    # ------------------------------------------------------------------ what this node's clients want

    async def allocate(self, side: Side) -> int:
        """See `Fleet.allocate_nameplate`."""
        with refusing():
            taken = await self._reserved()
            for _ in range(_TRIES):
                number = free_number(taken, self._choose)
                taken.add(number)
                if not self._desk.knows(number) and await self._reserve(number):
                    self._desk.hold(number, side)
                    return number
        raise RelayRefused(RefusalCode.FULL)

    async def claim(self, number: int, side: Side) -> None:
        """See `Fleet.claim_nameplate`."""
        with refusing():
            host = await self._host_of(number)
        if host is None:
            raise RelayRefused(RefusalCode.GONE)
        if host == self._node:
            self._desk.claim(number, side)
            return
        seat = _Seat(number, side)
        self._hosts[seat] = host
        code = await self._claim_at(host, seat)
        if code is not None:
            self._hosts.pop(seat, None)
            raise RelayRefused(code)

    async def say(self, number: int, side: Side, payload: bytes) -> None:
        """See `Fleet.say`."""
        host = self._hosts.get(_Seat(number, side))
        if host is None:
            self._desk.say(number, side, payload)
        else:
            self._link.client  # noqa: B018  # refuses while NATS is away
            self._tell(host, Order(OrderKind.SAY, self._node, side, number, payload))

    def release(self, number: int, side: Side) -> None:
        """See `Fleet.release_nameplate`."""
        host = self._hosts.pop(_Seat(number, side), None)
        if host is None:
            self._desk.release(number, side)
        else:
            self._tell(host, Order(OrderKind.RELEASE, self._node, side, number))

    def tick(self) -> None:
        """Let go of what is over, and of what nodes that ended have left behind."""
        self._desk.sweep()
        if (self._guests or self._hosts) and not self._is_checking:
            self._is_checking = True
            self._tasks.spawn(self._check_nodes(), "who is there")

    # ------------------------------------------------------------------ what our desk says

    def _desk_heard(self, side: Side, number: int, payload: bytes) -> None:
        guest = self._guests.get(_Seat(number, side))
        if guest is None:
            self._listener.heard(side, number, payload)
        else:
            self._tell(guest, Order(OrderKind.HEARD, self._node, side, number, payload))

    def _desk_closed(self, side: Side, number: int, code: RefusalCode) -> None:
        guest = self._guests.pop(_Seat(number, side), None)
        if guest is None:
            self._listener.nameplate_closed(side, number, code)
        else:
            self._tell(guest, Order(OrderKind.CLOSED, self._node, side, number, encode_verdict(code)))

    def _tell(self, node: str, order: Order) -> None:
        with suppress(asyncio.QueueFull):
            self._outbox.put_nowait((node, order))

    async def _speak(self) -> None:
        while True:
            node, order = await self._outbox.get()
            with suppress(RelayRefused):
                await self._link.publish(node_subject(node), encode_order(order))

    # ------------------------------------------------------------------ what other nodes say

    async def _obey(self, message: Msg) -> None:
        if not message.data:  # somebody asks whether we are there
            with suppress(RelayRefused), refusing():
                await message.respond(b"")
            return
        try:
            order = decode_order(message.data)
            await self._follow(order, message)
        except (WireError, RelayRefused):
            return  # nothing a node of this fleet says

    async def _follow(self, order: Order, message: Msg) -> None:
        seat = _Seat(order.number, order.side)
        match order.kind:
            case OrderKind.CLAIM:
                verdict = encode_verdict(self._seat_guest(seat, order.node))
                with refusing():
                    await message.respond(verdict)
            case OrderKind.SAY if self._guests.get(seat) == order.node:
                self._desk.say(order.number, order.side, order.payload)
            case OrderKind.RELEASE if self._guests.pop(seat, None) is not None:
                self._desk.release(order.number, order.side)
            case OrderKind.HEARD if self._hosts.get(seat) == order.node:
                self._listener.heard(order.side, order.number, order.payload)
            case OrderKind.CLOSED if self._hosts.get(seat) == order.node:
                code = decode_verdict(order.payload)
                del self._hosts[seat]
                self._listener.nameplate_closed(order.side, order.number, code or RefusalCode.GONE)

    def _seat_guest(self, seat: _Seat, node: str) -> RefusalCode | None:
        self._guests[seat] = node
        try:
            self._desk.claim(seat.number, seat.side)
        except RelayRefused as refusal:
            self._guests.pop(seat, None)
            return refusal.code
        return None

    async def _claim_at(self, host: str, seat: _Seat) -> RefusalCode | None:
        order = Order(OrderKind.CLAIM, self._node, seat.side, seat.number)
        try:
            answer = await self._link.ask(node_subject(host), encode_order(order))
            return RefusalCode.GONE if answer is None else decode_verdict(answer)
        except (WireError, RelayRefused):
            self._tell(host, Order(OrderKind.RELEASE, self._node, seat.side, seat.number))
            return RefusalCode.UNAVAILABLE

    async def _check_nodes(self) -> None:
        try:
            for node in {*self._guests.values(), *self._hosts.values()}:
                if not await self._link.has_listener(node_subject(node)):
                    self._bury(node)
        except RelayRefused:
            return  # it is NATS that is away
        finally:
            self._is_checking = False

    def _bury(self, node: str) -> None:
        for seat in [seat for seat, host in self._hosts.items() if host == node]:
            del self._hosts[seat]
            self._listener.nameplate_closed(seat.side, seat.number, RefusalCode.GONE)
        for seat in [seat for seat, guest in self._guests.items() if guest == node]:
            del self._guests[seat]
            self._desk.release(seat.number, seat.side)

    # ------------------------------------------------------------------ reservations

    async def _reserved(self) -> set[int]:
        """The numbers that are out or rest, of all nodes."""
        request = json.dumps({"subjects_filter": "npl.*"}).encode()
        answer = await self._link.client.request(
            f"$JS.API.STREAM.INFO.{NAMEPLATE_STREAM}", request, timeout=REQUEST_S
        )
        try:
            subjects = json.loads(answer.data)["state"].get("subjects") or {}
            return {int(subject.removeprefix("npl.")) for subject in subjects}
        except (ValueError, LookupError, AttributeError):
            raise RelayRefused(RefusalCode.UNAVAILABLE) from None

    async def _reserve(self, number: int) -> bool:
        jetstream = self._link.client.jetstream(timeout=REQUEST_S)
        try:
            await jetstream.publish(f"npl.{number}", self._node.encode(), headers={EXPECT_LAST: "0"})
        except BadRequestError:
            return False
        return True

    async def _host_of(self, number: int) -> str | None:
        jetstream = self._link.client.jetstream(timeout=REQUEST_S)
        try:
            found = await jetstream.get_last_msg(NAMEPLATE_STREAM, f"npl.{number}")
        except NotFoundError:
            return None
        node = (found.data or b"")[:NAME_BYTES_MAX]
        return node.decode("ascii", "replace") if node.isalnum() else None


async def prepare_nameplates(client: Client, *, replicas: int) -> None:
    """See to it that the stream of reservations is there. Raises NatsUnfit."""
    wanted = api.StreamConfig(
        name=NAMEPLATE_STREAM,
        description="who of Sheaf's relay nodes gave out which nameplate",
        subjects=["npl.*"],
        storage=api.StorageType.FILE,
        num_replicas=replicas,
        max_age=LIFE_S,
        max_msgs_per_subject=1,
    )
    with needing_jetstream():
        await client.jetstream(timeout=REQUEST_S).add_stream(wanted)
