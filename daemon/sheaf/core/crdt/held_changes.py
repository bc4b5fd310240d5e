"""Changes that cannot go into a document yet, and the order in which they can (PROTOCOL §3, decision 0069).

A tab may hold structs that its daemon cannot take: what they build on is in an envelope that has not come,
or another device wrote them, and only its envelopes may bring them. They wait here, outside any Y.Doc;
whatever can go in is handed out in causal order and in pieces. `split_update` sends a large state in the
same order, bit by bit.

Must not import pycrdt, and knows nothing of tabs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Final

from sheaf.core.base.limits import KIB
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.update_runs import BACKLOG_LIMITS, Ranges, Run, TakenApart, put_together, take_apart

PIECE_BYTES: Final = 256 * KIB
"""A piece is about this long; more only when one struct is."""
_DELETES_PER_PIECE: Final = 16_384
_CLOCK: Final = attrgetter("clock")

ClockOf = Callable[[int], int]
"""By client id, the first clock a document does not have."""
IsForeign = Callable[[int], bool]
"""Whether a client id belongs to another device, so that only its envelopes may add to it."""


class HeldChanges:
    """What waits. Invariant: the runs of each client are in the order of their clocks."""

    def __init__(self) -> None:
        self._runs: dict[int, list[Run]] = {}
        self._deletes: dict[int, Ranges] = {}
        self.wanted: dict[int, int] = {}
        """By client, a clock that would let something go in; as of the last `take_ready`."""
        self.has_own = False
        """Something that waits was written here, as of the last `take_ready`."""

    def __bool__(self) -> bool:
        return bool(self._runs or self._deletes)

    @property
    def byte_count(self) -> int:
        """About how much memory the content takes."""
        runs = sum(len(run.data) + 64 for runs in self._runs.values() for run in runs)
        return runs + 16 * sum(map(len, self._deletes.values()))

    @property
    def change_count(self) -> int:
        """Structs and deletions that wait."""
        structs = sum(run.count for runs in self._runs.values() for run in runs)
        return structs + sum(map(len, self._deletes.values()))

    def clear(self) -> None:
        """Let go of everything but `wanted`."""
        self._runs, self._deletes = {}, {}
        self.has_own = False

    def add(self, taken: TakenApart, *, is_state: bool = False) -> None:
        """More that waits; what is here already is not kept twice.

        `is_state`: it is all that its tab has. Then no struct behind a hole was written there.
        """
        for run in taken.runs:
            run.is_from_state = is_state
            runs = self._runs.setdefault(run.client, [])
            at = bisect_right(runs, run.clock, key=_CLOCK)
            if at and runs[at - 1].end >= run.end:
                continue
            runs.insert(at, run)
        for client, ranges in taken.deletes.items():
            known = self._deletes.setdefault(client, [])
            known += set(ranges).difference(known)

    def take_ready(self, clock_of: ClockOf, is_foreign: IsForeign) -> list[bytes]:
        """Take out everything that a document at these clocks can take, as updates in causal order."""
        order = _CausalOrder(self._runs, clock_of, is_foreign)
        ready = order.ready()
        self._runs = order.blocked
        self.wanted, self.has_own = order.wanted, order.has_own
        deletes, self._deletes = _divide(self._deletes, order.reached)
        for client, ranges in self._deletes.items():
            self.wanted.setdefault(client, min(clock for clock, _ in ranges) + 1)
        return _pieces(ready, deletes)


class _CausalOrder:
    """One pass over what waits; each client's runs go until one lacks something."""

    def __init__(self, runs: Mapping[int, list[Run]], clock_of: ClockOf, is_foreign: IsForeign) -> None:
        self._clock_of = clock_of
        self._is_foreign = is_foreign
        self._queues = {client: deque(waiting) for client, waiting in runs.items()}
        self._clocks: dict[int, int] = {}
        self._waiters: dict[int, list[int]] = {}
        self.wanted: dict[int, int] = {}
        self.has_own = False
        self.blocked: dict[int, list[Run]] = {}

    def reached(self, client: int) -> int:
        """The first clock of a client that is missing, with everything ready gone in."""
        known = self._clocks.get(client)
        return self._clock_of(client) if known is None else known

    def ready(self) -> list[Run]:
        """The runs that can go in, in order; then `blocked`, `wanted` and `has_own` are the rest."""
        ready: list[Run] = []
        turns = deque(sorted(self._queues))
        while turns:
            client = turns.popleft()
            before = self.reached(client)
            self._advance(client, ready)
            if self.reached(client) > before:
                turns.extend(self._waiters.pop(client, ()))
        for client, queue in self._queues.items():
            if queue:
                self.blocked[client] = list(queue)
                self._explain(client, queue[0])
        return ready

    def _advance(self, client: int, ready: list[Run]) -> None:
        queue = self._queues[client]
        while queue:
            run, clock = queue[0], self.reached(client)
            if run.end <= clock:
                queue.popleft()
                continue
            if run.clock > clock or self._is_foreign(client):
                return
            lacking = self._lacking(run)
            if lacking is not None:
                self._waiters.setdefault(lacking, []).append(client)
                return
            queue.popleft()
            ready.append(run)
            self._clocks[client] = run.end

    def _lacking(self, run: Run) -> int | None:
        return next((client for client, clock in run.needs.items() if self.reached(client) < clock), None)

    def _explain(self, client: int, run: Run) -> None:
        """Why the client's next run waits, and whether it may be the tab's own."""
        clock = self.reached(client)
        if self._is_foreign(client) or run.clock > clock:
            self.wanted[client] = clock + 1
            self.has_own = self.has_own or not (self._is_foreign(client) or run.is_from_state)
            return
        self.has_own = True
        for other, needed in run.needs.items():
            if self.reached(other) < needed:
                self.wanted[other] = max(needed, self.wanted.get(other, 0))


