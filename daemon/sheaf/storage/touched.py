"""When documents last changed (node/change_times.py); for display only.

Kept in the row of the document itself. Runs on the worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.ports import TouchedRow
from sheaf.storage.damage import UNREADABLE, DamagedRow, document_digest
from sheaf.storage.session import Session


def put_touched(session: Session, rows: Iterable[TouchedRow]) -> None:
    """Note changes; of several times the last one given stays, be it earlier or later."""
    for row in rows:
        doc = session.document(row.space_id, row.doc_id)
        session.execute(
            "UPDATE documents SET updated_ms = ?, digest = ? WHERE doc = ?",
            (row.updated_ms, document_digest(row.space_id, row.doc_id, row.updated_ms), doc),
        )


def touched(session: Session, space_id: SpaceId) -> Sequence[TouchedRow]:
    """Every document that was ever changed."""
    found = []
    for doc, doc_id, updated_ms, digest in session.rows(
        "SELECT doc, doc_id, updated_ms, digest FROM documents WHERE space = ?",
        (session.find_space(space_id),),
    ):
        if not _is_sound(space_id, doc_id, updated_ms, digest):
            session.damage.note(DamagedRow("documents", str(doc), space_id))
        elif updated_ms > 0:
            found.append(TouchedRow(space_id, DocId(doc_id), updated_ms))
    return found


def _is_sound(space_id: SpaceId, doc_id: object, updated_ms: object, digest: object) -> bool:
    if not isinstance(doc_id, bytes) or not isinstance(updated_ms, int) or len(doc_id) != DocId.SIZE:
        return False
    try:
        return document_digest(space_id, doc_id, updated_ms) == digest
    except UNREADABLE:
        return False
