"""How deep each item of a document lies, so that types cannot be nested without bound.

An element inside an element inside an element costs a sender 20 bytes a level, in one update or in
many, and native code follows the levels recursively: deleting or printing a tree 200,000 deep is a
stack overflow (measured on yrs 0.28; a browser's Yjs recurses too). What one update says is not
enough to know a depth, so this keeps it for the whole document, as runs of clocks. A document
without nested types, such as any text, costs nothing.

Must not know content or pycrdt. PROTOCOL §3 (nesting ≤ 64).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.limits import UPDATE_NESTING_MAX
from sheaf.core.crdt.update_summary import PLACE_SIZE, UpdateSummary

_UNKNOWN, _BEING_FOUND = 0, -1


class DepthRun(NamedTuple):
    """From `clock` on, up to the client's next run, items lie `depth` deep; 1 is right in a root."""

    client: int
    clock: int
    depth: int


class Nesting:
    """Depths of everything in one document."""

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = {}
        self._depths: dict[int, list[int]] = {}
        self._is_flat = True

    def measure(self, summary: UpdateSummary) -> list[DepthRun]:
        """The depths an update brings; nothing is kept until `note`.

        Raises:
            UpdateRefused: items of the update hang from each other in a circle.
        """
        if self._is_flat and not summary.has_nested_items:
            return []
        return _Measuring(self, summary).runs()

    def check(self, summary: UpdateSummary) -> list[DepthRun]:
        """Like `measure`, and refuses what lies too deep.

        Raises:
            UpdateRefused: an item would lie deeper than 64 levels.
        """
        runs = self.measure(summary)
        if any(run.depth > UPDATE_NESTING_MAX for run in runs):
            raise UpdateRefused("the update nests elements too deeply")
        return runs

    def note(self, runs: list[DepthRun], known: Mapping[int, int]) -> None:
        """Keep the depths of an applied update; `known`: the document's clocks before it."""
        for number, (client, clock, depth) in enumerate(runs):
            following = runs[number + 1] if number + 1 < len(runs) else None
            floor = known.get(client, 0)
            if following is not None and following.client == client and following.clock <= floor:
                continue
            starts = self._starts.setdefault(client, [])
            depths = self._depths.setdefault(client, [])
            if (depths[-1] if depths else 1) != depth:
                starts.append(max(clock, floor))
                depths.append(depth)
                self._is_flat = False

    def depth(self, client: int, clock: int) -> int:
        """How deep one item of the document lies."""
        starts = self._starts.get(client)
        if not starts:
            return 1
        number = bisect_right(starts, clock) - 1
        return self._depths[client][number] if number >= 0 else 1


class _Measuring:
    """Follows the references between the runs of one update, without recursion."""

    def __init__(self, nesting: Nesting, summary: UpdateSummary) -> None:
        self._nesting = nesting
        self._summary = summary
        self._places = summary.places
        self._count = len(self._places) // PLACE_SIZE
        self._depths = [_UNKNOWN] * self._count
        self._clocks: dict[int, list[int]] = {}
        self._first: dict[int, int] = {}
        for number in range(self._count):
            client = self._places[number * PLACE_SIZE]
            self._first.setdefault(client, number)
            self._clocks.setdefault(client, []).append(self._places[number * PLACE_SIZE + 1])

    def runs(self) -> list[DepthRun]:
        for number in range(self._count):
            self._settle(number)
        return [
            DepthRun(
                self._places[number * PLACE_SIZE], self._places[number * PLACE_SIZE + 1], self._depths[number]
            )
            for number in range(self._count)
        ]

    def _settle(self, number: int) -> None:
        path: list[tuple[int, int]] = []
        depth = self._depths[number]
        while depth == _UNKNOWN:
            self._depths[number] = _BEING_FOUND
            _, _, other, other_clock, below = self._places[number * PLACE_SIZE : (number + 1) * PLACE_SIZE]
            path.append((number, below))
            if other < 0:
                depth = 1 - below
                break
            span = self._summary.clients.get(other)
            if span is None or not span.start <= other_clock < span.end:
                depth = self._nesting.depth(other, other_clock)
                break
            number = self._first[other] + bisect_right(self._clocks[other], other_clock) - 1
            depth = self._depths[number]
            if depth == _BEING_FOUND:
                raise UpdateRefused("items in the update hang from each other in a circle")
        for waiting, below in reversed(path):
            depth += below
            self._depths[waiting] = depth
