"""When documents last changed, by their authors' clocks; for display only.

Kept in the row of the document itself and without a digest: a wrong time harms nobody.
Runs on the worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.ports import TouchedRow
from sheaf.storage.session import Session


def put_touched(session: Session, rows: Iterable[TouchedRow]) -> None:
    """Note changes; of several times the latest stays."""
    for row in rows:
        doc = session.document(row.space_id, row.doc_id)
        session.execute(
            "UPDATE documents SET updated_ms = max(updated_ms, ?) WHERE doc = ?", (row.updated_ms, doc)
        )


def touched(session: Session, space_id: SpaceId) -> Sequence[TouchedRow]:
    """Every document that was ever changed."""
    rows = session.rows(
        "SELECT doc_id, updated_ms FROM documents WHERE space = ? AND updated_ms > 0",
        (session.find_space(space_id),),
    )
    return [
        TouchedRow(space_id, DocId(doc_id), updated_ms)
        for doc_id, updated_ms in rows
        if len(doc_id) == DocId.SIZE  # damaged otherwise; the document's rows will tell
    ]
