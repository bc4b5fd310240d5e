"""What two sequences have in common, in work that grows no faster than they do.

Items that occur once on either side are matched first, in the longest order both sides share; what
lies between them is compared by the shortest edit (Myers 1986). That is quadratic where much
differs, so it has a budget that is proportional to the length: where the budget is used up,
everything counts as different. difflib is cubic for items that repeat.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

Opcode = tuple[str, int, int, int, int]
"""(tag, start and end in the old, start and end in the new), as difflib's; tag: equal or replace."""

_STEPS_EACH: Final = 64
_STEPS_MIN: Final = 4_000
_EDITS_MAX: Final = 1_500
_DEPTH_MAX: Final = 4
"""How often the stretches between unique items are searched for items unique in them."""


def match(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Opcode]:
    """Opcodes that turn `old` into `new`; equal stretches and others take turns."""
    numbers: dict[Hashable, int] = {}
    left, right = ([numbers.setdefault(item, len(numbers)) for item in side] for side in (old, new))
    matching = _Matching(left, right)
    matching.compare((0, len(left)), (0, len(right)), 0)
    return _opcodes(matching.pairs, len(left), len(right))


class _Matching:
    """Collects the pairs of places that match, ascending."""

    def __init__(self, left: list[int], right: list[int]) -> None:
        self.pairs: list[tuple[int, int]] = []
        self._left = left
        self._right = right
        self._steps_left = _STEPS_MIN + _STEPS_EACH * (len(left) + len(right))

    def compare(self, old: tuple[int, int], new: tuple[int, int], depth: int) -> None:
        """Match what lies in these two stretches."""
        (start, end), (new_start, new_end) = old, new
        left, right = self._left, self._right
        while start < end and new_start < new_end and left[start] == right[new_start]:
            self.pairs.append((start, new_start))
            start, new_start = start + 1, new_start + 1
        tail: list[tuple[int, int]] = []
        while start < end and new_start < new_end and left[end - 1] == right[new_end - 1]:
            end, new_end = end - 1, new_end - 1
            tail.append((end, new_end))
        if start < end and new_start < new_end:
            self._compare_middle((start, end), (new_start, new_end), depth)
        self.pairs.extend(reversed(tail))

    def _compare_middle(self, old: tuple[int, int], new: tuple[int, int], depth: int) -> None:
        anchors = self._anchors(old, new) if depth < _DEPTH_MAX else []
        if not anchors:
            self._compare_closely(old, new)
            return
        start, new_start = old[0], new[0]
        for place, new_place in anchors:
            if place >= start and new_place >= new_start:
                self.compare((start, place), (new_start, new_place), depth + 1)
                self.pairs.append((place, new_place))
                start, new_start = place + 1, new_place + 1
        self.compare((start, old[1]), (new_start, new[1]), depth + 1)

    def _anchors(self, old: tuple[int, int], new: tuple[int, int]) -> list[tuple[int, int]]:
        """Items that occur once in either stretch, as many as stand in the same order."""
        left, right = self._left[old[0] : old[1]], self._right[new[0] : new[1]]
        counts, new_counts = Counter(left), Counter(right)
        places = {item: place for place, item in enumerate(right, new[0]) if new_counts[item] == 1}
        common = [
            (place, places[item])
            for place, item in enumerate(left, old[0])
            if counts[item] == 1 and item in places
        ]
        return _longest_ascending(common)

    def _compare_closely(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        """By the shortest edit, leaving out what occurs on one side only."""
        common = set(self._left[old[0] : old[1]]) & set(self._right[new[0] : new[1]])
        places = [place for place in range(*old) if self._left[place] in common]
        new_places = [place for place in range(*new) if self._right[place] in common]
        left, right = [self._left[place] for place in places], [self._right[place] for place in new_places]
        self.pairs.extend((places[a], new_places[b]) for a, b in self._shortest_edit(left, right))

    def _shortest_edit(self, left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
        """The pairs that stay when as little as possible is changed; none if finding them is too much."""
        width, height = len(left), len(right)
        size = min(width + height, _EDITS_MAX)
        reached = array("q", bytes(8 * (2 * size + 3)))
        trace: list[array[int]] = []
        for edits in range(size + 1):
            trace.append(reached[size + 1 - edits - 1 : size + 1 + edits + 2])
            for diagonal in range(-edits, edits + 1, 2):
                at = size + 1 + diagonal
                is_down = diagonal == -edits or (diagonal != edits and reached[at - 1] < reached[at + 1])
                x = reached[at + 1] if is_down else reached[at - 1] + 1
                y = begin = x - diagonal
                while x < width and 0 <= y < height and left[x] == right[y]:
                    x, y = x + 1, y + 1
                reached[at] = x
                self._steps_left -= 1 + y - begin
                if x >= width and y >= height:
                    return _walk_back(trace, width, height)
            if self._steps_left < 0:
                break
        return []


def _walk_back(trace: Sequence[array[int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trace) - 1, -1, -1):
        reached, middle = trace[edits], edits + 1
        diagonal = x - y
        at = middle + diagonal
        is_down = diagonal == -edits or (diagonal != edits and reached[at - 1] < reached[at + 1])
        before = diagonal + 1 if is_down else diagonal - 1
        before_x = reached[middle + before] if edits else 0
        before_y = before_x - before if edits else 0
        begin_x = (before_x if is_down else before_x + 1) if edits else 0
        while x > begin_x:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = before_x, before_y
    pairs.reverse()
    return pairs


def _longest_ascending(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """As many pairs as ascend on both sides; they ascend on the first already."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [number]
    chosen: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    chosen.reverse()
    return chosen


def _opcodes(pairs: Iterable[tuple[int, int]], length: int, new_length: int) -> list[Opcode]:
    opcodes: list[Opcode] = []
    start = new_start = 0
    end = new_end = 0
    for place, new_place in [*pairs, (length, new_length)]:
        if place == end and new_place == new_end and place < length:
            end, new_end = end + 1, new_end + 1
            continue
        if start < end:
            opcodes.append(("equal", start, end, new_start, new_end))
        if end < place or new_end < new_place:
            opcodes.append(("replace", end, place, new_end, new_place))
        start, new_start = place, new_place
        end, new_end = place + 1, new_place + 1
    return opcodes
