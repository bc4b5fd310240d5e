"""Which logs touch a document, and how far (for delivery). Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.storage import envelope_log
from sheaf.storage.damage import DamagedRow
from sheaf.storage.session import Session, goes_on


def document_frontier(session: Session, space_id: SpaceId, doc_id: DocId) -> dict[LogId, int]:
    """By log, the seq after the last opened envelope that touches the document. Seeks once per log."""
    doc = session.find_document(space_id, doc_id)
    frontier: dict[LogId, int] = {}
    log = -1
    while True:
        found = session.row(
            "SELECT log FROM envelope_documents WHERE doc = ? AND log > ? ORDER BY log LIMIT 1", (doc, log)
        )
        if found is None:
            return frontier
        if not goes_on((log,), found):
            session.damage.note(DamagedRow("envelope_documents", f"after log {log}", space_id, doc_id=doc_id))
            return frontier
        (log,) = found
        last = _last_sound(session, space_id, doc_id, (doc, log))
        if last is not None:
            frontier[last[0]] = last[1] + 1


def _last_sound(
    session: Session, space_id: SpaceId, doc_id: DocId, key: tuple[int | None, int]
) -> tuple[LogId, int] | None:
    """The last envelope of one log that itself names the document: what is handed out here becomes
    a signed receipt, and the index has no digest."""
    rows = session.stream(
        f"SELECT l.log_id, {envelope_log.COLUMNS} FROM envelope_documents d"
        " JOIN envelopes e ON e.ord = d.ord JOIN logs l ON l.log = e.log"
        " WHERE d.doc = ? AND d.log = ? ORDER BY d.seq DESC, d.ord DESC",
        key,
    )
    with closing(rows):
        for log_id, *stored in rows:
            row = envelope_log.sound_envelope(session, space_id, log_id, stored)
            if row is not None and doc_id in row.documents:
                return row.log_id, row.seq
    return None


def document_counts(
    session: Session, space_id: SpaceId, doc_id: DocId, above: Sequence[tuple[LogId, int]]
) -> list[int]:
    """For each (log, seq): how many opened envelopes of the log from seq on touch the document."""
    doc = session.find_document(space_id, doc_id)
    counts = []
    for log_id, seq in above:
        row = session.row(
            "SELECT count(DISTINCT seq) FROM envelope_documents WHERE doc = ? AND log = ? AND seq >= ?",
            (doc, session.find_log(space_id, log_id), seq),
        )
        counts.append(0 if row is None else int(row[0]))
    return counts
