"""State vectors are read whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.state_vector import decode_state_vector, encode_state_vector
from tests.unit.core.crdt.support import history

CLOCKS = st.dictionaries(st.integers(0, 2**53 - 1), st.integers(0, 2**31 - 1), max_size=5)


@given(CLOCKS)
def test_what_is_written_is_read_back(clocks: dict[int, int]) -> None:
    assert decode_state_vector(encode_state_vector(clocks)) == clocks


def test_native_state_vectors_are_read() -> None:
    document = history(1)[0][0].replica
    assert decode_state_vector(document.state_vector()) == document.clocks()


@given(st.binary(max_size=60))
def test_any_bytes_are_clocks_or_a_refusal(data: bytes) -> None:
    try:
        clocks = decode_state_vector(data)
    except UpdateRefused:
        return
    assert decode_state_vector(encode_state_vector(clocks)) == clocks


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x00\x00", b"\x02\x01\x01\x01\x01", b"\x01\x01\x80\x80\x80\x80\x08"]
)
def test_malformed_state_vectors_are_refused(data: bytes) -> None:
    with pytest.raises(UpdateRefused):
        decode_state_vector(data)
