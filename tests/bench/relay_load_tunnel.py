"""Bytes through a tunnel of a relay, and beside it through a bare TCP proxy: both ends in one process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sheaf.core.base.limits import MIB
from sheaf.core.wire.relay_frames import TunnelJoin, encode_frame
from sheaf.core.wire.relay_words import FrameType
from tests.bench.relay_order import Order, kind_of, say, spread
from tests.support.raw_websocket import RawWebSocket, open_raw

TRIPS: Final = 300
FLIGHT_BYTES_MAX: Final = 4 * MIB
CHATTER_PER_S: Final = 3_000
"""What a node of a large fleet passes on (docs/relay-capacity.md)."""
TICK_S: Final = 0.01
SETTLE_S: Final = 0.5


async def tunnel(order: Order) -> None:
    """Bytes through a tunnel in messages of `payload_bytes`, then single bytes there and back."""
    join = encode_frame(TunnelJoin(os.urandom(16)))
    joined = [asyncio.get_running_loop().create_future() for _ in range(2)]
    flow = _Flow()

    def receive(wire: RawWebSocket, message: bytes) -> None:
        if joined[wire.tag].done():
            flow.take(wire.tag, message)
        elif kind_of(message) == FrameType.TUNNEL_JOINED:
            joined[wire.tag].set_result(None)

    near, far = [await open_raw(order.address, receive, tag=tag) for tag in range(2)]
    near.send(join)
    far.send(join)
    await asyncio.gather(*joined)
    await flow.measure(order, near.send, near.drain, far.send)


async def chatter(order: Order) -> None:
    """`count` tunnels that pass a short message now and then: sessions with nothing to say but pings."""
    received = 0

    def receive(_: RawWebSocket, __: bytes) -> None:
        nonlocal received
        received += 1

    wires = []
    for _ in range(order.count):
        join = encode_frame(TunnelJoin(os.urandom(16)))
        for _ in range(2):
            wires.append(await open_raw(order.address, receive))
            wires[-1].send(join)
    await asyncio.sleep(SETTLE_S)
    message, turn, received = os.urandom(order.payload_bytes), 0, 0
    say(event="begin")
    began = time.monotonic()
    while time.monotonic() < began + order.seconds:
        for _ in range(int(CHATTER_PER_S * TICK_S)):
            wires[turn % len(wires)].send(message)
            turn += 7  # others than the last time
        await asyncio.sleep(TICK_S)
    seconds = time.monotonic() - began
    say(event="end")
    say(done=received, seconds=seconds)


async def raw(order: Order) -> None:
    """The same through a bare TCP proxy, which connects to us."""
    loop, flow = asyncio.get_running_loop(), _Flow()
    arrived: asyncio.Future[_Stream] = loop.create_future()
    listener = await loop.create_server(
        lambda: _Stream(lambda data: flow.take(1, data), arrived), "127.0.0.1", 0
    )
    target = listener.sockets[0].getsockname()[1]
    _, near = await loop.create_connection(lambda: _Stream(lambda data: flow.take(0, data)), *order.address)
    near.transport.write(target.to_bytes(2, "big"))
    far = await arrived
    await flow.measure(order, near.transport.write, near.drain, far.transport.write)
    listener.close()


class _Stream(RawWebSocket):
    """A TCP connection without WebSocket."""

    def __init__(self, take: Callable[[bytes], None], arrived: asyncio.Future[_Stream] | None = None) -> None:
        super().__init__(lambda _, __: None)
        self._take = take
        self._arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._arrived is not None:
            self._arrived.set_result(self)

    def data_received(self, data: bytes) -> None:
        self._take(data)


class _Flow:
    """What arrives at the two ends, 0 and 1."""

    def __init__(self) -> None:
        self._received = 0
        self._is_flooding = False
        self._answer: Callable[[bytes], None] | None = None
        self._answered: asyncio.Future[None] | None = None

    def take(self, tag: int, data: bytes) -> None:
        """Something came."""
        if tag == 1:
            self._received += len(data)
            if self._answer is not None:
                self._answer(data)
        elif self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    async def measure(
        self,
        order: Order,
        send: Callable[[bytes], None],
        drain: Callable[[], Coroutine[Any, Any, None]],
        answer: Callable[[bytes], None],
    ) -> None:
        """First single bytes, while nothing waits before them; then as many as go through."""
        self._answer = answer
        trips_ms = []
        for _ in range(TRIPS):
            self._answered = asyncio.get_running_loop().create_future()
            begin = time.perf_counter()
            send(b"x")
            await self._answered
            trips_ms.append((time.perf_counter() - begin) * 1000)
        self._answer, self._received, sent = None, 0, 0
        chunk = os.urandom(order.payload_bytes)
        say(event="begin")
        began = time.monotonic()
        while time.monotonic() < began + order.seconds:
            send(chunk)
            sent += len(chunk)
            await drain()
            if sent - self._received > FLIGHT_BYTES_MAX:
                await asyncio.sleep(0)
        seconds, received = time.monotonic() - began, self._received
        say(event="end")
        say(bytes=received, seconds=seconds, **spread(trips_ms))
