"""Slow lines: deadlines are on progress, any byte is life, and who does not read is dropped."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sheaf.api.refusals import PAUSE_S_MAX, Refusals
from sheaf.core.base.limits import KIB, MIB
from sheaf.core.protocol import ysync
from sheaf.core.protocol.presence import AwarenessEntry, encode_awareness
from sheaf.node.views import DocumentView
from tests.support.daemon import eventually
from tests.support.fake_node import FakeDocument, FakeNode
from tests.support.local_door import RunningDoor
from tests.support.raw_websocket import masked
from tests.support.slow_line import slow_line
from tests.support.tab import open_tab

DEADLINE_S = 1.0
"""The fixture `door` gives a send so long; today's was on the frame."""


@pytest.fixture
def fake(node: FakeNode, document: DocumentView) -> FakeDocument:
    return node.fake_document(document.document_id)


@pytest.fixture
def doc_id(document: DocumentView) -> str:
    return document.document_id.text


async def test_a_large_document_reaches_a_tab_on_a_thin_line_while_others_type(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    """8 MiB (twice what the kernel takes) at 1.6 MiB a second take five deadlines; keystrokes wait behind."""
    words = "".join(f"{number:07}\n" for number in range(MIB))
    fake.set_text(words)
    async with (
        slow_line(door.port, 1600 * KIB) as line,
        connect(
            f"ws://127.0.0.1:{line.port}/sync/{doc_id}",
            subprotocols=[Subprotocol(f"sheaf.bearer.{door.token}"), Subprotocol("sheaf")],
            max_size=None,
            compression=None,
            proxy=None,
        ) as thin,
        open_tab(door.origin, door.token, doc_id) as near,
    ):
        await thin.send(ysync.encode_step1(b"\x00"))
        for number in range(600):
            await near.append(f"{number} ")
            await near.saved()
        frames = await state_frames(thin)
        assert len(frames) > 20  # in pieces: the tab sees that something comes
        line.bytes_per_s = None
        seen = FakeDocument(fake.view)
        for frame in frames:
            seen.doc.apply_update(frame)
        async with asyncio.timeout(20):
            while str(seen.text) != str(fake.text):
                message = ysync.decode_message(await received(thin))
                if isinstance(message, ysync.SyncUpdate):
                    seen.doc.apply_update(message.update)
        assert str(seen.text) == words + "".join(f"{number} " for number in range(600))
        assert line.connections == 1


async def test_a_tab_that_stops_reading_in_the_middle_is_dropped(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    fake.set_text("x" * (2 * MIB))
    async with (
        slow_line(door.port, 400 * KIB) as line,
        connect(
            f"ws://127.0.0.1:{line.port}/sync/{doc_id}",
            subprotocols=[Subprotocol(f"sheaf.bearer.{door.token}"), Subprotocol("sheaf")],
            max_size=None,
            compression=None,
            proxy=None,
        ) as thin,
    ):
        await thin.send(ysync.encode_step1(b"\x00"))
        await eventually(lambda: line.received_bytes > 200 * KIB, timeout_s=10)
        line.bytes_per_s = 1  # the next chunk is its last for hours
        await eventually(lambda: not fake.handles, timeout_s=20)
        thin.transport.abort()


async def state_frames(connection: ClientConnection) -> list[bytes]:
    """The updates up to the step 2 that ends a state."""
    frames: list[bytes] = []
    async with asyncio.timeout(60):
        while True:
            raw = await received(connection)
            message = ysync.decode_message(raw)
            if isinstance(message, ysync.SyncUpdate):
                frames.append(message.update)
                if raw.startswith(b"\x00\x01"):
                    return frames


async def received(connection: ClientConnection) -> bytes:
    message = await connection.recv()
    assert isinstance(message, bytes)
    return message


# --------------------------------------------------------------------------- any byte is life


@pytest.fixture
def pinging(door: RunningDoor) -> RunningDoor:
    """A door that pings every 50 ms and wants to hear something within 100 ms."""
    door.server._server.config.ws_ping_interval = 0.05
    door.server._server.config.ws_ping_timeout = 0.1
    return door


async def raw_connection(door: RunningDoor, doc_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that answers no ping."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(
        f"GET /sync/{doc_id} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Protocol: sheaf.bearer.{door.token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_busy_tab_whose_pong_waits_behind_its_data_stays(
    pinging: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    """One message in many small steps; between its first and its last byte no pong can come."""
    state = '{"text": "' + "x" * 3000 + '"}'
    frame = masked(ysync.encode_awareness_message(encode_awareness([AwarenessEntry(7, 1, state)])))
    reader, writer = await raw_connection(pinging, doc_id)
    for at in range(0, len(frame), 50):
        writer.write(frame[at : at + 50])
        await asyncio.sleep(0.02)
    await eventually(lambda: fake.presence.states() is not None)
    assert not reader.at_eof()
    writer.close()


async def test_a_client_that_says_nothing_at_all_is_hung_up_on(
    pinging: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    _, writer = await raw_connection(pinging, doc_id)
    await eventually(lambda: len(fake.handles) == 1)
    await eventually(lambda: not fake.handles)
    writer.close()


# --------------------------------------------------------------------------- refused again and again


def test_who_is_refused_again_and_again_is_kept_waiting() -> None:
    refusals = Refusals()
    assert [refusals.pause_s("d_one", now) for now in (0.0, 1.0, 2.0, 5.0, 10.0)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert refusals.pause_s("d_two", 10.0) == 0.0
    for now in range(20, 400, 30):
        pause_s = refusals.pause_s("d_one", now)
    assert pause_s == PAUSE_S_MAX
    assert refusals.pause_s("d_one", 1000.0) == 0.0


def test_only_so_many_documents_are_remembered() -> None:
    refusals = Refusals()
    for number in range(10_000):
        refusals.pause_s(f"d_{number}", 0.0)
    assert len(refusals._lately) <= 256
