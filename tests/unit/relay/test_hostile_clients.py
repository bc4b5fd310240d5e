"""Clients that break the rules lose their connection; nobody else notices (FAULTS A3, A4, N7)."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Deliver,
    Error,
    Nobody,
    Ping,
    Pong,
    Refused,
    Send,
    Sent,
    Sub,
    TunnelJoin,
    TunnelJoined,
    Welcome,
    decode_frame,
    encode_frame,
)
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStatus,
    MailboxStored,
    NameplateAllocate,
    NameplateHeld,
)
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX, ErrorCode, RefusalCode
from sheaf.relay.limits import RelayLimits
from sheaf.relay.run import RelayReady, RelaySettings
from tests.support.relay import HANDSHAKE, frame_client, running_relay

RID = RendezvousId(b"r" * 16)
BOX, TOKEN = b"m" * 16, b"t" * 32
CLOSED_S = 10.0
"""FAULTS A3: whoever dawdles is gone within this time."""


def settings_for(directory: Path | str, **limits: object) -> RelaySettings:
    return RelaySettings(
        store=f"sqlite:{directory}/relay.sqlite3",
        listen="127.0.0.1:0",
        stun_port=0,
        limits=replace(RelayLimits(), **limits),  # type: ignore[arg-type]  # fields by name
    )


@pytest.fixture
async def ready(tmp_path: Path) -> AsyncIterator[RelayReady]:
    async with running_relay(settings_for(tmp_path)) as (_, ready):
        yield ready


# ------------------------------------------------------------------ bytes


@given(st.lists(st.one_of(st.binary(max_size=200), st.text(max_size=50)), min_size=1, max_size=8))
@settings(max_examples=60)
def test_n7_whatever_a_client_sends_it_gets_an_answer_or_bad_frame_and_the_end(
    messages: list[bytes | str],
) -> None:
    asyncio.run(_send_anything(messages))


@given(st.data())
@settings(max_examples=60)
def test_n7_a_good_frame_with_a_few_bytes_changed_harms_nobody(data: st.DataObject) -> None:
    good = data.draw(
        st.sampled_from(
            [
                Sub((RID,)),
                Send(RID, b"payload"),
                MailboxPut(1, BOX, TOKEN, b"item"),
                MailboxGet(1, BOX, TOKEN, 0, 1000),
                NameplateAllocate(1),
            ]
        )
    )
    encoded = bytearray(encode_frame(good))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    asyncio.run(_send_anything([bytes(encoded)]))


async def _send_anything(messages: list[bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with (
            running_relay(settings_for(directory)) as (_, ready),
            frame_client(ready.url) as witness,
            frame_client(ready.url) as client,
        ):
            await witness.send(Sub((RID,)))
            await witness.ask(Ping(), Pong)
            is_good = all(isinstance(message, bytes) and _is_frame(message) for message in messages)
            with contextlib.suppress(ConnectionClosed):
                for message in messages:
                    await client.connection.send(message)
                await client.connection.send(encode_frame(Ping()))
            last = None
            with contextlib.suppress(ConnectionClosed):
                while not isinstance(last, Pong | Error | TunnelJoined):
                    last = await client.receive()
            assert isinstance(last, Error) or is_good
            if isinstance(last, Error) and not is_good:
                assert last.code in (ErrorCode.BAD_FRAME, ErrorCode.NOT_HERE)
                await client.ended()
            await witness.send(Send(RID, b"still served"))
            while not isinstance(answer := await witness.receive(), Sent):
                assert isinstance(answer, Deliver)


def _is_frame(message: bytes) -> bool:
    try:
        decode_frame(message, bytes_max=RELAY_FRAME_BYTES_MAX)
    except WireError:
        return False
    return True


@pytest.mark.parametrize(
    "frame",
    [
        Welcome(1, False, 1, 1, 1, 0),
        Deliver(RID, b""),
        Nobody(RID),
        TunnelJoined(),
        NameplateHeld(1, 1),
        MailboxStored(1, 1, bytes(8)),
        MailboxItems(1, bytes(8), 0, ()),
        MailboxNews(BOX, bytes(8), 0),
        MailboxStatus(1, bytes(8), 0, 0, 0, 0, 0),
        Refused(1, RefusalCode.FULL),
    ],
    ids=lambda frame: type(frame).__name__,
)
async def test_frames_that_only_relays_send_are_bad_frames(ready: RelayReady, frame: Welcome) -> None:
    async with frame_client(ready.url) as client:
        await client.send(frame)
        assert (await client.expect(Error)).code is ErrorCode.BAD_FRAME
        await client.ended()


async def test_a_message_larger_than_any_frame_ends_the_connection(ready: RelayReady) -> None:
    async with frame_client(ready.url) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.connection.send(bytes(RELAY_FRAME_BYTES_MAX + 1))
        await client.ended()


@pytest.mark.parametrize(
    "opening",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /sheaf HTTP/1.1\r\n\r\n",
        b"POST /sheaf HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 5000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["TLS", "no upgrade", "POST", "zeros", "many headers", "long path"],
)
async def test_what_is_no_handshake_is_turned_away(ready: RelayReady, opening: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
    writer.write(opening)
    async with asyncio.timeout(CLOSED_S):
        with contextlib.suppress(ConnectionError):
            answer = await reader.read(-1)
            assert b"101" not in answer[:20]
    writer.close()
    await _is_served(ready)


@pytest.mark.parametrize("path", ["/", "/sheafy", "/sheaf/", "/metrics/x"])
async def test_other_paths_get_an_empty_404(ready: RelayReady, path: str) -> None:
    status, body = await _get(ready, path)
    assert (status, body) == (404, b"")


async def test_web_pages_are_turned_away(ready: RelayReady) -> None:
    with pytest.raises(InvalidHandshake):
        await connect(f"{ready.url}/sheaf", origin="https://evil.example", proxy=None)  # type: ignore[arg-type]


async def test_a_path_before_ours_is_a_proxys_business(ready: RelayReady) -> None:
    async with frame_client(f"{ready.url}/some/where") as client:
        await client.ask(Ping(), Pong)


# ------------------------------------------------------------------ dawdling


@pytest.mark.parametrize("dribble", [b"", b"GET /sheaf HT", b"GET /sheaf HTTP/1.1\r\nHost: x\r\n"])
async def test_a3_an_unfinished_handshake_is_closed(tmp_path: Path, dribble: bytes) -> None:
    async with running_relay(settings_for(tmp_path, handshake_s_max=0.2)) as (_, ready):
        reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
        writer.write(dribble)
        async with asyncio.timeout(CLOSED_S):
            with contextlib.suppress(ConnectionError):
                assert b"101" not in await reader.read(-1)
        writer.close()
        await _is_served(ready)


async def test_a3_who_says_nothing_after_the_handshake_is_let_go(tmp_path: Path) -> None:
    limits = {"first_frame_s_max": 0.2, "silence_s_max": 60.0}
    async with (
        running_relay(settings_for(tmp_path, **limits)) as (_, ready),
        frame_client(ready.url) as talker,
        frame_client(ready.url) as mute,
    ):
        await talker.ask(Ping(), Pong)
        await mute.ended()
        await talker.ask(Ping(), Pong)


async def test_who_falls_silent_is_let_go(tmp_path: Path) -> None:
    async with running_relay(settings_for(tmp_path, silence_s_max=0.3)) as (relay, ready):
        async with frame_client(ready.url) as client:
            await client.ask(Ping(), Pong)
            await client.ended()
        assert b'sheaf_relay_clients_dropped_total{why="silent"} 1.0' in relay.metrics.text()


async def test_a4_who_does_not_read_is_let_go_and_others_are_served(tmp_path: Path) -> None:
    async with (
        running_relay(settings_for(tmp_path, unsent_bytes_max=100_000)) as (relay, ready),
        frame_client(ready.url) as sender,
        frame_client(ready.url) as reader,
    ):
        deaf_reader, deaf = await _handshake(ready)
        deaf.write(_masked(encode_frame(Sub((RID,)))))
        await reader.send(Sub((RID,)))
        await reader.ask(Ping(), Pong)

        async def read_along() -> int:
            count = 0
            while isinstance(await reader.receive(), Deliver):
                count += 1
            return count

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            reading = group.create_task(read_along())
            sent = 0
            while b'clients_dropped_total{why="slow"}' not in relay.metrics.text():
                assert await sender.ask(Send(RID, bytes(16_000)), Sent)
                sent += 1
            await reader.send(Ping())
        assert reading.result() == sent
        deaf.close()
        assert deaf_reader is not None


async def test_who_asks_for_pages_and_does_not_read_them_is_let_go(tmp_path: Path) -> None:
    async with (
        running_relay(settings_for(tmp_path, send_s_max=0.3)) as (_, ready),
        frame_client(ready.url) as other,
    ):
        await other.ask(MailboxPut(1, BOX, TOKEN, bytes(500_000)), MailboxStored)
        _, deaf = await _handshake(ready)
        request = _masked(encode_frame(MailboxGet(1, BOX, TOKEN, 0, 500_000)))
        async with asyncio.timeout(CLOSED_S):
            with contextlib.suppress(ConnectionError):
                while True:
                    deaf.write(request)
                    await deaf.drain()
                    await asyncio.sleep(0.001)
        await other.ask(Ping(), Pong)


async def test_who_asks_too_fast_is_read_more_slowly(tmp_path: Path) -> None:
    async with (
        running_relay(settings_for(tmp_path, frames_burst=10, frames_per_s=100)) as (_, ready),
        frame_client(ready.url) as hasty,
        frame_client(ready.url) as calm,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await hasty.send(*[Ping()] * 40)
        await calm.ask(Ping(), Pong)
        for _ in range(40):
            await hasty.expect(Pong)
        assert loop.time() - begun > 0.25


# ------------------------------------------------------------------ too many


async def test_connections_are_bounded_altogether(tmp_path: Path) -> None:
    async with (
        running_relay(settings_for(tmp_path, connections_max=3)) as (_, ready),
        frame_client(ready.url),
        frame_client(ready.url) as one,
    ):
        async with frame_client(ready.url):
            with pytest.raises((OSError, InvalidHandshake, EOFError)):
                await _is_served(ready)
        await one.ask(Ping(), Pong)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(OSError, InvalidHandshake, EOFError):
                    await _is_served(ready)
                    return


async def test_connections_are_bounded_per_address(tmp_path: Path) -> None:
    limits = {"trusts_local": False, "connections_per_address_max": 2}
    async with (
        running_relay(settings_for(tmp_path, **limits)) as (_, ready),
        frame_client(ready.url),
        frame_client(ready.url),
    ):
        with pytest.raises((OSError, InvalidHandshake, EOFError)):
            await _is_served(ready)


async def test_behind_a_proxy_the_address_is_the_last_that_it_names(tmp_path: Path) -> None:
    limited = replace(settings_for(tmp_path, connections_per_address_max=1), is_behind_proxy=True)
    async with running_relay(limited) as (_, ready):

        def through(forwarded: str) -> connect:
            headers = {"X-Forwarded-For": forwarded}
            return connect(f"{ready.url}/sheaf", additional_headers=headers, proxy=None)

        async with through("198.51.100.9, 192.0.2.1"):
            with pytest.raises(InvalidHandshake, match="429"):
                await through("203.0.113.5, 192.0.2.1")
            async with through("192.0.2.1, 192.0.2.2"):
                pass


async def test_without_a_proxy_nobody_chooses_his_address(tmp_path: Path) -> None:
    limits = {"trusts_local": False, "connections_per_address_max": 1}
    async with (
        running_relay(settings_for(tmp_path, **limits)) as (_, ready),
        connect(f"{ready.url}/sheaf", proxy=None),
    ):
        with pytest.raises((OSError, InvalidHandshake, EOFError)):
            await connect(
                f"{ready.url}/sheaf", additional_headers={"X-Forwarded-For": "192.0.2.7"}, proxy=None
            )


async def test_an_address_that_stores_too_much_is_asked_to_slow_down(tmp_path: Path) -> None:
    limits = {"trusts_local": False, "stored_bytes_burst": 3000.0, "stored_bytes_per_s": 1.0}
    limits |= {"nameplates_burst": 2.0, "nameplates_per_min": 1.0}
    async with (
        running_relay(settings_for(tmp_path, **limits)) as (_, ready),
        frame_client(ready.url) as greedy,
        frame_client(ready.url) as neighbour,
    ):
        for n in range(2):
            await greedy.ask(MailboxPut(n, BOX, TOKEN, bytes([n]) * 1000), MailboxStored)
        for client in (greedy, neighbour):
            put = MailboxPut(9, BOX, TOKEN, b"x" * 1000)
            assert await client.ask(put, Refused) == Refused(9, RefusalCode.RATE)
        assert len((await greedy.ask(MailboxGet(1, BOX, TOKEN, 0, 9999), MailboxItems)).items) == 2
        for _ in range(2):
            await greedy.ask(NameplateAllocate(1), NameplateHeld)
        assert await neighbour.ask(NameplateAllocate(1), Refused) == Refused(1, RefusalCode.RATE)


async def test_tunnels_are_bounded_and_slowed_down(tmp_path: Path) -> None:
    limits = {"tunnels_max": 1, "tunnel_bytes_per_s": 200_000.0, "tunnel_bytes_burst": 65_536.0}
    async with (
        running_relay(settings_for(tmp_path, **limits)) as (_, ready),
        frame_client(ready.url) as ada,
        frame_client(ready.url) as ben,
        frame_client(ready.url) as third,
    ):
        await ada.send(TunnelJoin(b"k" * 16))
        await ben.send(TunnelJoin(b"k" * 16))
        for each in (ada, ben):
            await each.expect(TunnelJoined)
        await third.send(TunnelJoin(b"l" * 16))
        assert (await third.expect(Error)).code is ErrorCode.TOO_MUCH
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def push() -> None:
            for _ in range(4):
                await ada.connection.send(bytes(65_536))

        async with asyncio.TaskGroup() as group:
            group.create_task(push())
            for _ in range(4):
                await ben.receive_raw()
        assert loop.time() - begun > 0.6


# ------------------------------------------------------------------ helpers


async def _is_served(ready: RelayReady) -> None:
    async with frame_client(ready.url) as client:
        await client.ask(Ping(), Pong)


async def _get(ready: RelayReady, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(CLOSED_S):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def _handshake(ready: RelayReady) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket whose far end reads nothing but the handshake's answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ready.port, limit=1024)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
    return reader, writer


def _masked(payload: bytes) -> bytes:
    """A binary WebSocket frame with a mask of zeros."""
    assert len(payload) < 126
    return bytes([0x82, 0x80 | len(payload)]) + bytes(4) + payload
