"""Fields: every wrong shape is a WireError, nothing is silently ignored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DocId, LogId
from sheaf.core.wire.shape import Fields, as_bytes, as_uint

MAP: dict[int, object] = {
    0: 7,
    1: b"ab",
    2: "name",
    3: [b"\1" * 16, b"\2" * 16],
    4: True,
    5: [[b"\1" * 16, 3]],
}


def test_fields_of_the_right_shape_are_taken() -> None:
    fields = Fields(MAP, "test")  # type: ignore[arg-type]  # a literal of mixed values
    assert fields.uint(0, maximum=7) == 7
    assert fields.octets(1, size=2) == b"ab"
    assert fields.text(2, bytes_max=4) == "name"
    assert fields.id_list(3, LogId, maximum=2, is_sorted=True) == (LogId(b"\1" * 16), LogId(b"\2" * 16))
    assert fields.flag(4)
    assert fields.pairs(5, as_bytes, as_uint, maximum=1) == ((b"\1" * 16, 3),)
    assert fields.uint_or_none(6) is None
    assert fields.octets_or_none(6) is None
    assert fields.id_or_none(6, DocId) is None
    fields.done()


@pytest.mark.parametrize(
    "take",
    [
        pytest.param(lambda f: f.uint(9), id="missing"),
        pytest.param(lambda f: f.uint(1), id="bytes for uint"),
        pytest.param(lambda f: f.uint(4), id="bool for uint"),
        pytest.param(lambda f: f.uint(0, maximum=6), id="uint too large"),
        pytest.param(lambda f: f.flag(0), id="uint for flag"),
        pytest.param(lambda f: f.octets(2), id="text for bytes"),
        pytest.param(lambda f: f.octets(1, size=3), id="bytes of another size"),
        pytest.param(lambda f: f.octets(1, maximum=1), id="bytes too long"),
        pytest.param(lambda f: f.text(1, bytes_max=9), id="bytes for text"),
        pytest.param(lambda f: f.text(2, bytes_max=3), id="text too long"),
        pytest.param(lambda f: f.id(1, DocId), id="id of another size"),
        pytest.param(lambda f: f.array(2, maximum=9), id="text for array"),
        pytest.param(lambda f: f.array(3, maximum=1), id="array too long"),
        pytest.param(lambda f: f.pairs(3, as_bytes, as_uint, maximum=9), id="pairs that are none"),
        pytest.param(lambda f: f.done(), id="unknown field"),
    ],
)
def test_wrong_shapes_are_refused(take: Callable[[Fields], object]) -> None:
    with pytest.raises(WireError):
        take(Fields(MAP, "test"))  # type: ignore[arg-type]  # a literal of mixed values


def test_unsorted_and_repeated_ids_are_refused() -> None:
    for ids in ([b"\2" * 16, b"\1" * 16], [b"\1" * 16, b"\1" * 16]):
        with pytest.raises(WireError):
            Fields({0: list(ids)}, "test").id_list(0, LogId, maximum=9, is_sorted=True)


@given(st.text(max_size=20))
def test_text_with_control_characters_is_refused(text: str) -> None:
    has_control = any(ord(ch) < 32 or 127 <= ord(ch) <= 159 for ch in text)
    fields = Fields({0: text}, "test")
    if has_control:
        with pytest.raises(WireError):
            fields.text(0, bytes_max=200)
    else:
        assert fields.text(0, bytes_max=200) == text


def test_only_maps_have_fields() -> None:
    with pytest.raises(WireError):
        Fields([1], "test")
