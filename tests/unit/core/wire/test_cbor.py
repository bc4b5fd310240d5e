"""Strict CBOR: one encoding per value; everything else is refused (PROTOCOL §1)."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.wire import cbor

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.binary(max_size=300)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(0, 23), inner, max_size=5),
    max_leaves=20,
)


def nested(depth: int) -> bytes:
    return b"\x81" * (depth - 1) + b"\x80"


@given(values)
def test_every_value_survives_a_round_trip(value: object) -> None:
    try:
        data = cbor.encode(value)
    except ValueError:
        return  # deeper than the limit
    assert cbor.decode(data, bytes_max=1 << 20) == value


@given(values)
def test_encoding_is_the_canonical_one_of_an_independent_library(value: object) -> None:
    try:
        data = cbor.encode(value)
    except ValueError:
        return
    assert data == cbor2.dumps(value, canonical=True)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_that_encodes_back_to_them_or_a_wire_error(data: bytes) -> None:
    try:
        value = cbor.decode(data, bytes_max=200)
    except WireError:
        return
    assert cbor.encode(value) == data


@given(values, st.data())
def test_one_flipped_byte_never_raises_anything_but_wire_error(value: object, data: st.DataObject) -> None:
    try:
        raw = bytearray(cbor.encode(value))
    except ValueError:
        return
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = cbor.decode(bytes(raw), bytes_max=1 << 20)
    except WireError:
        return
    assert cbor.encode(decoded) == raw


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("1800", id="integer not minimal, one byte"),
        pytest.param("190001", id="integer not minimal, two bytes"),
        pytest.param("1a00000001", id="integer not minimal, four bytes"),
        pytest.param("1b0000000000000001", id="integer not minimal, eight bytes"),
        pytest.param("1b0020000000000000", id="integer 2^53"),
        pytest.param("1bffffffffffffffff", id="integer 2^64-1"),
        pytest.param("3b001fffffffffffff", id="integer -2^53"),
        pytest.param("3bffffffffffffffff", id="integer -2^64"),
        pytest.param("c249010000000000000000", id="big integer"),
        pytest.param("5801ff", id="length not minimal"),
        pytest.param("0000", id="trailing byte"),
        pytest.param("a2010201", id="map cut short"),
        pytest.param("a201020103", id="duplicate key"),
        pytest.param("a202010101", id="keys out of order"),
        pytest.param("a1181801", id="key 24"),
        pytest.param("a12001", id="negative key"),
        pytest.param("a1616101", id="text key"),
        pytest.param("a18001", id="array key"),
        pytest.param("5f4101ff", id="indefinite bytes"),
        pytest.param("7f6161ff", id="indefinite text"),
        pytest.param("9f01ff", id="indefinite array"),
        pytest.param("bf0101ff", id="indefinite map"),
        pytest.param("f97e00", id="half float"),
        pytest.param("fa47c35000", id="single float"),
        pytest.param("fb3ff0000000000000", id="double float"),
        pytest.param("c001", id="tag"),
        pytest.param("d81c80", id="shared reference"),
        pytest.param("f7", id="undefined"),
        pytest.param("e0", id="simple value"),
        pytest.param("f8f5", id="two-byte simple value"),
        pytest.param("ff", id="break"),
        pytest.param("1c", id="reserved"),
        pytest.param("61ff", id="not UTF-8"),
        pytest.param("63eda080", id="surrogate"),
        pytest.param("5b7fffffffffffffff", id="huge byte string"),
        pytest.param("9b7fffffffffffffff", id="huge array"),
        pytest.param("9affffffff00", id="array longer than the message"),
        pytest.param("bb7fffffffffffffff", id="huge map"),
    ],
)
def test_other_encodings_are_refused(data: str) -> None:
    with pytest.raises(WireError):
        cbor.decode(bytes.fromhex(data), bytes_max=1024)


def test_nesting_is_limited_in_both_directions() -> None:
    assert cbor.decode(nested(8), bytes_max=64) == [[[[[[[[]]]]]]]]
    with pytest.raises(WireError):
        cbor.decode(nested(9), bytes_max=64)
    with pytest.raises(WireError):
        cbor.decode(nested(100_000), bytes_max=200_000)
    with pytest.raises(WireError):
        cbor.decode(nested(3), bytes_max=64, depth_max=2)
    with pytest.raises(ValueError, match="deep"):
        cbor.encode([[[[[[[[[]]]]]]]]])


def test_size_is_checked_before_reading() -> None:
    with pytest.raises(WireError, match="at most 10"):
        cbor.decode(b"\xff" * 11, bytes_max=10)


@pytest.mark.parametrize("value", [1.5, {"a": 1}, {24: 1}, {True: 1}, {-1: 1}, {1, 2}, object()])
def test_values_outside_the_model_are_not_encoded(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_integers_out_of_range_are_not_encoded(value: int) -> None:
    with pytest.raises(ValueError, match="range"):
        cbor.encode(value)
