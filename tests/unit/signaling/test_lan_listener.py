"""The listener among strangers (PROTOCOL §6, §11; FAULTS A3 in the LAN form)."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Error,
    Nobody,
    Send,
    Sent,
    Sub,
    TunnelJoin,
    decode_frame,
    encode_frame,
)
from sheaf.core.wire.relay_words import ErrorCode
from sheaf.signaling.admission import Admission, ListenerLimits, RateBudget
from sheaf.signaling.lan import LanSignaling
from tests.support.channels import eventually

RID, OTHER = RendezvousId(b"r" * 16), RendezvousId(b"o" * 16)
QUICK = ListenerLimits(
    handshake_s_max=0.3, first_frame_s_max=0.3, idle_s_max=0.3, frames_burst=20, frames_per_s=1
)


@pytest.fixture
async def listener() -> AsyncIterator[LanSignaling]:
    made = LanSignaling(limits=QUICK)
    await made.listen("127.0.0.1", 0)
    made.subscribe([RID])
    made.set_handler(lambda rid, sealed, route: None)
    yield made
    await made.close()


def port(listener: LanSignaling) -> int:
    assert listener.listening is not None
    return int(listener.listening.rpartition(":")[2])


def url(listener: LanSignaling, path: str = "/sheaf") -> str:
    return f"ws://127.0.0.1:{port(listener)}{path}"


async def raw_request(listener: LanSignaling, request: bytes) -> bytes:
    """Send bytes and return everything that comes until the listener hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(listener))
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(5):
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
    writer.close()
    return answer


HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /sheaf HTTP/1.1\r\nHost: x\r\n\r\n",
        HANDSHAKE % (b"/", b""),
        HANDSHAKE % (b"/api/session", b""),
        HANDSHAKE % (b"/sheaf", b"Origin: http://evil.example\r\n"),
        HANDSHAKE % (b"/sheaf", b"Origin: null\r\n"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"nonsense\r\n\r\n",
        b"GET /sheaf HTTP/1.1\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_strangers_learn_nothing(listener: LanSignaling, request_bytes: bytes) -> None:
    answer = await raw_request(listener, request_bytes)
    assert b"101" not in answer
    assert b"heaf" not in answer
    assert b"python" not in answer.lower()
    assert len(answer) < 400


async def test_a_slow_handshake_is_given_up(listener: LanSignaling) -> None:
    assert await raw_request(listener, b"GET /sheaf HTTP/1.1\r\nHost:") == b""


async def test_a_silent_connection_is_closed(listener: LanSignaling) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(5):
                await stranger.recv()


async def test_an_idle_connection_is_closed(listener: LanSignaling) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        await stranger.send(encode_frame(Send(RID, b"hello")))
        assert decode_frame(await stranger.recv(decode=False)) == Sent(RID)
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(5):
                await stranger.recv()


@pytest.mark.parametrize("message", [b"", b"\xff", b"\xa1\x00\x18\x63", "text", bytes(5000)])
async def test_n7_what_is_not_a_frame_ends_the_connection(
    listener: LanSignaling, message: bytes | str
) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        await stranger.send(message)
        async with asyncio.timeout(5):
            assert decode_frame(await stranger.recv(decode=False)) == Error(ErrorCode.BAD_FRAME)
            with pytest.raises(ConnectionClosed):
                await stranger.recv()


async def test_a_message_over_the_limit_ends_the_connection(listener: LanSignaling) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        await stranger.send(bytes(70_000))
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(5):
                await stranger.recv()


@pytest.mark.parametrize("frame", [Sub((RID,)), TunnelJoin(b"t" * 16), Sent(RID)])
async def test_what_this_listener_does_not_serve_ends_the_connection(
    listener: LanSignaling, frame: Sub | TunnelJoin | Sent
) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        await stranger.send(encode_frame(frame))
        async with asyncio.timeout(5):
            assert decode_frame(await stranger.recv(decode=False)) == Error(ErrorCode.NOT_HERE)
            with pytest.raises(ConnectionClosed):
                await stranger.recv()


async def test_too_many_frames_end_the_connection(listener: LanSignaling) -> None:
    async with connect(url(listener), proxy=None) as stranger:
        answers = []
        for _ in range(30):
            try:
                await stranger.send(encode_frame(Send(OTHER, b"guess")))
                answers.append(decode_frame(await stranger.recv(decode=False)))
            except ConnectionClosed:
                break
        assert answers == [Nobody(OTHER)] * 20 + [Error(ErrorCode.TOO_MUCH)]


async def test_connections_are_capped_and_freed() -> None:
    listener = LanSignaling(limits=ListenerLimits(connections_max=3))
    await listener.listen("127.0.0.1", 0)
    held = [await connect(url(listener), proxy=None) for _ in range(3)]
    with pytest.raises((OSError, WebSocketException)):
        await connect(url(listener), proxy=None)
    await held[0].close()
    async with asyncio.timeout(5):
        while True:
            try:
                again = await connect(url(listener), proxy=None)
                break
            except (OSError, WebSocketException):
                await asyncio.sleep(0)
    for connection in (*held, again):
        await connection.close()
    await listener.close()


async def test_a_peer_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    from sheaf.signaling import websocket

    monkeypatch.setattr(websocket, "SEND_S_MAX", 0.2)
    listener = LanSignaling(limits=ListenerLimits(frames_burst=10**6, frames_per_s=10**6))
    await listener.listen("127.0.0.1", 0)
    listener.subscribe([RID])
    routes = []
    listener.set_handler(lambda rid, sealed, route: routes.append(route))
    stranger = await connect(url(listener), proxy=None)
    await stranger.send(encode_frame(Send(RID, b"call me")))
    await eventually(lambda: bool(routes))
    stranger.transport.pause_reading()
    is_taken = True
    async with asyncio.timeout(10):
        while is_taken:
            is_taken = await listener.reply(routes[0], RID, bytes(16_000))
    await listener.close()
    stranger.transport.abort()


async def test_a_taken_port_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(TransportFailure, match="--lan"):
            await LanSignaling().listen("127.0.0.1", number)


async def test_both_families_share_one_port() -> None:
    listener = LanSignaling()
    await listener.listen("", 0)
    number = port(listener)
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, number)
        writer.close()
    await listener.close()


