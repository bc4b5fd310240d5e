"""Author logs: genesis and what is needed to continue verifying (PROTOCOL §3). On the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import LogId, SpaceId
from sheaf.ports import LogRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_logs(session: Session, rows: Iterable[LogRow]) -> None:
    """Insert or update logs."""
    session.execute_many(
        "INSERT INTO logs (space, log_id, genesis, next_seq, state, digest) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (space, log_id) DO UPDATE SET genesis = excluded.genesis,"
        " next_seq = excluded.next_seq, state = excluded.state, digest = excluded.digest",
        (
            (
                session.space(row.space_id),
                row.log_id,
                row.genesis,
                row.next_seq,
                row.state,
                row_digest("logs", row),
            )
            for row in rows
        ),
    )


def logs(session: Session, space_id: SpaceId) -> Sequence[LogRow]:
    """All logs of a space, in the order they were first stored."""
    return session.sound_rows(
        "logs",
        space_id,
        "SELECT log_id, genesis, next_seq, state, digest FROM logs WHERE space = ? ORDER BY log",
        lambda log_id, genesis, next_seq, state: LogRow(space_id, LogId(log_id), genesis, next_seq, state),
    )
