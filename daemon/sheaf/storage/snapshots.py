"""Local caches of whole documents (ports.SnapshotRow). Runs on the worker thread.

A damaged one is as good as none: the document is built from its envelopes.
"""

from __future__ import annotations

from collections.abc import Iterable

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.ports import SnapshotRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_snapshots(session: Session, rows: Iterable[SnapshotRow]) -> None:
    """Insert or replace the snapshots of documents."""
    session.execute_many(
        "INSERT INTO snapshots (doc, covers, digest, content) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (doc) DO UPDATE SET"
        " covers = excluded.covers, digest = excluded.digest, content = excluded.content",
        (
            (
                session.document(row.space_id, row.doc_id),
                row.covers,
                row_digest("snapshots", row),
                row.update,
            )
            for row in rows
        ),
    )


def snapshot(session: Session, space_id: SpaceId, doc_id: DocId) -> SnapshotRow | None:
    """The snapshot of a document, or None when there is none or it is damaged."""
    doc = session.find_document(space_id, doc_id)
    stored = session.row("SELECT content, covers, digest FROM snapshots WHERE doc = ?", (doc,))
    if stored is None:
        return None
    *columns, digest = stored
    return session.damage.sound(
        "snapshots", doc_id, lambda: SnapshotRow(space_id, doc_id, *columns), digest, space_id
    )