async def test_nothing_is_left_after_closing() -> None:
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for _ in range(10):
        one, two = LanSignaling(), LanSignaling()
        await one.listen("127.0.0.1", 0)
        one.subscribe([RID])
        one.set_handler(lambda rid, sealed, route: None)
        assert one.listening is not None
        assert await two.send(one.listening, RID, b"x") is not None
        await two.close()
        await one.close()
    gc.collect()
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)
    assert len(os.listdir("/proc/self/fd")) == files


# ------------------------------------------------------------------ the arithmetic


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_ten_handshakes_per_minute_and_address_after_the_first_few() -> None:
    watch = Watch()
    admission = Admission(limits=ListenerLimits(handshakes_burst=10), now=watch)

    def knock(host: str, *, is_local: bool = False) -> bool:
        is_admitted = admission.admit(host, is_local=is_local)
        if is_admitted:
            admission.leave(host)
        return is_admitted

    assert [knock("192.168.1.9") for _ in range(12)] == [True] * 10 + [False] * 2
    assert knock("192.168.1.10")
    watch.now = 6.0
    assert [knock("192.168.1.9") for _ in range(2)] == [True, False]
    assert all(knock("192.168.1.9", is_local=True) for _ in range(50))


async def test_this_machine_is_not_counted_and_others_are() -> None:
    limits = ListenerLimits(handshakes_burst=1, connections_per_address_max=1)
    listener = LanSignaling(limits=limits)
    await listener.listen("", 0)
    for _ in range(3):
        (await connect(url(listener), proxy=None)).transport.abort()
    other = {"host": "127.0.0.1", "port": port(listener), "local_addr": ("127.0.0.2", 0)}
    (await connect(url(listener), proxy=None, **other)).transport.abort()
    with pytest.raises((OSError, WebSocketException)):
        await connect(url(listener), proxy=None, **other)
    await listener.close()


def test_connections_per_address_are_capped() -> None:
    watch = Watch()
    admission = Admission(limits=ListenerLimits(handshakes_burst=1000), now=watch)
    assert [admission.admit("192.168.1.9") for _ in range(17)] == [True] * 16 + [False]
    admission.leave("192.168.1.9")
    assert admission.admit("192.168.1.9")


def test_the_memory_of_addresses_is_bounded() -> None:
    admission = Admission(limits=ListenerLimits(connections_max=10**6), now=Watch())
    for number in range(5000):
        host = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        admission.admit(host)
        admission.leave(host)
    assert len(admission._budgets) <= 1024
    assert admission._open == {}


def test_a_budget_never_exceeds_its_burst() -> None:
    budget = RateBudget(burst=2, per_s=1, now=0)
    assert [budget.take(1000.0) for _ in range(3)] == [True, True, False]
    assert not budget.take(1000.5)
    assert budget.take(1001.0)
