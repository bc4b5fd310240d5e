"""The load on a relay, as a process of its own: `python -m tests.bench.relay_load KIND JSON`.

Kinds: `connect` (come, subscribe, ping, go) and beside it `greet`; `signal` (pairs that send to each other)
and beside it `echo` and `passing`; `idle` (daemons with nothing to do); `put` and `get` (mailbox items);
`tunnel` and beside it `raw`; `chatter` (tunnels with little to say). Prints JSON lines: `begin` and `end` of
what is measured, then what was done.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Ping, Send, Sub, encode_frame
from sheaf.core.wire.relay_requests import MailboxGet, MailboxPut, MailboxWatch
from sheaf.core.wire.relay_words import FrameType
from tests.bench.relay_load_tunnel import chatter, raw, tunnel
from tests.bench.relay_order import Order, kind_of, say, spread
from tests.support.raw_websocket import PATH, RawWebSocket, masked, open_raw

PING: Final = encode_frame(Ping())
RIDS: Final = 6
"""A daemon has one in each space, and another for a while after the key changed."""
WATCHES: Final = 2
PING_EVERY_S: Final = 30.0
OPENING_AT_ONCE: Final = 64
SETTLE_S: Final = 0.3
TURNS: Final = 16
"""One writer uses several connections: each may send 100 frames a second in the long run."""


Access = tuple[bytes, bytes]
"""Id and token of a mailbox."""


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

    def new_item(box: Access) -> bytes:
        return encode_frame(MailboxPut(0, *box, os.urandom(order.payload_bytes)))

    await _ask(order, new_item, FrameType.MAILBOX_STORED)


async def get(order: Order) -> None:
    """`count` requests at a time, each for the one item that stands in a mailbox."""

    def the_item(box: Access) -> bytes:
        return encode_frame(MailboxGet(0, *box, 0, order.payload_bytes))

    await _ask(order, the_item, FrameType.MAILBOX_ITEMS)


async def _ask(order: Order, request: Callable[[Access], bytes], answer: FrameType) -> None:
    answered: dict[int, asyncio.Future[int]] = {}

    def receive(wire: RawWebSocket, message: bytes) -> None:
        if wire.tag in answered:
            answered.pop(wire.tag).set_result(kind_of(message))

    connections = max(order.count, TURNS)
    wires = [await open_raw(order.address, receive, tag=number) for number in range(connections)]
    await asyncio.sleep(SETTLE_S)
    boxes: list[Access] = [(os.urandom(16), os.urandom(32)) for _ in wires]
    taken_ms: list[float] = []
    refused = 0

    async def ask(number: int, frame: bytes) -> int:
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answered[number] = waiting
        wires[number].send(frame)
        return await waiting

    async def ask_on(first: int) -> None:
        nonlocal refused
        number = first
        while time.monotonic() < deadline:
            frame = request(boxes[number])
            begin = time.monotonic()
            refused += await ask(number, frame) != answer
            taken_ms.append((time.monotonic() - begin) * 1000)
            number = number + order.count if number + order.count < connections else first

    for number, box in enumerate(boxes):
        await ask(number, encode_frame(MailboxPut(0, *box, os.urandom(order.payload_bytes))))
    say(event="begin")
    began = time.monotonic()
    deadline = began + order.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(order.count):
            group.create_task(ask_on(number))
    say(event="end")
    say(done=len(taken_ms), refused=refused, seconds=time.monotonic() - began, **spread(taken_ms))


_ALL: Final = (connect, greet, idle, signal, echo, passing, put, get, tunnel, chatter, raw)
KINDS: Final = {each.__name__: each for each in _ALL}


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
