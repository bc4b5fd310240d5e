"""Takes updates apart into runs of structs, and puts updates together from them (PROTOCOL §3).

A run is some structs of one client that follow each other and wait for the same things. Only bytes that
`inspect_update` has accepted (with `BACKLOG_LIMITS`, so holes may be in them) are read here. Copies bytes and
never builds a value; must not import pycrdt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import UpdateTooBig
from sheaf.core.base.limits import BACKLOG_BYTES_MAX, KIB
from sheaf.core.crdt.inspector import skip_content
from sheaf.core.crdt.lib0 import read_string, read_uvar, skip_bytes, utf16_length
from sheaf.core.crdt.state_vector import encode_uvar
from sheaf.core.crdt.update_summary import UpdateLimits

BACKLOG_LIMITS: Final = UpdateLimits(bytes_max=BACKLOG_BYTES_MAX, has_holes=True)
"""What a tab may bring back at once. It is taken apart before it reaches a document."""
RUNS_MAX: Final = 400_000
RUN_BYTES: Final = 64 * KIB
"""A run ends when it is longer than this; a longer text is cut."""
_GC, _STRING, _SKIP = 0, 4, 10
_HAS_LEFT, _HAS_RIGHT, _HAS_KEY = 0x80, 0x40, 0x20
_REF_MASK: Final = 0x1F

Ranges = list[tuple[int, int]]


@dataclass(slots=True)
class Run:
    """Structs of one client from `clock` up to `end`.

    `needs`: by client, the clock a document must have reached first (other clients' only).
    """

    client: int
    clock: int
    end: int
    count: int
    data: bytes
    needs: Mapping[int, int]
    is_from_state: bool = False
    """It came with everything its tab has, so a hole before it is one in the tab."""


@dataclass(slots=True)
class TakenApart:
    """One update: its runs in the order of the update, and by client the (clock, length) it deletes."""

    runs: list[Run] = field(default_factory=list)
    deletes: dict[int, Ranges] = field(default_factory=dict)


def take_apart(update: bytes) -> TakenApart:
    """The runs and deletions of an accepted update.

    Raises:
        UpdateTooBig: it has too many runs.
    """
    taken = TakenApart()
    clients, pos = read_uvar(update, 0)
    for _ in range(clients):
        count, pos = read_uvar(update, pos)
        client, pos = read_uvar(update, pos)
        clock, pos = read_uvar(update, pos)
        pos = _Section(update, client, taken.runs).read(pos, clock, count)
    clients, pos = read_uvar(update, pos)
    for _ in range(clients):
        client, pos = read_uvar(update, pos)
        count, pos = read_uvar(update, pos)
        ranges = taken.deletes.setdefault(client, [])
        for _ in range(count):
            clock, pos = read_uvar(update, pos)
            length, pos = read_uvar(update, pos)
            ranges.append((clock, length))
    return taken


def put_together(runs: Iterable[Run], deletes: Mapping[int, Sequence[tuple[int, int]]]) -> bytes:
    """One update from runs; those of one client must follow each other without a hole."""
    sections: dict[int, list[Run]] = {}
    for run in runs:
        sections.setdefault(run.client, []).append(run)
    out = [encode_uvar(len(sections))]
    for client, section in sections.items():
        count = sum(run.count for run in section)
        out += (encode_uvar(count), encode_uvar(client), encode_uvar(section[0].clock))
        out += (run.data for run in section)
    out.append(encode_uvar(len(deletes)))
    for client, ranges in deletes.items():
        out += (encode_uvar(client), encode_uvar(len(ranges)))
        for clock, length in ranges:
            out += (encode_uvar(clock), encode_uvar(length))
    return b"".join(out)


class _Section:
    """The structs of one client, being gathered into runs."""

    def __init__(self, update: bytes, client: int, runs: list[Run]) -> None:
        self._update = update
        self._client = client
        self._runs = runs
        self._start = self._clock = self._count = 0
        self._from = self._to = 0
        self._needs: dict[int, int] = {}

    def read(self, pos: int, clock: int, count: int) -> int:
        """Read `count` structs; returns the position after them."""
        update = self._update
        self._begin(pos, clock)
        for _ in range(count):
            start = pos
            info = update[pos]
            ref = info & _REF_MASK
            if ref in (_GC, _SKIP):
                length, pos = read_uvar(update, pos + 1)
                if ref == _SKIP:
                    self._end_run()
                    self._begin(pos, self._clock + length)
                    continue
                needs: dict[int, int] = {}
            else:
                needs, content, right = self._read_place(pos + 1, info)
                if ref == _STRING:
                    text, pos = read_string(update, content)
                    if pos - start > RUN_BYTES:
                        self._cut(start, content, text, info, right, needs)
                        self._begin(pos, self._clock)
                        continue
                    length = len(text) if text.isascii() else utf16_length(text)
                else:
                    length, pos = skip_content(update, content, ref)
            if any(self._needs.get(client, 0) < wanted for client, wanted in needs.items()):
                self._end_run()
                self._begin(start, self._clock)
                self._needs = needs
            self._clock += length
            self._count += 1
            self._to = pos
            if pos - self._from > RUN_BYTES:
                self._end_run()
                self._begin(pos, self._clock)
        self._end_run()
        return pos

    def _begin(self, pos: int, clock: int) -> None:
        self._from = self._to = pos
        self._start = self._clock = clock
        self._count = 0
        self._needs = {}

    def _end_run(self) -> None:
        if self._count:
            data = self._update[self._from : self._to]
            self._add(Run(self._client, self._start, self._clock, self._count, data, self._needs))

    def _add(self, run: Run) -> None:
        if len(self._runs) >= RUNS_MAX:
            raise UpdateTooBig("the update has too many parts")
        self._runs.append(run)

    def _read_place(self, pos: int, info: int) -> tuple[dict[int, int], int, bytes]:
        """What an item waits for, where its content begins, and its right neighbour as it is written."""
        update = self._update
        needs: dict[int, int] = {}
        right = b""
        if info & _HAS_LEFT:
            pos = self._read_id(pos, needs)
        if info & _HAS_RIGHT:
            start = pos
            pos = self._read_id(pos, needs)
            right = update[start:pos]
        if not info & (_HAS_LEFT | _HAS_RIGHT):
            by_name, pos = read_uvar(update, pos)
            pos = skip_bytes(update, pos) if by_name else self._read_id(pos, needs)
            if info & _HAS_KEY:
                pos = skip_bytes(update, pos)
        return needs, pos, right

    def _read_id(self, pos: int, needs: dict[int, int]) -> int:
        client, pos = read_uvar(self._update, pos)
        clock, pos = read_uvar(self._update, pos)
        if client != self._client and clock >= needs.get(client, 0):
            needs[client] = clock + 1
        return pos

    def _cut(
        self, start: int, content: int, text: str, info: int, right: bytes, needs: Mapping[int, int]
    ) -> None:
        """A long text becomes several items, each the left neighbour of the next, as Yjs would split it."""
        self._end_run()
        head = self._update[start:content]
        for at in range(0, len(text), RUN_BYTES):
            part = text[at : at + RUN_BYTES]
            end = self._clock + (len(part) if part.isascii() else utf16_length(part))
            encoded = part.encode()
            data = b"".join((head, encode_uvar(len(encoded)), encoded))
            self._add(Run(self._client, self._clock, end, 1, data, needs))
            self._clock = end
            left = encode_uvar(self._client) + encode_uvar(end - 1)
            head = bytes((_HAS_LEFT | (info & _HAS_RIGHT) | _STRING,)) + left + right
