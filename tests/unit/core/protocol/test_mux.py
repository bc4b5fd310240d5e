"""The mux: order, credit, slots, bounded reassembly (FAULTS N9, N10)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.limits import CREDIT_CATCH_UP_BYTES, CREDIT_LIVE_BYTES, FRAME_BYTES_MAX, KIB
from sheaf.core.protocol.mux import (
    CREDIT_KIND,
    MESSAGE_OVERHEAD,
    PRIORITY,
    STREAM_MESSAGE_BYTES_MAX,
    Message,
    Mux,
    Received,
)
from sheaf.core.wire.frames import Stream, decode_frame, encode_frame

ALL = 1 << 40


def deliver(frames: list[bytes], receiver: Mux) -> list[Received]:
    return [item for frame in frames if (item := receiver.receive(frame)) is not None]


def streams_of(frames: list[bytes]) -> list[Stream]:
    return [decode_frame(frame).stream for frame in frames]


def test_messages_arrive_whole_in_order_per_stream() -> None:
    sender, receiver = Mux(), Mux()
    big = random.Random(1).randbytes(300 * KIB)
    for payload in (b"", b"one", big, b"two"):
        sender.queue(Stream.CONTROL, Message(9, payload))
    got = deliver(sender.next_frames(ALL), receiver)
    assert [item.message.payload for item in got] == [b"", b"one", big, b"two"]
    assert all(item.stream is Stream.CONTROL for item in got)


def test_streams_are_served_in_strict_priority() -> None:
    mux = Mux()
    for stream in reversed(PRIORITY):
        mux.queue(stream, Message(9, b"x"))
    assert streams_of(mux.next_frames(ALL)) == list(PRIORITY)


def test_a_keystroke_waits_behind_at_most_one_frame() -> None:
    mux = Mux()
    mux.queue(Stream.CATCH_UP, Message(9, bytes(500 * KIB)))
    first = mux.next_frames(1)
    assert len(first) == 1
    assert len(first[0]) == FRAME_BYTES_MAX
    mux.queue(Stream.LIVE, Message(9, b"key"))
    assert streams_of(mux.next_frames(1)) == [Stream.LIVE]


def test_a_newer_message_replaces_the_unsent_one_in_its_slot() -> None:
    sender, receiver = Mux(), Mux()
    for payload in (b"old", b"newer", b"newest"):
        sender.queue(Stream.AWARENESS, Message(9, payload), slot="cursor")
    assert [r.message.payload for r in deliver(sender.next_frames(ALL), receiver)] == [b"newest"]
    assert not sender.has_slot("cursor")
    assert sender.queued_bytes(Stream.AWARENESS) == 0


def test_a_begun_message_is_not_replaced() -> None:
    sender, receiver = Mux(), Mux()
    sender.queue(Stream.CONTROL, Message(9, b"a" * 40_000), slot="s")
    frames = sender.next_frames(1)
    sender.queue(Stream.CONTROL, Message(9, b"b"), slot="s")
    got = deliver(frames + sender.next_frames(ALL), receiver)
    assert [r.message.payload for r in got] == [b"a" * 40_000, b"b"]


def test_without_grants_no_more_than_the_window_is_sent() -> None:
    sender, receiver = Mux(), Mux()
    for _ in range(50):
        sender.queue(Stream.CATCH_UP, Message(9, bytes(100 * KIB)))
    got = deliver(sender.next_frames(ALL), receiver)
    assert sum(item.message.cost for item in got) <= CREDIT_CATCH_UP_BYTES
    assert not sender.has_frames
    for item in got:
        receiver.release(item.stream, item.message.cost)
    deliver(receiver.next_frames(ALL), sender)
    assert sender.has_frames


def test_catch_up_without_credit_does_not_hold_up_live_messages() -> None:
    mux = Mux()
    for _ in range(20):
        mux.queue(Stream.CATCH_UP, Message(9, bytes(100 * KIB)))
    mux.next_frames(ALL)
    mux.queue(Stream.LIVE, Message(9, b"key"))
    assert streams_of(mux.next_frames(ALL)) == [Stream.LIVE]


def test_live_messages_do_not_overtake_control_that_waits_for_credit() -> None:
    mux = Mux()
    mux.queue(Stream.LIVE, Message(9, bytes(300 * KIB)))
    mux.next_frames(ALL)
    mux.queue(Stream.CONTROL, Message(9, bytes(300 * KIB)))
    mux.queue(Stream.LIVE, Message(9, b"small"))
    assert mux.next_frames(ALL) == []


def test_has_room_counts_credit_and_what_already_waits() -> None:
    mux = Mux()
    assert mux.has_room(Stream.LIVE, 300 * KIB)
    mux.queue(Stream.CONTROL, Message(9, bytes(300 * KIB)))
    assert not mux.has_room(Stream.LIVE, 300 * KIB)
    mux.next_frames(ALL)
    assert not mux.has_room(Stream.LIVE, 300 * KIB)
    assert mux.has_room(Stream.LIVE, 100 * KIB)


def test_the_largest_messages_always_come_through_when_they_are_released() -> None:
    for stream, size in STREAM_MESSAGE_BYTES_MAX.items():
        sender, receiver = Mux(), Mux()
        for _ in range(8):
            sender.queue(stream, Message(9, bytes(size)))
        count = 0
        for _ in range(100):
            for item in deliver(sender.next_frames(ALL), receiver):
                receiver.release(item.stream, item.message.cost)
                count += 1
            deliver(receiver.next_frames(ALL), sender)
        assert count == 8, stream


def test_markers_tell_when_the_last_frame_went_out() -> None:
    mux = Mux()
    mux.queue(Stream.CATCH_UP, Message(9, bytes(40_000)), marker="run")
    mux.next_frames(1)
    assert mux.take_completed() == []
    mux.next_frames(ALL)
    assert mux.take_completed() == ["run"]
    assert mux.take_completed() == []


def test_a_peer_that_ignores_credit_is_refused() -> None:
    receiver = Mux()
    frame = encode_frame(9, Stream.LIVE, bytes(16_000))
    for _ in range(CREDIT_LIVE_BYTES // (16_000 + MESSAGE_OVERHEAD)):
        receiver.receive(frame)
    with pytest.raises(ProtocolViolation, match="credit"):
        receiver.receive(frame)


def test_endless_fragments_are_refused_at_the_stream_limit() -> None:
    receiver = Mux()
    frame = encode_frame(9, Stream.SESSION, bytes(16_000), has_more=True)
    for _ in range(4):
        receiver.receive(frame)
    with pytest.raises(WireError, match="limit"):
        receiver.receive(frame)


def test_a_message_may_not_change_its_type_half_way() -> None:
    receiver = Mux()
    receiver.receive(encode_frame(9, Stream.LIVE, bytes(600), has_more=True))
    with pytest.raises(WireError):
        receiver.receive(encode_frame(10, Stream.LIVE, b""))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        b"\x09\x00\x00\x00\x01",
        b"\x01\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x01",
        b"\x01\xff\xff\xff\xff",
    ],
)
def test_false_credit_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Mux().receive(encode_frame(CREDIT_KIND, Stream.SESSION, payload))


def test_a_farewell_leaves_even_when_much_was_queued() -> None:
    sender, receiver = Mux(), Mux()
    sender.queue(Stream.SESSION, Message(9, bytes(40_000)))
    sender.queue(Stream.CATCH_UP, Message(9, bytes(600_000)))
    frames = sender.next_frames(1)
    sender.drop_queued()
    sender.queue(Stream.SESSION, Message(8, b"bye"))
    got = deliver(frames + sender.next_frames(ALL), receiver)
    assert [r.message.kind for r in got] == [9, 8]


@given(
    st.lists(st.tuples(st.sampled_from(list(Stream)), st.integers(0, 60_000)), max_size=30),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=10),
)
def test_whatever_is_queued_arrives_once_and_in_stream_order(
    sizes: list[tuple[Stream, int]], budgets: list[int]
) -> None:
    sender, receiver = Mux(), Mux()
    sent: dict[Stream, list[bytes]] = {stream: [] for stream in Stream}
    got: dict[Stream, list[bytes]] = {stream: [] for stream in Stream}
    for number, (stream, wanted) in enumerate(sizes):
        size = min(wanted, STREAM_MESSAGE_BYTES_MAX[stream] - 4)
        payload = number.to_bytes(4, "big") + bytes(size)
        sender.queue(stream, Message(9, payload))
        sent[stream].append(payload)
    step = 0
    while sender.has_frames or receiver.has_frames:
        for item in deliver(sender.next_frames(budgets[step % len(budgets)]), receiver):
            got[item.stream].append(item.message.payload)
            receiver.release(item.stream, item.message.cost)
        deliver(receiver.next_frames(ALL), sender)
        step += 1
    assert got == sent


@given(st.lists(st.binary(max_size=700), max_size=20))
def test_hostile_frames_only_ever_raise_a_protocol_violation(frames: list[bytes]) -> None:
    receiver = Mux()
    for frame in frames:
        try:
            receiver.receive(frame)
        except ProtocolViolation:
            return
