"""Editing native text by code points: the one place that knows native offsets (PROTOCOL §3).

pycrdt counts text in UTF-8 bytes, and a wrong offset is silent: past the end it is clamped on
insertion and a Rust panic on deletion. Everything else in Sheaf counts Unicode code points, and
one embedded object as one character, U+FFFC. Must not know documents' schemas.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pycrdt

from sheaf.core.base.errors import UsageError

EMBED: Final = "\ufffc"
"""OBJECT REPLACEMENT CHARACTER: stands for an embedded object in plain text."""

Splice = tuple[int, int, str]
"""(position, code points to delete, text to insert), in the text as it was before any splice."""
Chunks = Sequence[tuple[Any, dict[str, Any] | None]]
"""What pycrdt's `diff()` gives: pieces of text or embedded objects, each with its formatting."""


class TextMap:
    """Code points of one text and where they are natively.

    Args:
        chunks: the text's `diff()` at this moment; the map is good until the text changes.
    """

    def __init__(self, chunks: Chunks) -> None:
        parts: list[str] = []
        self._embeds: list[int] = []
        self._ends: list[int] = []
        self._marks: list[dict[str, Any] | None] = []
        length = 0
        for value, marks in chunks:
            if isinstance(value, str):
                parts.append(value)
                length += len(value)
            else:
                parts.append(EMBED)
                self._embeds.append(length)
                length += 1
            self._ends.append(length)
            self._marks.append(marks)
        self.text = "".join(parts)

    def marks_at(self, position: int) -> dict[str, Any]:
        """The formatting of the character before `position`, or of the first one at 0."""
        number = bisect_left(self._ends, max(position, 1))
        return dict(self._marks[number] or {}) if number < len(self._marks) else {}

    def native_length(self, start: int, end: int) -> int:
        """How many native units the code points `start` … `end` take: bytes, and 1 per embed."""
        size = len(self.text[start:end].encode())
        embeds = bisect_left(self._embeds, end) - bisect_left(self._embeds, start)
        return size - embeds * (len(EMBED.encode()) - 1)


def check_insertable(text: str) -> None:
    """Refuse text that cannot be stored.

    Raises:
        UsageError: it holds a lone surrogate, which has no UTF-8 form.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("the text holds half of a surrogate pair; it is not valid Unicode") from error


def check_splices(splices: Iterable[Splice], length: int) -> list[Splice]:
    """The splices as a list, once they are known to be ascending, apart and inside the text.

    Raises:
        UsageError: they are not; nothing was changed.
    """
    checked: list[Splice] = []
    reached = 0
    for position, delete_count, insert in splices:
        if position < reached or delete_count < 0 or position + delete_count > length:
            raise UsageError("the edit lies outside the text or overlaps another one")
        check_insertable(insert)
        reached = position + delete_count
        checked.append((position, delete_count, insert))
    return checked


def splice_text(target: pycrdt.Text | pycrdt.XmlText, splices: Sequence[Splice]) -> None:
    """Apply checked splices, last one first, so that the earlier positions stay true.

    Inserted text takes the formatting of the character before the deleted part (or after it, at
    the very start), as typing does.
    """
    where = TextMap(target.diff())
    offsets: list[tuple[int, int]] = []
    offset = reached = 0
    for position, delete_count, _ in splices:
        offset += where.native_length(reached, position)
        size = where.native_length(position, position + delete_count)
        offsets.append((offset, size))
        offset += size
        reached = position + delete_count
    for (start, size), (position, _, insert) in zip(reversed(offsets), reversed(splices), strict=True):
        if insert:
            # Inserted before the deletion, inside what it follows, so that marks carry over.
            target.insert(start, insert, where.marks_at(position))
        if size:
            shift = len(insert.encode())
            del target[start + shift : start + shift + size]
