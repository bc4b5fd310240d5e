"""Frames: round trip, and totality of the decoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import FRAME_BYTES_MAX
from sheaf.core.wire.frames import (
    FRAGMENT_PAYLOAD_MIN,
    FRAME_PAYLOAD_MAX,
    Frame,
    Stream,
    decode_frame,
    encode_frame,
)


@given(st.integers(1, 127), st.sampled_from(list(Stream)), st.binary(max_size=2048))
def test_a_frame_is_read_back_as_it_was_written(kind: int, stream: Stream, payload: bytes) -> None:
    assert decode_frame(encode_frame(kind, stream, payload)) == Frame(kind, stream, payload)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_frame_or_a_wire_error(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except WireError:
        return
    assert encode_frame(frame.kind, frame.stream, frame.payload, has_more=frame.has_more) == data


def test_the_largest_frame_passes_and_one_byte_more_does_not() -> None:
    largest = encode_frame(9, Stream.CATCH_UP, bytes(FRAME_PAYLOAD_MAX), has_more=True)
    assert len(largest) == FRAME_BYTES_MAX
    assert decode_frame(largest).has_more
    with pytest.raises(WireError):
        decode_frame(largest + b"x")


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x00\x00", b"\x80\x00" + bytes(600), b"\x01\x06", b"\x01\x80\x00"]
)
def test_shapes_that_are_no_frame_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_frame(data)


def test_tiny_fragments_are_refused() -> None:
    decode_frame(encode_frame(1, Stream.LIVE, bytes(FRAGMENT_PAYLOAD_MIN), has_more=True))
    with pytest.raises(WireError):
        decode_frame(encode_frame(1, Stream.LIVE, bytes(FRAGMENT_PAYLOAD_MIN - 1), has_more=True))
