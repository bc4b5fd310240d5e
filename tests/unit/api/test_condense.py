"""What waits for a slow tab becomes fewer frames and says the same."""

from __future__ import annotations

import asyncio

import pycrdt

from sheaf.api.condense import condensed
from sheaf.api.outbox import QUEUE_FRAMES_MAX, Outbox
from sheaf.core.protocol import ysync
from sheaf.core.protocol.presence import AwarenessEntry, decode_awareness, encode_awareness
from tests.support.daemon import eventually


def typed(words: str) -> list[bytes]:
    """One update for each character."""
    doc = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for letter in words:
        text.insert(len(str(text)), letter)
    doc.unobserve(subscription)
    return updates


def cursor(client_id: int, clock: int) -> bytes:
    entry = AwarenessEntry(client_id, clock, f'{{"at": {clock}}}')
    return ysync.encode_awareness_message(encode_awareness([entry]))


def shown(frames: list[bytes]) -> str:
    doc = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    for frame in frames:
        message = ysync.decode_message(frame)
        if isinstance(message, ysync.SyncUpdate):
            doc.apply_update(message.update)
    return str(text)


def test_of_each_kind_what_is_needed_stays() -> None:
    words = typed("some words")
    frames = [ysync.encode_update(update) for update in words]
    frames[3:3] = [cursor(7, 1), ysync.encode_committed(1, b""), ysync.encode_step1(b"\x00")]
    frames[9:9] = [cursor(8, 1), cursor(7, 2), ysync.encode_committed(2, b""), ysync.encode_step2(b"\0\0")]
    few = condensed(frames)
    assert len(few) == 5
    assert shown(few) == "some words"
    assert ysync.encode_step2(b"\0\0") in few  # a provider waits for it
    assert ysync.encode_committed(2, b"") in few
    (message,) = [each for each in map(ysync.decode_message, few) if isinstance(each, ysync.AwarenessMessage)]
    entries = decode_awareness(message.data, bytes_max=999, clients_max=9)
    assert {(entry.client_id, entry.clock) for entry in entries} == {(7, 2), (8, 1)}


def test_updates_with_a_hole_between_them_stay_as_they_are() -> None:
    first, _, third, *_ = typed("words")
    frames = [ysync.encode_update(first), ysync.encode_update(third)]
    assert condensed(frames) == frames


async def test_a_slow_tab_is_not_closed_while_the_others_type() -> None:
    is_open = asyncio.Event()
    sent: list[bytes] = []
    closed: list[int] = []

    async def send(frame: bytes) -> None:
        await is_open.wait()
        sent.append(frame)

    async def close(code: int, reason: str) -> None:
        closed.append(code)

    outbox = Outbox(send_frame=send, send_close=close, close_code_when_full=4508, condense=condensed)
    words = "a colleague types on and on " * (QUEUE_FRAMES_MAX // 10)
    for update in typed(words):
        outbox.push(ysync.encode_update(update))
    running = asyncio.ensure_future(outbox.run())
    is_open.set()
    await eventually(lambda: shown(sent) == words)
    assert closed == []
    outbox.close(1001, "bye")
    await running


async def test_what_is_pushed_after_a_reserved_place_comes_after_it() -> None:
    is_open = asyncio.Event()
    sent: list[bytes] = []

    async def send(frame: bytes) -> None:
        await is_open.wait()
        sent.append(frame)

    async def close(code: int, reason: str) -> None:
        pass

    outbox = Outbox(send_frame=send, send_close=close, close_code_when_full=4508)
    is_sent = asyncio.Event()
    fill = outbox.reserve(is_sent.set)
    outbox.push(b"later")
    running = asyncio.ensure_future(outbox.run())
    is_open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert sent == []
    fill([b"piece 1", b"piece 2"])
    await eventually(lambda: len(sent) == 3)
    assert sent == [b"piece 1", b"piece 2", b"later"]
    assert is_sent.is_set()
    outbox.close(1001, "bye")
    await running
