"""The sync socket over a real server: the stock protocol, the ack, the close codes, FAULTS A4, A5, A7."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pycrdt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from sheaf.api.auth import SESSION_IDLE_S
from sheaf.core.base.errors import SheafError, StorageFailure, UpdateRefused, UpdateTooBig
from sheaf.core.base.ids import DocId
from sheaf.core.base.limits import MIB
from sheaf.core.crdt.replica import ReplicaPoisoned
from sheaf.core.protocol import ysync
from sheaf.core.protocol.presence import AwarenessEntry, decode_awareness, encode_awareness
from sheaf.core.space.roles import Role
from sheaf.node.views import CloseCode, DocumentView
from tests.support.daemon import eventually
from tests.support.fake_node import FakeDocument, FakeNode
from tests.support.local_door import RunningDoor
from tests.support.tab import open_tab


@asynccontextmanager
async def raw_tab(
    door: RunningDoor,
    document_id: str,
    *,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> AsyncIterator[ClientConnection]:
    """A WebSocket that speaks nothing by itself; bearer unless `headers` are given."""
    subprotocols = None
    if headers is None:
        subprotocols = [Subprotocol(f"sheaf.bearer.{token or door.token}"), Subprotocol("sheaf")]
    async with connect(
        f"ws://127.0.0.1:{door.port}/sync/{document_id}",
        subprotocols=subprotocols,
        additional_headers=headers,
        max_size=None,
        compression=None,
        proxy=None,
    ) as connection:
        yield connection


async def close_code(connection: ClientConnection) -> int | None:
    """Read until the server closes; its code."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(5):
            while True:
                await connection.recv()
    return connection.close_code


async def receive(connection: ClientConnection) -> bytes:
    async with asyncio.timeout(5):
        message = await connection.recv()
    assert isinstance(message, bytes)
    return message


@pytest.fixture
def fake(node: FakeNode, document: DocumentView) -> FakeDocument:
    return node.fake_document(document.document_id)


@pytest.fixture
def doc_id(document: DocumentView) -> str:
    return document.document_id.text


# --------------------------------------------------------------------------- the protocol


async def test_two_tabs_type_and_both_are_told_it_is_saved(door: RunningDoor, doc_id: str) -> None:
    async with (
        open_tab(door.origin, door.token, doc_id) as one,
        open_tab(door.origin, door.token, doc_id) as two,
    ):
        await one.insert(0, "hello ")
        await two.until(lambda: two.text == "hello ")
        await two.append("wörld")
        await one.until(lambda: one.text == "hello wörld")
        await one.saved()
        await two.saved()


async def test_a_late_tab_receives_everything(door: RunningDoor, doc_id: str, fake: FakeDocument) -> None:
    fake.set_text("x" * (5 * MIB))
    async with open_tab(door.origin, door.token, doc_id) as tab:
        assert len(tab.text) == 5 * MIB


