"""The frames of the sync socket: total decoding, exact encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.protocol import ysync


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        ysync.decode_message(data)
    except WireError:
        return


@given(st.binary(max_size=400))
def test_what_is_encoded_decodes(payload: bytes) -> None:
    assert ysync.decode_message(ysync.encode_step1(payload)) == ysync.SyncStep1(payload)
    assert ysync.decode_message(ysync.encode_step2(payload)) == ysync.SyncUpdate(payload)
    assert ysync.decode_message(ysync.encode_update(payload)) == ysync.SyncUpdate(payload)
    assert ysync.decode_message(ysync.encode_awareness_message(payload)) == ysync.AwarenessMessage(payload)


@given(st.integers(0, 2**53 - 1))
def test_numbers_survive(value: int) -> None:
    reader = ysync.LibReader(ysync.write_uvar(value))
    assert reader.uvar() == value
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x00\x05abc",
        b"\x00\x03\x00",
        b"\x00\x00\x00\x00",
        b"\x01",
        b"\x03\x00",
        b"\x80\x00",
        b"\xff" * 8,
        b"\x00\x02\xff\xff\xff\xff\xff\xff\xff\x0f",
        b"\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_cut_overlong_and_leftover_frames_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        ysync.decode_message(data)


def test_unknown_messages_are_a_value_so_that_later_clients_still_work() -> None:
    assert ysync.decode_message(b"\x65\x01") == ysync.UnknownMessage(101)


def test_the_frames_are_those_of_the_stock_protocol() -> None:
    assert ysync.encode_step1(b"\x00") == b"\x00\x00\x01\x00"
    assert ysync.encode_update(b"ab") == b"\x00\x02\x02ab"
    assert ysync.encode_permission_denied("read-only") == b"\x02\x00\x09read-only"
    assert ysync.encode_committed(300, b"\x00") == b"\x65\xac\x02\x01\x00"
