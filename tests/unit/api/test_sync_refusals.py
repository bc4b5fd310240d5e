"""Final codes, and who is told what: too much at once, refused again and again, a lowered role (0068)."""

from __future__ import annotations

import asyncio

import pycrdt
import pytest

from sheaf.core.base.errors import NotAllowed
from sheaf.core.base.limits import BACKLOG_BYTES_MAX, MIB
from sheaf.core.protocol import ysync
from sheaf.node.views import CloseCode, DocumentView
from tests.support.daemon import eventually
from tests.support.fake_node import FakeDocument, FakeNode
from tests.support.local_door import RunningDoor
from tests.support.tab import open_tab
from tests.unit.api.test_sync_socket import close_code, raw_tab, receive


@pytest.fixture
def fake(node: FakeNode, document: DocumentView) -> FakeDocument:
    return node.fake_document(document.document_id)


@pytest.fixture
def doc_id(document: DocumentView) -> str:
    return document.document_id.text


def test_only_what_coming_back_cannot_mend_is_final() -> None:
    """y-websocket 3.1 never comes back after 4400 to 4499."""
    final = {code for code in CloseCode if code.is_final}
    assert final == {
        CloseCode.NOT_SIGNED_IN,
        CloseCode.NOT_ALLOWED,
        CloseCode.GONE,
        CloseCode.TOO_BIG,
        CloseCode.REFUSED,
    }
    assert not 4400 <= CloseCode.TOO_SLOW < 4500
    assert not 4400 <= CloseCode.STORAGE_FAILED < 4500


@pytest.mark.parametrize("size", [BACKLOG_BYTES_MAX + 17, BACKLOG_BYTES_MAX + 2 * MIB])
async def test_a5_what_is_too_big_is_closed_with_its_final_code(
    door: RunningDoor, doc_id: str, size: int
) -> None:
    """Just above the app's limit, and so large that uvicorn does not read it and would say 1009."""
    async with raw_tab(door, doc_id) as connection:
        sending = asyncio.ensure_future(connection.send(b"\x00" * size))
        assert await close_code(connection) == 4413
        assert "32 MiB" in connection.close_reason
        await asyncio.gather(sending, return_exceptions=True)


async def test_counts_of_durable_frames_come_only_to_who_asks(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    """Stock providers log an error for each message of a type they do not know."""
    async with raw_tab(door, doc_id) as stock, raw_tab(door, f"{doc_id}?x=2&ack=1") as ours:
        for connection, kinds in ((stock, {0}), (ours, {0, ysync.MESSAGE_COMMITTED})):
            update = pycrdt.Doc()
            update.get("text", type=pycrdt.Text).insert(0, "x")
            await connection.send(ysync.encode_update(update.get_update()))
            await eventually(lambda: all(handle.committed == handle.submitted for handle in fake.handles))
            await connection.send(ysync.encode_step1(fake.doc.get_state()))
            seen = set()
            while (message := await receive(connection))[:2] != b"\x00\x01":
                seen.add(message[0])
            assert seen == kinds


async def test_a_role_lowered_in_the_middle_of_a_word_is_told_and_reading_goes_on(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    fake.fail_with = NotAllowed("you may only read")
    async with raw_tab(door, doc_id) as connection:
        await receive(connection)
        await connection.send(ysync.encode_update(b"\x00\x00"))
        assert await receive(connection) == ysync.encode_permission_denied("read-only")
        await connection.send(ysync.encode_step1(b"\x00"))
        assert ysync.decode_message(await receive(connection)) == ysync.SyncUpdate(b"\x00\x00")


async def test_refused_again_and_again_is_put_off_and_harms_nobody_else(
    door: RunningDoor, doc_id: str, fake: FakeDocument
) -> None:
    async with open_tab(door.origin, door.token, doc_id) as honest:
        async with raw_tab(door, doc_id) as stubborn:
            await stubborn.send(b"\x00\x09\x00")
            assert await close_code(stubborn) == 4400
        async with raw_tab(door, doc_id) as stubborn:
            await receive(stubborn)
            await stubborn.send(b"\x00\x09\x00")
            await eventually(lambda: len(fake.handles) == 1)  # it has left the document
            await honest.append("x")
            await honest.saved()
            assert stubborn.close_code is None  # and waits to be told
        assert not honest.is_closed
