"""Control ops and epoch secrets (PROTOCOL §4). Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import EpochId, OpId, SpaceId
from sheaf.ports import EpochSecretRow, OpRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_ops(session: Session, rows: Iterable[OpRow]) -> None:
    """Append ops; a known op_id is left alone. The caller puts parents first."""
    session.execute_many(
        "INSERT INTO ops (space, op_id, raw, digest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (space, op_id) DO NOTHING",
        ((session.space(row.space_id), row.op_id, row.raw, row_digest("ops", row)) for row in rows),
    )


def ops(session: Session, space_id: SpaceId) -> Sequence[OpRow]:
    """All control ops of a space, in the order they were stored."""
    return session.sound_rows(
        "ops",
        space_id,
        "SELECT op_id, raw, digest FROM ops WHERE space = ? ORDER BY ord",
        lambda op_id, raw: OpRow(space_id, OpId(op_id), raw),
    )


def put_epoch_secrets(session: Session, rows: Iterable[EpochSecretRow]) -> None:
    """Insert or update the secrets of epochs."""
    session.execute_many(
        "INSERT INTO epoch_secrets (space, epoch_id, secret, digest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (space, epoch_id) DO UPDATE SET secret = excluded.secret, digest = excluded.digest",
        (
            (session.space(row.space_id), row.epoch_id, row.secret, row_digest("epoch_secrets", row))
            for row in rows
        ),
    )


def epoch_secrets(session: Session, space_id: SpaceId) -> Sequence[EpochSecretRow]:
    """All epoch secrets held for a space."""
    return session.sound_rows(
        "epoch_secrets",
        space_id,
        "SELECT epoch_id, secret, digest FROM epoch_secrets WHERE space = ? ORDER BY epoch_id",
        lambda epoch_id, secret: EpochSecretRow(space_id, EpochId(epoch_id), secret),
    )
