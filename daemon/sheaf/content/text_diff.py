"""Differences of texts as splices: by lines, then by words, then trimmed to characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from sheaf.content.sequence_match import match

_TOKEN: Final = re.compile(r"\w+|\s+|.", re.DOTALL)
COMPARE_WORK_MAX: Final = 250_000
"""Above this product of lengths, characters are not compared: the span is replaced."""


class Splice(NamedTuple):
    """At code point `position` of the old text, replace `delete_count` code points by `insert`."""

    position: int
    delete_count: int
    insert: str


def diff_text(old: str, new: str) -> list[Splice]:
    """Splices that turn `old` into `new`: by lines, then by words, then by characters."""
    start, old_end, new_end = trim(old, new)
    return _diff_lines(old[start:old_end], new[start:new_end], start)


def _diff_lines(old: str, new: str, offset: int) -> list[Splice]:
    if not old or not new:
        return [Splice(offset, len(old), new)] if old or new else []
    old_lines, new_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    splices: list[Splice] = []
    starts = _starts(old_lines, offset)
    for tag, i1, i2, j1, j2 in match(old_lines, new_lines):
        if tag != "equal":
            before, after = "".join(old_lines[i1:i2]), "".join(new_lines[j1:j2])
            splices.extend(_diff_words(before, after, starts[i1]))
    return splices


def _diff_words(old: str, new: str, offset: int) -> list[Splice]:
    start, old_end, new_end = trim(old, new)
    offset, old, new = offset + start, old[start:old_end], new[start:new_end]
    if not old or not new or len(old) * len(new) > COMPARE_WORK_MAX:
        return [Splice(offset, len(old), new)] if old or new else []
    old_words, new_words = _TOKEN.findall(old), _TOKEN.findall(new)
    starts = _starts(old_words, offset)
    splices: list[Splice] = []
    for tag, i1, i2, j1, j2 in match(old_words, new_words):
        if tag != "equal":
            splices.extend(_trimmed("".join(old_words[i1:i2]), "".join(new_words[j1:j2]), starts[i1]))
    return splices


def _trimmed(old: str, new: str, offset: int) -> list[Splice]:
    start, old_end, new_end = trim(old, new)
    return [Splice(offset + start, old_end - start, new[start:new_end])]


def _starts(parts: Sequence[str], offset: int) -> list[int]:
    starts = [offset]
    for part in parts:
        starts.append(starts[-1] + len(part))
    return starts


def trim(old: str, new: str) -> tuple[int, int, int]:
    """The common start, and where in either text the common end begins."""
    limit = min(len(old), len(new))
    start = _common(old, new, limit)
    rest = limit - start
    end = _common(old[: -rest - 1 : -1], new[: -rest - 1 : -1], rest) if rest else 0
    return start, len(old) - end, len(new) - end


def _common(left: str, right: str, limit: int) -> int:
    """The length of the common start, by halving: slices compare at native speed."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
