"""Invitations issued by this device (PROTOCOL §8). Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from sheaf.core.base.ids import OpId, SpaceId
from sheaf.ports import InvitationRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_invitations(session: Session, rows: Iterable[InvitationRow]) -> None:
    """Insert or replace invitations."""
    session.execute_many(
        "INSERT OR REPLACE INTO invitations (space, op_id, secret, ticket, role, created_ms, expires_ms,"
        " uses_max, is_revoked, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                session.space(row.space_id),
                row.op_id,
                row.secret,
                row.ticket,
                row.role,
                row.created_ms,
                row.expires_ms,
                row.uses_max,
                row.is_revoked,
                row_digest("invitations", row),
            )
            for row in rows
        ),
    )


def invitations(session: Session, space_id: SpaceId) -> Sequence[InvitationRow]:
    """All invitations of a space, oldest first."""
    return session.sound_rows(
        "invitations",
        space_id,
        "SELECT op_id, secret, ticket, role, created_ms, expires_ms, uses_max, is_revoked, digest"
        " FROM invitations WHERE space = ? ORDER BY created_ms, op_id",
        partial(_row, space_id),
    )


def _row(
    space_id: SpaceId,
    op_id: bytes,
    secret: bytes,
    ticket: str,
    role: str,
    created_ms: int,
    expires_ms: int | None,
    uses_max: int,
    is_revoked: int,
) -> InvitationRow:
    return InvitationRow(
        space_id, OpId(op_id), secret, ticket, role, created_ms, expires_ms, uses_max, bool(is_revoked)
    )