async def test_the_ack_comes_after_the_commit_and_counts(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    async with open_tab(door.origin, door.token, doc_id) as tab:
        await tab.saved()
        fake.hold_commits = True
        await tab.insert(0, "a")
        await tab.insert(1, "b")
        await eventually(lambda: len(fake.held) == 2)
        assert not tab.is_saved
        for commit in fake.held:
            commit()
        await tab.saved()
        assert tab.acked == tab.sent == 3


async def test_the_server_asks_first_and_echoes_the_plain_protocol_name(
    door: RunningDoor, doc_id: str
) -> None:
    async with raw_tab(door, doc_id) as connection:
        assert connection.subprotocol == "sheaf"
        assert await receive(connection) == ysync.encode_step1(b"\x00")


async def test_a_cookie_and_the_own_origin_open_it_too(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id, headers=await door.sign_in()) as connection:
        assert connection.subprotocol is None
        assert await receive(connection) == ysync.encode_step1(b"\x00")


async def test_presence_reaches_everybody_its_sender_and_late_comers(door: RunningDoor, doc_id: str) -> None:
    update = encode_awareness([AwarenessEntry(7, 1, '{"user":{"name":"Ada"}}')])
    frame = ysync.encode_awareness_message(update)
    async with raw_tab(door, doc_id) as one, raw_tab(door, doc_id) as two:
        await receive(one)
        await receive(two)
        await one.send(frame)
        assert await receive(one) == frame
        assert await receive(two) == frame
        async with raw_tab(door, doc_id) as late:
            await receive(late)
            assert await receive(late) == frame
            await late.send(b"\x03")
            assert await receive(late) == frame
        await one.close()
        message = ysync.decode_message(await receive(two))
        assert isinstance(message, ysync.AwarenessMessage)
        assert decode_awareness(message.data, bytes_max=99, clients_max=9) == [AwarenessEntry(7, 1, None)]


async def test_broken_presence_and_unknown_messages_cost_nothing(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        await connection.send(ysync.encode_awareness_message(b"\xff\xff"))
        await connection.send(b"\x65\x01")
        await connection.send(b"\x04")
        await connection.send(ysync.encode_step1(b"\x00"))
        assert ysync.decode_message(await receive(connection)) == ysync.SyncUpdate(b"\x00\x00")


async def test_a_reader_is_told_and_its_updates_are_dropped(
    door: RunningDoor, doc_id: str, node: FakeNode, fake: FakeDocument
) -> None:
    node.role = Role.READER
    update = pycrdt.Doc()
    update.get("text", type=pycrdt.Text).insert(0, "x")
    async with raw_tab(door, doc_id) as connection:
        assert await receive(connection) == ysync.encode_permission_denied("read-only")
        await receive(connection)
        await connection.send(ysync.encode_update(update.get_update()))
        await connection.send(ysync.encode_step1(b"\x00"))
        assert ysync.decode_message(await receive(connection)) == ysync.SyncUpdate(b"\x00\x00")
    assert str(fake.text) == ""


# --------------------------------------------------------------------------- the close codes


async def test_strangers_are_closed_with_4401(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id, token="wrong") as connection:
        assert connection.subprotocol is None
        assert await close_code(connection) == 4401
    async with raw_tab(door, doc_id, headers={"Origin": door.origin}) as connection:
        assert await close_code(connection) == 4401


async def test_a_foreign_page_does_not_even_get_a_handshake(door: RunningDoor, doc_id: str) -> None:
    headers = await door.sign_in() | {"Origin": "http://evil.example"}
    with pytest.raises(InvalidStatus) as refused:
        async with raw_tab(door, doc_id, headers=headers):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("name", [DocId(b"\7" * 16).text, "d_typo", "%ff%fe", "x" * 5000])
async def test_a_document_that_is_not_here_closes_with_4404(door: RunningDoor, name: str) -> None:
    async with raw_tab(door, name) as connection:
        assert await close_code(connection) == 4404


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpdateRefused("nested too deeply"), 4422),
        (UpdateTooBig("too much at once"), 4413),
        (ReplicaPoisoned("the document must be rebuilt"), 1013),
        (StorageFailure("the disk is full"), 1013),
    ],
)
async def test_what_the_node_raises_becomes_its_close_code(
    door: RunningDoor, doc_id: str, fake: FakeDocument, error: SheafError, code: int
) -> None:
    fake.fail_with = error
    async with raw_tab(door, doc_id) as connection:
        await connection.send(ysync.encode_update(b"\x00\x00"))
        assert await close_code(connection) == code
        assert connection.close_reason == str(error)
    assert fake.handles == []


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x00", b"\x00\x00\x05abc", b"\x00\x07\x00", b"\x80\x00", b"\xff" * 30, "text", b"\x01\x05a"],
    ids=repr,
)
async def test_a_malformed_frame_closes_with_4400(door: RunningDoor, doc_id: str, frame: bytes | str) -> None:
    async with raw_tab(door, doc_id) as connection:
        await connection.send(frame)
        assert await close_code(connection) == 4400


async def test_a_bad_state_vector_closes_with_4422(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id) as connection:
        await connection.send(ysync.encode_step1(b"\xff\xff\xff"))
        assert await close_code(connection) == 4422


async def test_the_document_can_let_its_tabs_go(door: RunningDoor, doc_id: str, fake: FakeDocument) -> None:
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        fake.let_go(CloseCode.GONE, "the space was left")
        assert await close_code(connection) == 4404
        assert connection.close_reason == "the space was left"


