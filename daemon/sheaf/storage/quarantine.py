"""Envelopes kept out of their documents (PROTOCOL §3, acceptance). Runs on the worker thread.

The reasons are here. What keeps an envelope out is a mark in its own row, under that row's
digest: a damaged entry here lets nothing in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import EnvId, LogId, SpaceId
from sheaf.ports import QuarantineRow
from sheaf.storage import envelope_log
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_quarantine(session: Session, rows: Iterable[QuarantineRow]) -> None:
    """Keep envelopes out of their documents; an empty reason lets one in again."""
    for row in rows:
        space = session.space(row.space_id)
        session.execute("DELETE FROM quarantine WHERE space = ? AND env_id = ?", (space, row.env_id))
        if row.reason:
            session.execute(
                "INSERT INTO quarantine (space, env_id, log_id, seq, reason, digest)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (space, row.env_id, row.log_id, row.seq, row.reason, row_digest("quarantine", row)),
            )
        envelope_log.mark(session, row, is_quarantined=bool(row.reason))


def quarantined(session: Session, space_id: SpaceId) -> Sequence[QuarantineRow]:
    """All envelopes kept out, by log and seq."""
    return session.sound_rows(
        "quarantine",
        space_id,
        "SELECT env_id, log_id, seq, reason, digest FROM quarantine"
        " WHERE space = ? ORDER BY log_id, seq, env_id",
        lambda env_id, log_id, seq, reason: QuarantineRow(
            space_id, LogId(log_id), seq, EnvId(env_id), reason
        ),
    )
