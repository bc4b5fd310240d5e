"""Local edits that are durable but not sealed yet (PROTOCOL §3, sealing). On the worker thread.

The only copy of somebody's words until they are in an envelope, hence a digest per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.ports import PendingRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Row, Session

# Without the index, so that damage to it cannot hide what may be the only copy of somebody's words.
_ALL: Final = "pending p NOT INDEXED LEFT JOIN documents d ON d.doc = p.doc"
_COLUMNS: Final = "p.pending_id, d.doc_id, p.content, p.hlc_ms, p.agent, p.digest"


def put_pending(session: Session, rows: Iterable[PendingRow]) -> None:
    """Insert or replace pending edits by their id."""
    session.execute_many(
        "INSERT INTO pending (pending_id, doc, hlc_ms, agent, digest, content) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (pending_id) DO UPDATE SET doc = excluded.doc, hlc_ms = excluded.hlc_ms,"
        " agent = excluded.agent, digest = excluded.digest, content = excluded.content",
        (
            (
                row.pending_id,
                session.document(row.space_id, row.doc_id),
                row.hlc_ms,
                row.agent,
                row_digest("pending", row),
                row.update,
            )
            for row in rows
        ),
    )


def drop_pending(session: Session, pending_ids: Iterable[int]) -> None:
    """Delete edits that are in an envelope now."""
    session.execute_many("DELETE FROM pending WHERE pending_id = ?", ((each,) for each in pending_ids))


def pending(session: Session, space_id: SpaceId) -> Sequence[PendingRow]:
    """All pending edits of a space, oldest first."""
    rows = session.rows(
        f"SELECT {_COLUMNS} FROM {_ALL} WHERE d.space = ? OR d.doc IS NULL ORDER BY p.pending_id",
        (session.find_space(space_id),),
    )
    return _sound(session, space_id, rows)


def pending_of(session: Session, space_id: SpaceId, doc_id: DocId) -> Sequence[PendingRow]:
    """The pending edits of one document, oldest first."""
    rows = session.rows(
        f"SELECT {_COLUMNS} FROM {_ALL} WHERE p.doc = ? ORDER BY p.pending_id",
        (session.find_document(space_id, doc_id),),
    )
    return _sound(session, space_id, rows)


def _sound(session: Session, space_id: SpaceId, rows: Iterable[Row]) -> Sequence[PendingRow]:
    found = []
    for pending_id, doc_id, update, hlc_ms, agent, digest in rows:
        build = partial(_row, space_id, pending_id, doc_id, update, hlc_ms, agent)
        row = session.damage.sound("pending", pending_id, build, digest, space_id)
        if row is not None:
            found.append(row)
    return found


def _row(
    space_id: SpaceId, pending_id: int, doc_id: bytes, update: bytes, hlc_ms: int, agent: str | None
) -> PendingRow:
    return PendingRow(pending_id, space_id, DocId(doc_id), update, hlc_ms, agent)
