"""Spaces, and forgetting one. Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from sheaf.core.base.ids import SpaceId
from sheaf.ports import SpaceRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session

_BY_SPACE: Final = (
    "ops",
    "epoch_secrets",
    "invitations",
    "peers",
    "claims",
    "quarantine",
)


def put_spaces(session: Session, rows: Iterable[SpaceRow]) -> None:
    """Insert or update spaces."""
    session.execute_many(
        "INSERT INTO spaces (space_id, state, created_ms, digest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (space_id) DO UPDATE SET state = excluded.state,"
        " created_ms = excluded.created_ms, digest = excluded.digest",
        ((row.space_id, row.state, row.created_ms, row_digest("spaces", row)) for row in rows),
    )


def spaces(session: Session) -> Sequence[SpaceRow]:
    """All spaces, in the order they were first stored."""
    found = []
    for space_id, state, created_ms, digest in session.rows(
        "SELECT space_id, state, created_ms, digest FROM spaces ORDER BY space"
    ):
        build = partial(_space_row, space_id, state, created_ms)
        row = session.damage.sound("spaces", space_id, build, digest, None)
        if row is not None:
            found.append(row)
    return found


def _space_row(space_id: bytes, state: str, created_ms: int) -> SpaceRow:
    return SpaceRow(SpaceId(space_id), state, created_ms)


def forget_space(session: Session, space_id: SpaceId) -> None:
    """Delete every row of a space, children before parents."""
    space = session.find_space(space_id)
    if space is None:
        return
    for table in ("pending", "snapshots", "envelope_documents"):
        session.execute(
            f"DELETE FROM {table} WHERE doc IN (SELECT doc FROM documents WHERE space = ?)", (space,)
        )
    session.execute("DELETE FROM envelopes WHERE log IN (SELECT log FROM logs WHERE space = ?)", (space,))
    for table in (*_BY_SPACE, "logs", "documents", "spaces"):
        session.execute(f"DELETE FROM {table} WHERE space = ?", (space,))
    session.forget_keys()
