"""Which logs touch a document, and how far (for delivery). Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Sequence

from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.storage.session import Session


def document_frontier(session: Session, space_id: SpaceId, doc_id: DocId) -> dict[LogId, int]:
    """By log, the seq after the last opened envelope that touches the document. Seeks once per log."""
    doc = session.find_document(space_id, doc_id)
    frontier: dict[LogId, int] = {}
    log = -1
    while True:
        found = session.row(
            "SELECT log, (SELECT max(seq) FROM envelope_documents b WHERE b.doc = a.doc AND b.log = a.log)"
            " FROM envelope_documents a WHERE doc = ? AND log > ? ORDER BY log LIMIT 1",
            (doc, log),
        )
        if found is None:
            return frontier
        log, last = found
        name = session.row("SELECT log_id FROM logs WHERE log = ?", (log,))
        if name is not None and len(name[0]) == LogId.SIZE:
            frontier[LogId(name[0])] = last + 1


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
