"""Differences of texts as splices: by lines, then by words, then trimmed to characters."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

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


def match(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[str, int, int, int, int]]:
    """difflib's opcodes over the part that differs, without its guess that frequent means unimportant."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old_middle, new_middle = old[start : len(old) - end], new[start : len(new) - end]
    if not old_middle or not new_middle:
        tag = "equal" if not old_middle and not new_middle else "replace"
        return [(tag, start, start + len(old_middle), start, start + len(new_middle))]
    matcher = SequenceMatcher(None, old_middle, new_middle, autojunk=len(old_middle) > 2000)
    return [
        (tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in matcher.get_opcodes()
    ]
