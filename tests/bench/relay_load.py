"""The load on a relay, as a process of its own: `python -m tests.bench.relay_load KIND JSON`.

Kinds: `connect` (come, subscribe, ping, go) and beside it `greet`; `signal` (pairs that send to each other)
and beside it `echo` and `passing`; `idle` (daemons with nothing to do); `put` (mailbox items); `tunnel` and
beside it `raw`. Prints JSON lines: `begin` and `end` of what is measured, then what was done.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import MIB
from sheaf.core.wire.relay_frames import Ping, Send, Sub, TunnelJoin, encode_frame
from sheaf.core.wire.relay_requests import MailboxPut, MailboxWatch
from sheaf.core.wire.relay_words import FrameType
from tests.support.raw_websocket import PATH, RawWebSocket, masked, open_raw

PING: Final = encode_frame(Ping())
RIDS: Final = 6
"""A daemon with two spaces: its own ids of the current and the previous period, and for answers."""
WATCHES: Final = 2
PING_EVERY_S: Final = 30.0
OPENING_AT_ONCE: Final = 64
SETTLE_S: Final = 0.3
TURNS: Final = 16
"""One writer uses several connections: each may send 100 frames a second in the long run."""
TRIPS: Final = 300
FLIGHT_BYTES_MAX: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class Order:
    """What to do, against whom."""

    host: str
    port: int
    count: int
    seconds: float = 3.0
    payload_bytes: int = 600
    other_port: int | None = None
    """Of a second node, where every other connection goes."""
    sources: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens."""
        return self.host, self.port

    def address_of(self, number: int) -> tuple[str, int]:
        """Where the n-th connection goes."""
        if self.other_port is None or number % 2 == 0:
            return self.host, self.port
        return self.host, self.other_port

    def source(self, number: int) -> str | None:
        """Where the n-th connection comes from."""
        return self.sources[number % len(self.sources)] if self.sources else None


def kind_of(message: bytes) -> int:
    """The type of a frame, without reading the rest."""
    return message[3] if message[2] == 24 else message[2]


def say(**facts: object) -> None:
    """One line for who started us."""
    print(json.dumps(facts), flush=True)


def rids(count: int) -> tuple[RendezvousId, ...]:
    """As random as those of spaces."""
    return tuple(RendezvousId(os.urandom(16)) for _ in range(count))


# ------------------------------------------------------------------ connections


async def connect(order: Order) -> None:
    """Come, take WELCOME, subscribe, ping, go; `count` at a time, for `seconds`."""
    subscribe, deadline, done, failed = encode_frame(Sub(rids(RIDS))), time.monotonic() + order.seconds, 0, 0

    async def visit(number: int) -> None:
        nonlocal done, failed
        while time.monotonic() < deadline:
            answered = asyncio.get_running_loop().create_future()

            def receive(_: RawWebSocket, message: bytes) -> None:
                if kind_of(message) == FrameType.PONG and not answered.done():  # noqa: B023  # used before the next turn
                    answered.set_result(None)  # noqa: B023

            try:
                wire = await open_raw(order.address, receive, source=order.source(number))
            except OSError:
                failed += 1
                continue
            wire.send(subscribe)
            wire.send(PING)
            await asyncio.wait([answered, wire.ended], return_when=asyncio.FIRST_COMPLETED)
            wire.transport.abort()  # no TIME_WAIT: ports are few
            done += answered.done()

    say(event="begin")
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(order.count):
            group.create_task(visit(number))
    say(event="end")
    say(done=done, failed=failed, seconds=time.monotonic() - began)


async def greet(order: Order) -> None:
    """The same against a bare server: come, send a message, have it back, go."""
    message = bytes(len(encode_frame(Sub(rids(RIDS)))))
    deadline, done = time.monotonic() + order.seconds, 0

    async def visit(number: int) -> None:
        nonlocal done
        while time.monotonic() < deadline:
            answered = asyncio.get_running_loop().create_future()

            def receive(_: RawWebSocket, __: bytes) -> None:
                if not answered.done():  # noqa: B023  # used before the next turn
                    answered.set_result(None)  # noqa: B023

            wire = await open_raw(order.address, receive, source=order.source(number), path=b"/echo")
            wire.send(message)
            await answered
            wire.transport.abort()
            done += 1

    say(event="begin")
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(order.count):
            group.create_task(visit(number))
    say(event="end")
    say(done=done, seconds=time.monotonic() - began)


async def idle(order: Order) -> None:
    """`count` daemons with nothing to do: a few ids, two mailboxes, a ping every 30 s; until stdin ends."""
    wires: list[RawWebSocket] = []
    settled = asyncio.Event()
    news = 0

    def receive(_: RawWebSocket, message: bytes) -> None:
        nonlocal news
        news += kind_of(message) == FrameType.MAILBOX_NEWS
        if news == order.count * WATCHES:
            settled.set()

    async def settle(numbers: list[int]) -> None:
        while numbers:
            number = numbers.pop()
            wire = await open_raw(order.address, receive, source=order.source(number))
            wire.send(encode_frame(Sub(rids(RIDS))))
            for request in range(WATCHES):
                wire.send(encode_frame(MailboxWatch(request, os.urandom(16), os.urandom(32))))
            wires.append(wire)

    began = time.monotonic()
    waiting = list(range(order.count))
    async with asyncio.TaskGroup() as group:
        for _ in range(OPENING_AT_ONCE):
            group.create_task(settle(waiting))
        keeping = group.create_task(_keep_alive(wires))
        await settled.wait()
        say(event="settled", seconds=time.monotonic() - began)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        keeping.cancel()
    say(event="ended", alive=sum(not wire.ended.done() for wire in wires))
    for wire in wires:
        wire.transport.abort()