async def test_a_long_reason_is_cut_to_what_a_close_frame_holds(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        fake.let_go(CloseCode.REFUSED, "ü" * 500)
        assert await close_code(connection) == 4422


async def test_signing_out_closes_open_tabs_with_4401(door: RunningDoor, doc_id: str) -> None:
    headers, others = await door.sign_in(), await door.sign_in()
    async with (
        raw_tab(door, doc_id, headers=headers) as mine,
        raw_tab(door, doc_id, headers=others) as another,
    ):
        await receive(mine)
        await receive(another)
        async with door.client(is_signed_in=False) as client:
            assert (await client.delete("/api/v1/session", headers=headers)).status_code == 204
        assert await close_code(mine) == 4401
        await another.send(ysync.encode_step1(b"\x00"))
        await receive(another)


async def test_a_new_bearer_token_closes_the_sockets_of_the_old(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        door.auth.rotate_bearer()
        assert await close_code(connection) == 4401


async def test_an_open_tab_keeps_its_session_alive(
    door: RunningDoor, doc_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheaf.api.sync_socket.RENEW_INTERVAL_S", 0.01)
    headers = await door.sign_in()
    secret = headers["Cookie"].partition("=")[2]
    async with raw_tab(door, doc_id, headers=headers) as connection:
        await receive(connection)
        for _ in range(3):
            door.clock.advance(SESSION_IDLE_S * 0.75)
            await asyncio.sleep(0.05)
        assert door.auth.session(secret) is not None
        door.clock.advance(SESSION_IDLE_S)
        assert await close_code(connection) == 4401


# --------------------------------------------------------------------------- bad clients


async def test_a4_a_tab_that_does_not_read_is_dropped_and_memory_stays_bounded(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    """Zero window: the receive buffer is tiny and nobody reads. The deadline here is 1 s."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.connect(("127.0.0.1", door.port))
    raw.sendall(
        f"GET /sync/{doc_id} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Protocol: sheaf.bearer.{door.token}\r\n\r\n".encode()
    )
    process = psutil.Process()
    async with open_tab(door.origin, door.token, doc_id) as healthy:
        await eventually(lambda: len(fake.handles) == 2)
        before, started = process.memory_info().rss, time.monotonic()
        for number in range(10_000):
            fake.set_text(f"{number} " + "x" * 300)
            if number % 50 == 0:
                await asyncio.sleep(0)
            if len(fake.handles) == 1:
                break
        await eventually(lambda: len(fake.handles) == 1, timeout_s=10)
        assert time.monotonic() - started < 10
        assert process.memory_info().rss - before < 64 * MIB
        await healthy.until(lambda: healthy.text == str(fake.text))
    raw.close()


async def test_a5_a_mebibyte_and_one_is_an_ordinary_message(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    async with open_tab(door.origin, door.token, doc_id) as tab:
        await tab.insert(0, "x" * (MIB + 1))
        await tab.saved()
    assert len(str(fake.text)) == MIB + 1


async def test_a5_bad_utf8_in_a_text_message_closes_with_1007(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, doc_id) as connection:
        await connection.send(b"\xff\xfe", text=True)
        assert await close_code(connection) == 1007


async def test_a5_a_flood_of_small_messages_does_not_stall_the_loop(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    worst = 0.0
    """Processor seconds of the loop's thread between two turns: other work on the machine is not counted."""

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            worst = max(worst, time.thread_time() - before)

    gc.collect()
    gc.freeze()  # as a daemon does: what thousands of other tests left behind is not this one's to walk
    watcher = asyncio.ensure_future(watch())
    async with raw_tab(door, doc_id) as connection:
        frame = ysync.encode_awareness_message(b"\x00")
        for number in range(10_000):
            await connection.send(frame)
            if not number % 100:  # the client lives on the same loop
                await asyncio.sleep(0)
        await connection.send(ysync.encode_step1(b"\x00"))
        await receive(connection)
        await receive(connection)
    watcher.cancel()
    gc.unfreeze()
    assert 0 < worst < 0.2


async def test_compression_is_not_offered(door: RunningDoor, doc_id: str) -> None:
    async with connect(
        f"ws://127.0.0.1:{door.port}/sync/{doc_id}",
        subprotocols=[Subprotocol(f"sheaf.bearer.{door.token}"), Subprotocol("sheaf")],
        proxy=None,
    ) as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


# --------------------------------------------------------------------------- stopping


async def test_a7_stopping_tells_tabs_1001_and_waits_for_no_stuck_one(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        raw = socket.create_connection(("127.0.0.1", door.port))
        raw.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n".encode())
        started = time.monotonic()
        door.server.stop()
        assert await close_code(connection) == 1001
        raw.close()
        await eventually(lambda: not fake.handles)
        assert time.monotonic() - started < 4


async def test_closes_are_counted_by_code(door: RunningDoor, doc_id: str) -> None:
    async with raw_tab(door, "d_typo") as connection:
        await close_code(connection)
    async with door.client() as client:
        text = (await client.get("/metrics")).text
    assert 'sheaf_sync_sockets_closed_total{code="4404"} 1.0' in text
    assert "sheaf_sync_sockets_open 0.0" in text
