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
        # By field, as lists: this is done for every item of an update, on the event loop.
        self._clients, self._starts, self._others, self._other_clocks, self._below = (
            summary.places[field::PLACE_SIZE].tolist() for field in range(PLACE_SIZE)
        )
        self._depths = [_UNKNOWN] * len(self._clients)
        self._clocks: dict[int, list[int]] = {}
        self._first: dict[int, int] = {}
        begin = 0
        for number, client in enumerate(self._clients):  # what one client wrote stands together
            if client != self._clients[begin]:
                self._add_client(begin, number)
                begin = number
        if self._clients:
            self._add_client(begin, len(self._clients))

    def _add_client(self, begin: int, end: int) -> None:
        client = self._clients[begin]
        self._first[client] = begin
        self._clocks[client] = self._starts[begin:end]

    def runs(self) -> list[DepthRun]:
        """Where each client's depths change."""
        depths = self._depths
        runs: list[DepthRun] = []
        last_client = last_depth = -1
        for number, client in enumerate(self._clients):
            depth = depths[number] or self._depth_of(number)
            if client != last_client or depth != last_depth:
                runs.append(DepthRun(client, self._starts[number], depth))
                last_client, last_depth = client, depth
        return runs

    def _depth_of(self, number: int) -> int:
        """Follow the references of one run until a depth is known."""
        depths, below = self._depths, self._below
        path: list[int] = []
        while True:
            depth = depths[number]
            if depth == _BEING_FOUND:
                raise UpdateRefused("items in the update hang from each other in a circle")
            if depth != _UNKNOWN:
                break
            depths[number] = _BEING_FOUND
            path.append(number)
            other, other_clock = self._others[number], self._other_clocks[number]
            if other < 0:
                depth = 1 - below[number]
                break
            span = self._summary.clients.get(other)
            if span is None or not span.start <= other_clock < span.end:
                depth = self._nesting.depth(other, other_clock)
                break
            number = self._first[other] + bisect_right(self._clocks[other], other_clock) - 1
        for waiting in reversed(path):
            depth += below[waiting]
            depths[waiting] = depth
        return depth
