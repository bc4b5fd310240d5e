"""The outbox: order, bounds, deadlines, and a frame written in the call that pushed it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.api.outbox import QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX, Outbox, SendFailed
from tests.support.daemon import eventually


class Line:
    """A connection that can be made to block."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def send(self, frame: bytes) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(frame)

    async def close(self, code: int, reason: str) -> None:
        await self.open.wait()
        self.closed = (code, reason)


def outbox_on(line: Line, deadline_s: float = 5.0) -> Outbox:
    return Outbox(
        send_frame=line.send, send_close=line.close, deadline_s=deadline_s, close_code_when_full=4408
    )


async def test_a_frame_is_on_the_wire_when_push_returns() -> None:
    line = Line()
    outbox = outbox_on(line)
    outbox.push(b"1")
    outbox.push(b"2")
    assert line.sent == [b"1", b"2"]


async def test_frames_pushed_while_blocked_follow_in_order() -> None:
    line = Line()
    outbox = outbox_on(line)
    running = asyncio.ensure_future(outbox.run())
    outbox.push(b"1")
    line.open.clear()
    for number in range(2, 6):
        outbox.push(b"%d" % number)
    assert line.sent == [b"1"]
    await asyncio.sleep(0)
    line.open.set()
    outbox.push(b"6")
    await eventually(lambda: len(line.sent) == 6)
    outbox.push(b"7")
    assert line.sent == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    outbox.close(1001, "bye")
    await running
    assert line.closed == (1001, "bye")


@given(st.lists(st.sampled_from(["push", "block", "open", "turn"]), max_size=60))
@settings(deadline=None)
async def test_order_holds_however_the_line_stutters(steps: list[str]) -> None:
    line = Line()
    outbox = outbox_on(line)
    running = asyncio.ensure_future(outbox.run())
    pushed = []
    for step in steps:
        if step == "push":
            pushed.append(b"%d" % len(pushed))
            outbox.push(pushed[-1])
        elif step == "block":
            line.open.clear()
        elif step == "open":
            line.open.set()
        else:
            await asyncio.sleep(0)
    line.open.set()
    await eventually(lambda: line.sent == pushed)
    outbox.close(1000, "")
    await running


@pytest.mark.parametrize(
    ("frame", "count"), [(b"x", QUEUE_FRAMES_MAX + 2), (b"x" * (1 << 20), QUEUE_BYTES_MAX // (1 << 20) + 2)]
)
async def test_a_full_queue_closes_with_4408_and_drops_what_waits(frame: bytes, count: int) -> None:
    line = Line()
    line.open.clear()
    outbox = outbox_on(line)
    running = asyncio.ensure_future(outbox.run())
    for _ in range(count):
        outbox.push(frame)
    line.open.set()
    await running
    assert line.closed == (4408, "too slow")
    assert len(line.sent) == 1


async def test_one_large_first_frame_is_not_too_much() -> None:
    line = Line()
    outbox = outbox_on(line)
    outbox.push(b"x" * (QUEUE_BYTES_MAX + 1))
    assert len(line.sent) == 1


async def test_a_send_past_its_deadline_fails_the_connection() -> None:
    line = Line()
    line.open.clear()
    outbox = outbox_on(line, deadline_s=0.02)
    outbox.push(b"1")
    with pytest.raises(SendFailed):
        await outbox.run()
    outbox.push(b"2")
    assert line.sent == []


async def test_a_close_that_is_not_taken_fails_too() -> None:
    line = Line()
    outbox = outbox_on(line, deadline_s=0.02)
    line.open.clear()
    outbox.close(1001, "bye")
    with pytest.raises(SendFailed):
        await outbox.run()


@pytest.mark.parametrize("error", [OSError("reset"), RuntimeError("closed")])
async def test_a_client_that_is_gone_disturbs_nobody(error: Exception) -> None:
    line = Line()
    line.error = error
    outbox = outbox_on(line)
    outbox.push(b"1")
    outbox.push(b"2")
    with pytest.raises(SendFailed):
        await outbox.run()
    line.error = None
    line.open.clear()
    blocked = outbox_on(line)
    blocked.push(b"1")
    line.error = error
    line.open.set()
    with pytest.raises(SendFailed):
        await blocked.run()


async def test_cancelling_in_mid_send_leaves_nothing_behind() -> None:
    line = Line()
    line.open.clear()
    outbox = outbox_on(line)
    outbox.push(b"1")
    running = asyncio.ensure_future(outbox.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    line.open.set()
    await asyncio.sleep(0)
    assert line.sent == []