async def _keep_alive(wires: list[RawWebSocket]) -> None:
    """Each pings every 30 s, spread as if they had come one by one."""
    tick_s, turn = 0.05, 0.0
    position = 0
    while True:
        await asyncio.sleep(tick_s)
        turn += len(wires) * tick_s / PING_EVERY_S
        while turn >= 1 and wires:
            position = (position + 1) % len(wires)
            wires[position].send(PING)
            turn -= 1


# ------------------------------------------------------------------ messages


async def signal(order: Order) -> None:
    """`count` pairs, each side sending to the other as soon as the relay has said SENT."""
    ids = rids(2 * order.count)
    payload = bytes(order.payload_bytes)
    frames = [encode_frame(Send(ids[number ^ 1], payload)) for number in range(len(ids))]
    delivered = 0

    def is_answer(message: bytes) -> bool:
        nonlocal delivered
        kind = kind_of(message)
        delivered += kind == FrameType.DELIVER
        return kind == FrameType.SENT

    greetings = [encode_frame(Sub((rid,))) for rid in ids]
    done, seconds = await _exchange(order, frames, is_answer, greetings=greetings)
    say(done=done, delivered=delivered, seconds=seconds)


async def echo(order: Order) -> None:
    """Messages of the same size to a bare server that sends each back."""
    size = len(encode_frame(Send(rids(1)[0], bytes(order.payload_bytes))))
    done, seconds = await _exchange(order, [bytes(size)] * 2 * order.count, lambda _: True, path=b"/echo")
    say(done=done, seconds=seconds)


async def passing(order: Order) -> None:
    """The same to a bare server that passes each message on to a partner and answers with a short one."""
    size = len(encode_frame(Send(rids(1)[0], bytes(order.payload_bytes))))
    done, seconds = await _exchange(
        order, [bytes(size)] * 2 * order.count, lambda message: len(message) < 64, path=b"/pass"
    )
    say(done=done, seconds=seconds)


async def _exchange(
    order: Order,
    messages: Sequence[bytes],
    is_answer: Callable[[bytes], bool],
    *,
    greetings: Sequence[bytes] = (),
    path: bytes = PATH,
) -> tuple[int, float]:
    """Each connection sends its message again whenever the last was answered; (answers, seconds)."""
    done, is_over = 0, False
    sent = [masked(message) for message in messages]

    def receive(wire: RawWebSocket, message: bytes) -> None:
        nonlocal done
        if is_answer(message):
            done += 1
            if not is_over:
                wire.transport.write(sent[wire.tag])

    wires = []
    for number in range(len(messages)):
        wires.append(await open_raw(order.address_of(number), receive, tag=number, path=path))
        if greetings:
            wires[-1].send(greetings[number])
    await asyncio.sleep(SETTLE_S)
    say(event="begin")
    began = time.monotonic()
    for wire in wires:
        wire.transport.write(sent[wire.tag])
    await asyncio.sleep(order.seconds)
    seconds, count, is_over = time.monotonic() - began, done, True
    say(event="end")
    for wire in wires:
        wire.transport.abort()
    return count, seconds


async def put(order: Order) -> None:
    """`count` items on their way at a time, taking turns on more connections, each with its mailbox."""
    answered: dict[int, asyncio.Future[bytes]] = {}

    def receive(wire: RawWebSocket, message: bytes) -> None:
        if kind_of(message) in (FrameType.MAILBOX_STORED, FrameType.REFUSED):
            answered[wire.tag].set_result(message)

    connections = max(order.count, TURNS)
    wires = [await open_raw(order.address, receive, tag=number) for number in range(connections)]
    boxes = [(os.urandom(16), os.urandom(32)) for _ in wires]
    taken_ms: list[float] = []
    refused = 0

    async def write(first: int) -> None:
        nonlocal refused
        number = first
        while time.monotonic() < deadline:
            wire = wires[number]
            answered[number] = asyncio.get_running_loop().create_future()
            begin = time.monotonic()
            wire.send(encode_frame(MailboxPut(0, *boxes[number], os.urandom(order.payload_bytes))))
            refused += kind_of(await answered[number]) == FrameType.REFUSED
            taken_ms.append((time.monotonic() - begin) * 1000)
            number = number + order.count if number + order.count < connections else first

    say(event="begin")
    began = time.monotonic()
    deadline = began + order.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(order.count):
            group.create_task(write(number))
    say(event="end")
    say(done=len(taken_ms), refused=refused, seconds=time.monotonic() - began, **_spread(taken_ms))


# ------------------------------------------------------------------ tunnels


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
        say(bytes=received, seconds=seconds, **_spread(trips_ms))


def _spread(taken_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(taken_ms)
    return {
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


KINDS: Final = {
    each.__name__: each for each in (connect, greet, idle, signal, echo, passing, put, tunnel, raw)
}


def main() -> None:
    """Do one thing."""
    _, kind, order = sys.argv
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts = json.loads(order)
    facts["sources"] = tuple(facts.get("sources", ()))
    gc.disable()  # a load that stops to collect is no even load; the process is short-lived
    asyncio.run(KINDS[kind](Order(**facts)))


if __name__ == "__main__":
    main()
