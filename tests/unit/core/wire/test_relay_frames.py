"""The frames of signalling connections: one encoding each, nothing else is read (PROTOCOL §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import SIGNAL_BYTES_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.frame_fields import RIDS_MAX
from sheaf.core.wire.relay_frames import (
    Deliver,
    Error,
    Frame,
    Nobody,
    Send,
    Sent,
    Sub,
    TunnelJoin,
    TunnelJoined,
    Unsub,
    decode_frame,
    encode_frame,
)
from sheaf.core.wire.relay_words import SIGNAL_FRAME_BYTES_MAX, ErrorCode, FrameType

RID = RendezvousId(bytes(range(16)))
rids = st.binary(min_size=16, max_size=16).map(RendezvousId)
payloads = st.binary(max_size=300)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Error, st.sampled_from(ErrorCode)),
    st.builds(Sub, st.lists(rids, max_size=5).map(tuple)),
    st.builds(Unsub, st.lists(rids, max_size=5).map(tuple)),
    st.builds(Send, rids, payloads),
    st.builds(Deliver, rids, payloads),
    st.builds(Sent, rids),
    st.builds(Nobody, rids),
    st.builds(TunnelJoin, st.binary(min_size=16, max_size=16)),
    st.just(TunnelJoined()),
)


@given(frames)
def test_every_frame_reads_back(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(st.binary(max_size=80))
def test_n7_bytes_are_a_whole_canonical_frame_or_a_wire_error(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except WireError:
        return
    assert encode_frame(frame) == data


@given(frames, st.data())
def test_n7_a_damaged_frame_is_another_canonical_frame_or_a_wire_error(
    frame: Frame, data: st.DataObject
) -> None:
    encoded = bytearray(encode_frame(frame))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        other = decode_frame(bytes(encoded))
    except WireError:
        return
    assert encode_frame(other) == bytes(encoded)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 30) | st.binary(max_size=20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 5), inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_n7_any_other_value_is_refused_without_surprise(value: object) -> None:
    try:
        frame = decode_frame(cbor.encode(value))
    except WireError:
        return
    assert encode_frame(frame) == cbor.encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        {0: 12, 1: bytes(15), 2: b""},
        {0: 12, 1: bytes(16)},
        {0: 12, 1: bytes(16), 2: b"", 3: b""},
        {0: 12, 2: b"", 3: b""},
        {0: True, 1: bytes(16)},
        {0: 2, 1: True},
        {0: 2, 1: 99},
        {0: 99},
        {0: 22, 1: bytes(17)},
        {0: 12, 1: bytes(16), 2: bytes(SIGNAL_BYTES_MAX + 1)},
        {0: 10, 1: [bytes(16)] * (RIDS_MAX + 1)},
        {0: 10, 1: [b"short"]},
        {0: 10, 1: bytes(16)},
    ],
)
def test_malformed_frames_are_refused(value: object) -> None:
    with pytest.raises(WireError):
        decode_frame(cbor.encode(value))


def test_the_largest_message_fits_a_frame() -> None:
    assert len(encode_frame(Send(RID, bytes(SIGNAL_BYTES_MAX)))) <= SIGNAL_FRAME_BYTES_MAX
    decode_frame(encode_frame(Deliver(RID, bytes(SIGNAL_BYTES_MAX))))
    full = tuple(RendezvousId(n.to_bytes(16, "big")) for n in range(RIDS_MAX))
    assert decode_frame(encode_frame(Sub(full))) == Sub(full)


def test_the_numbers_on_the_wire_stay() -> None:
    assert {kind.name: kind.value for kind in FrameType} == {
        "WELCOME": 0,
        "AUTH": 1,
        "ERROR": 2,
        "PING": 3,
        "PONG": 4,
        "REFUSED": 5,
        "ACCEPTED": 6,
        "SUB": 10,
        "UNSUB": 11,
        "SEND": 12,
        "DELIVER": 13,
        "SENT": 14,
        "NOBODY": 15,
        "TUNNEL_JOIN": 22,
        "TUNNEL_JOINED": 23,
        "TUNNEL_ELSEWHERE": 24,
        "NAMEPLATE_ALLOCATE": 30,
        "NAMEPLATE_HELD": 31,
        "NAMEPLATE_CLAIM": 32,
        "NAMEPLATE_SAY": 33,
        "NAMEPLATE_HEARD": 34,
        "NAMEPLATE_RELEASE": 35,
        "NAMEPLATE_CLOSED": 36,
        "MAILBOX_PUT": 40,
        "MAILBOX_STORED": 41,
        "MAILBOX_GET": 42,
        "MAILBOX_ITEMS": 43,
        "MAILBOX_WATCH": 44,
        "MAILBOX_NEWS": 45,
        "MAILBOX_UNWATCH": 46,
        "MAILBOX_COMPACT": 47,
        "MAILBOX_STAT": 48,
        "MAILBOX_STATUS": 49,
    }
