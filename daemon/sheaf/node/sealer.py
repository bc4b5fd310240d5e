"""Seals local edits into envelopes, late (PROTOCOL §3 "Sealing").

Edits wait here, durable as `pending` rows, until somebody could receive them. Then
everything that waits is merged per document and sealed in one go, in the same
transaction as the newest edit. While a transaction is in flight the next edits gather,
so a burst becomes few envelopes and a lone keystroke is never held back (decision 0040).

Must not know peers or sockets; the space's host says whether anybody is listening.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.crdt.replica import merge_updates
from sheaf.core.space.log_writer import LogWriter
from sheaf.core.space.payload import PayloadItem, PayloadKind
from sheaf.core.space.run import IngestedEnvelope
from sheaf.node.space_rows import envelope_row, log_rows
from sheaf.node.unit_of_work import UnitOfWork
from sheaf.ports import PendingRow

MERGED_BYTES_MAX: Final = 64 * 1024
"""So much of a document's edits becomes one update; 64 KiB are merged in some 10 ms."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: PendingRow
    is_stored: bool


class Sealer:
    """The local edits of one space that are in no envelope yet."""

    def __init__(self, *, space_id: SpaceId, writer: LogWriter, restored: Sequence[PendingRow]) -> None:
        self._space_id = space_id
        self._writer = writer
        self._waiting: list[_Waiting] = [_Waiting(row, True) for row in restored]
        self._on_the_way: Counter[DocId] = Counter()
        """Edits in envelopes whose transaction is under way."""

    @property
    def waiting_count(self) -> int:
        """Local edits no peer can have yet."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """How much they are."""
        return sum(len(waiting.row.update) for waiting in self._waiting)

    def add(self, row: PendingRow) -> None:
        """A new local edit; it reaches the disk with the unit being filled."""
        self._waiting.append(_Waiting(row, False))

    def waiting_of(self, doc_id: DocId) -> list[bytes]:
        """The waiting updates of one document, oldest first."""
        return [waiting.row.update for waiting in self._waiting if waiting.row.doc_id == doc_id]

    def unsettled_count(self, doc_id: DocId | None = None) -> int:
        """Edits, of one document or all, that stand in no durable envelope."""
        if doc_id is None:
            return len(self._waiting) + self._on_the_way.total()
        waiting = sum(waiting.row.doc_id == doc_id for waiting in self._waiting)
        return waiting + self._on_the_way[doc_id]

    def store_into(self, unit: UnitOfWork) -> None:
        """Nobody listens: keep what is new as pending rows."""
        unit.batch.pending.extend(waiting.row for waiting in self._waiting if not waiting.is_stored)
        self._waiting = [
            waiting if waiting.is_stored else _Waiting(waiting.row, True) for waiting in self._waiting
        ]

    def seal_into(self, unit: UnitOfWork) -> list[IngestedEnvelope]:
        """Somebody listens: turn everything that waits into envelopes of this unit."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, []
        sealed: list[IngestedEnvelope] = []
        for agent, group in groupby(waiting, key=lambda entry: entry.row.agent):
            rows = [entry.row for entry in group]
            result = self._writer.seal(_items(rows), hlc_ms=rows[-1].hlc_ms, agent=agent)
            sealed.extend(result.envelopes)
            unit.batch.logs.extend(log_rows(self._space_id, result.log_states))
        unit.batch.envelopes.extend(envelope_row(self._space_id, each) for each in sealed)
        unit.batch.pending_done.extend(entry.row.pending_id for entry in waiting if entry.is_stored)
        sealing = Counter(entry.row.doc_id for entry in waiting)
        self._on_the_way += sealing
        unit.done.append(lambda: self._settled(sealing))
        return sealed

    def _settled(self, sealed: Counter[DocId]) -> None:
        self._on_the_way -= sealed


def _items(rows: Sequence[PendingRow]) -> list[PayloadItem]:
    by_document: dict[DocId, list[bytes]] = {}
    for row in rows:
        by_document.setdefault(row.doc_id, []).append(row.update)
    return [
        PayloadItem(doc_id, PayloadKind.UPDATE, update)
        for doc_id, updates in by_document.items()
        for group in _groups(updates)
        for update in _merged(group)
    ]


def _groups(updates: Sequence[bytes]) -> list[list[bytes]]:
    """What is merged with each other: merging takes time on the loop and saves little for large updates."""
    groups: list[list[bytes]] = []
    room = 0
    for update in updates:
        if len(update) > room:
            groups.append([])
            room = MERGED_BYTES_MAX
        groups[-1].append(update)
        room -= len(update)
    return groups


def _merged(updates: list[bytes]) -> list[bytes]:
    if len(updates) == 1:
        return updates
    try:
        return [merge_updates(updates)]
    except UpdateRefused:  # a hole between two of them is no error: they go as they are
        return updates
