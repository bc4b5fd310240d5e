"""Spaces, and forgetting one. Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from sheaf.core.base.ids import SpaceId
from sheaf.ports import SpaceRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session

FORGOTTEN: Final = "forgotten"
"""The state of a space whose rows are still being deleted; nothing finds it any more."""
PURGE_ROWS: Final = 2_000

_SMALL_TABLES: Final = (
    "epoch_secrets",
    "invitations",
    "peers",
    "claims",
    "quarantine",
    "receipts",
    "mailboxes",
)
_PURGES: Final = (
    *(
        f"DELETE FROM {table} WHERE ({key}) IN"
        f" (SELECT {key} FROM {table} JOIN {parent} USING ({via}) WHERE space = ? LIMIT ?)"
        for table, key, parent, via in (
            ("snapshots", "doc", "documents", "doc"),
            ("pending", "pending_id", "documents", "doc"),
            ("envelope_documents", "doc, log, seq, ord", "documents", "doc"),
            ("envelopes", "ord", "logs", "log"),
        )
    ),
    *(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE space = ? LIMIT ?)"
        for table, key in (("ops", "ord"), ("documents", "doc"), ("logs", "log"), ("spaces", "space"))
    ),
)
"""Children before parents; each is repeated until it finds nothing."""


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
        "SELECT space_id, state, created_ms, digest FROM spaces WHERE state <> ? ORDER BY space",
        (FORGOTTEN,),
    ):
        build = partial(_space_row, space_id, state, created_ms)
        row = session.damage.sound("spaces", space_id, build, digest, None)
        if row is not None:
            found.append(row)
    return found


def _space_row(space_id: bytes, state: str, created_ms: int) -> SpaceRow:
    return SpaceRow(SpaceId(space_id), state, created_ms)


def forget_space(session: Session, space_id: SpaceId) -> None:
    """From now on the space is unknown; its secrets go at once, its rows by and by (`purge`)."""
    space = session.find_space(space_id)
    if space is None:
        return
    for table in _SMALL_TABLES:
        session.execute(f"DELETE FROM {table} WHERE space = ?", (space,))
    session.execute(
        "UPDATE spaces SET state = ?, space_id = ? WHERE space = ?",
        (FORGOTTEN, b"forgotten %d" % space, space),
    )
    session.forget_keys()


def purge(session: Session) -> bool:
    """Delete some rows of a forgotten space. True when there is more to do.

    A million envelopes in one transaction would hold up every commit and fill the WAL.
    """
    forgotten = session.row("SELECT space FROM spaces WHERE state = ? LIMIT 1", (FORGOTTEN,))
    if forgotten is None:
        return False
    return any(session.execute(sql, (forgotten[0], PURGE_ROWS)).rowcount > 0 for sql in _PURGES)
