"""Text is edited by code points, whatever it is made of."""

from __future__ import annotations

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import UsageError
from sheaf.core.crdt.text import EMBED, TextMap, splice_text
from tests.unit.core.crdt.support import replica

ALPHABET = ["a", "é", "e\u0301", "ß", "\u200d", "😀", "👩‍👩‍👧", "🇨🇭", "\U0010ffff", "中", "\n", "\0", EMBED]
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=15).map("".join)


@st.composite
def texts_with_splices(draw: st.DrawFn) -> tuple[str, list[tuple[int, int, str]]]:
    """A text and splices that fit it."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return text, [(start, end - start, draw(TEXTS)) for start, end in pairs]


def _spliced(text: str, splices: list[tuple[int, int, str]]) -> str:
    for position, count, insert in reversed(splices):
        text = text[:position] + insert + text[position + count :]
    return text


@given(texts_with_splices())
def test_splices_do_to_the_document_what_they_do_to_a_string(
    case: tuple[str, list[tuple[int, int, str]]],
) -> None:
    text, splices = case
    document, reader = replica(1), replica(2)
    document.append_text(text)
    document.apply_splices(splices)
    assert document.text() == _spliced(text, splices)
    reader.apply(document.encode_state())
    assert reader.text() == document.text()


@given(texts_with_splices())
def test_embedded_objects_count_as_one_character(case: tuple[str, list[tuple[int, int, str]]]) -> None:
    text, splices = case
    document = replica(1)
    native = document.doc.get("text", type=pycrdt.Text)
    for char in text:
        if char == EMBED:
            document.edit(lambda: native.insert_embed(len(native), {"kind": "image"}))
        else:
            document.append_text(char)
    assert document.text() == text
    document.apply_splices(splices)
    assert document.text() == _spliced(text, splices)


@pytest.mark.parametrize(
    "splices",
    [
        [(4, 0, "x")],
        [(-1, 0, "x")],
        [(2, 2, "")],
        [(0, -1, "")],
        [(1, 1, "x"), (1, 1, "y")],
        [(2, 0, "x"), (1, 0, "y")],
        [(0, 0, "\ud800")],
        [(0, 1, ""), (1, 99, "")],
    ],
)
def test_splices_that_do_not_fit_change_nothing(splices: list[tuple[int, int, str]]) -> None:
    document = replica()
    document.append_text("abc")
    with pytest.raises(UsageError):
        document.apply_splices(splices)
    assert document.text() == "abc"


def test_no_splices_are_no_update() -> None:
    assert replica().apply_splices([]) is None
    assert replica().append_text("") is None


def test_an_insertion_takes_the_formatting_before_it() -> None:
    document = replica()
    text = document.doc.get("text", type=pycrdt.Text)
    document.edit(lambda: text.insert(0, "bold", {"bold": True}))
    document.edit(lambda: text.insert(4, " plain", {"bold": None}))
    document.edit(lambda: splice_text(text, [(0, 0, "A"), (2, 1, "BB"), (10, 0, "C")]))
    assert text.diff() == [("AboBBd", {"bold": True}), (" plainC", None)]


@given(TEXTS, st.data())
def test_native_lengths_add_up(text: str, data: st.DataObject) -> None:
    where = TextMap([(text, None)] if text else [])
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert where.native_length(0, start) + where.native_length(start, end) == where.native_length(0, end)
    assert where.native_length(0, end) == len(text[:end].encode())