def split_update(update: bytes) -> list[bytes]:
    """Several updates with the effect of one, each building only on those before it.

    Args:
        update: made by our own document; what it builds on is where it goes.
    """
    inspect_update(update, limits=BACKLOG_LIMITS)
    taken = take_apart(update)
    starts: dict[int, int] = {}
    for run in taken.runs:
        starts.setdefault(run.client, run.clock)
    held = HeldChanges()
    held.add(TakenApart(taken.runs), is_state=True)
    pieces = held.take_ready(lambda client: starts.get(client, _EVERYTHING), lambda _: False)
    if held:
        return [update]
    return pieces + _pieces([], taken.deletes)


_EVERYTHING: Final = 1 << 62


def _divide(deletes: Mapping[int, Ranges], reached: ClockOf) -> tuple[dict[int, Ranges], dict[int, Ranges]]:
    """The deletions of what is there, and the others."""
    ready: dict[int, Ranges] = {}
    rest: dict[int, Ranges] = {}
    for client, ranges in deletes.items():
        end = reached(client)
        for clock, length in ranges:
            there = min(max(end - clock, 0), length)
            if there:
                ready.setdefault(client, []).append((clock, there))
            if there < length:
                rest.setdefault(client, []).append((clock + there, length - there))
    return ready, rest


def _pieces(runs: list[Run], deletes: Mapping[int, Ranges]) -> list[bytes]:
    groups: list[list[Run]] = []
    size = 0
    for run in runs:
        if not groups or size + len(run.data) > PIECE_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(run)
        size += len(run.data)
    parts = _portions(deletes)
    last = groups.pop() if groups else []
    pieces = [put_together(group, {}) for group in groups]
    if last or parts:
        pieces.append(put_together(last, parts[0] if parts else {}))
    return pieces + [put_together([], part) for part in parts[1:]]


def _portions(deletes: Mapping[int, Ranges]) -> list[dict[int, Ranges]]:
    portions: list[dict[int, Ranges]] = []
    room = 0
    for client, ranges in deletes.items():
        for at in range(0, len(ranges), _DELETES_PER_PIECE):
            some = ranges[at : at + _DELETES_PER_PIECE]
            if len(some) > room or client in portions[-1]:
                portions.append({})
                room = _DELETES_PER_PIECE
            portions[-1][client] = some
            room -= len(some)
    return portions
