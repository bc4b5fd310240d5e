"""The contract of `Channel`, run against every kind there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sheaf.ports import Channel
from sheaf.transport.delivery import CHANNEL_FRAME_BYTES_MAX, EARLY_FRAMES_MAX, LOW_WATER_BYTES
from tests.support.channels import CHANNEL_KINDS, Pair, Recorder, eventually


@pytest.fixture(params=sorted(CHANNEL_KINDS))
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with CHANNEL_KINDS[request.param]() as channels:
        yield channels


def attach(channel: Channel) -> Recorder:
    recorder = Recorder()
    channel.attach(recorder)
    return recorder


async def test_says_what_it_is(pair: Pair) -> None:
    for channel in pair:
        assert channel.path.value in CHANNEL_KINDS
        assert len(channel.description) > 8
        assert channel.buffered_bytes == 0


async def test_frames_of_every_size_arrive_whole_and_in_order_both_ways(pair: Pair) -> None:
    sizes = [1, 2, 1000, 1160, 1161, 4096, CHANNEL_FRAME_BYTES_MAX - 1, CHANNEL_FRAME_BYTES_MAX]
    frames = [bytes([n % 251]) * sizes[n % len(sizes)] for n in range(64)]
    recorders = [attach(channel) for channel in pair]
    for frame in frames:
        for channel in pair:
            channel.send(frame)
    for recorder in recorders:
        await recorder.until(lambda recorder=recorder: len(recorder.frames) == len(frames))
        assert recorder.frames == frames


async def test_frames_that_came_before_the_receiver_are_delivered_first(pair: Pair) -> None:
    here, there = pair
    attach(here)
    early = [b"early %d" % n for n in range(EARLY_FRAMES_MAX)]
    for frame in early:
        here.send(frame)
    await eventually(lambda: here.buffered_bytes == 0)
    await asyncio.sleep(0.05)  # what left `here` is on its way; nothing tells when it arrived
    recorder = attach(there)
    here.send(b"late")
    await recorder.until(lambda: len(recorder.frames) == EARLY_FRAMES_MAX + 1)
    assert recorder.frames == [*early, b"late"]


async def test_more_than_64_frames_without_a_receiver_end_the_channel(pair: Pair) -> None:
    here, there = pair
    sender = attach(here)
    for _ in range(EARLY_FRAMES_MAX + 1):
        here.send(b"nobody listens")
    await sender.until(lambda: bool(sender.farewells))
    late = attach(there)
    assert len(late.frames) == EARLY_FRAMES_MAX
    assert len(late.farewells) == 1


async def test_the_backlog_shows_and_writable_is_told_when_it_is_gone(pair: Pair) -> None:
    here, there = pair
    sender, receiver = attach(here), attach(there)
    total = 48
    for _ in range(total):
        here.send(bytes(16_384))
    assert here.buffered_bytes > LOW_WATER_BYTES
    await sender.until(lambda: sender.writables == 1)
    assert here.buffered_bytes < LOW_WATER_BYTES
    await receiver.until(lambda: len(receiver.frames) == total)
    await eventually(lambda: here.buffered_bytes == 0)
    assert sender.writables == 1


async def test_a_small_backlog_does_not_tell_writable(pair: Pair) -> None:
    here, there = pair
    sender, receiver = attach(here), attach(there)
    for _ in range(20):
        here.send(b"x" * 100)
    await receiver.until(lambda: len(receiver.frames) == 20)
    await eventually(lambda: here.buffered_bytes == 0)
    assert sender.writables == 0


async def test_closing_delivers_what_was_accepted(pair: Pair) -> None:
    here, there = pair
    receiver = attach(there)
    frames = [b"%d" % n * 50 for n in range(100)]
    for frame in frames:
        here.send(frame)
    await here.close()
    await receiver.until(lambda: bool(receiver.farewells))
    assert receiver.frames == frames


async def test_both_sides_are_told_of_the_end_exactly_once(pair: Pair) -> None:
    here, there = pair
    one, two = attach(here), attach(there)
    await asyncio.gather(here.close(), here.close())
    await two.until(lambda: bool(two.farewells))
    await asyncio.gather(here.close(), there.close(), there.close())
    assert one.farewells == ["closed here"]
    assert two.farewells == ["closed by the peer"]


async def test_both_sides_may_close_at_once(pair: Pair) -> None:
    one, two = (attach(channel) for channel in pair)
    await asyncio.gather(*(channel.close() for channel in pair))
    assert len(one.farewells) == len(two.farewells) == 1


async def test_a_close_that_was_cancelled_is_no_reason_to_wait_for_ever(pair: Pair) -> None:
    """A daemon that stops cancels whoever is closing a connection, and then closes it itself."""
    here, there = pair
    attach(there)
    for _ in range(64):
        here.send(bytes(CHANNEL_FRAME_BYTES_MAX))
    closing = asyncio.ensure_future(here.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    async with asyncio.timeout(5):
        await here.close()


async def test_sending_after_the_end_is_dropped_in_silence(pair: Pair) -> None:
    here, there = pair
    receiver = attach(there)
    await here.close()
    here.send(b"too late")
    assert here.buffered_bytes == 0
    await receiver.until(lambda: bool(receiver.farewells))
    there.send(b"too late as well")
    assert receiver.frames == []


async def test_a_receiver_attached_after_the_end_is_told(pair: Pair) -> None:
    here, there = pair
    here.send(b"last words")
    await here.close()
    second = attach(here)
    assert second.farewells == ["closed here"]
    await asyncio.sleep(0.05)  # `there` has no receiver yet that could tell
    late = attach(there)
    await late.until(lambda: bool(late.farewells))
    assert late.frames == [b"last words"]


@pytest.mark.parametrize("size", [0, CHANNEL_FRAME_BYTES_MAX + 1])
async def test_a_frame_of_impossible_size_is_a_bug_of_the_sender(pair: Pair, size: int) -> None:
    with pytest.raises(AssertionError):
        pair[0].send(bytes(size))
