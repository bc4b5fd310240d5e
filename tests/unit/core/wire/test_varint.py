"""uvar: unsigned LEB128, shortest form, at most 2^53-1 (PROTOCOL §1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.wire.varint import Reader, encode_uvar


@given(st.integers(0, INTEGER_MAX))
def test_every_number_survives_a_round_trip(number: int) -> None:
    reader = Reader(encode_uvar(number))
    assert reader.uvar() == number
    reader.end()


@given(st.binary(max_size=12))
def test_bytes_are_the_shortest_form_or_refused(data: bytes) -> None:
    reader = Reader(data)
    try:
        number = reader.uvar()
    except WireError:
        return
    assert encode_uvar(number) == data[: len(data) - len(reader.rest())]


@pytest.mark.parametrize(
    "data", ["", "80", "8000", "ff00", "ffffffffffffff1f"[:-2] + "ff01", "808080808080808001"]
)
def test_cut_long_and_padded_forms_are_refused(data: str) -> None:
    with pytest.raises(WireError):
        Reader(bytes.fromhex(data)).uvar()


@pytest.mark.parametrize("number", [-1, INTEGER_MAX + 1])
def test_numbers_out_of_range_are_not_encoded(number: int) -> None:
    with pytest.raises(ValueError, match="range"):
        encode_uvar(number)


def test_reader_takes_fields_in_order_and_refuses_more_than_there_is() -> None:
    reader = Reader(bytes.fromhex("07000001020000000000000103aabb"))
    assert (reader.u8(), reader.u32(), reader.u64()) == (7, 258, 259)
    with pytest.raises(WireError):
        reader.end()
    with pytest.raises(WireError):
        reader.take(3)
    with pytest.raises(WireError):
        reader.take(-1)
    assert reader.rest() == b"\xaa\xbb"
    reader.end()
    with pytest.raises(WireError):
        reader.u8()
