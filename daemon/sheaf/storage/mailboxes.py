"""Receipts by device, and what is remembered of mailboxes (PROTOCOL §7). Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.ports import MailboxRow, ReceiptRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_receipts(session: Session, rows: Iterable[ReceiptRow]) -> None:
    """Insert or replace what devices said."""
    session.execute_many(
        "INSERT OR REPLACE INTO receipts (space, device_id, state, digest) VALUES (?, ?, ?, ?)",
        (
            (session.space(row.space_id), row.device_id, row.state, row_digest("receipts", row))
            for row in rows
        ),
    )


def receipts(session: Session, space_id: SpaceId) -> Sequence[ReceiptRow]:
    """What every device of a space said."""
    return session.sound_rows(
        "receipts",
        space_id,
        "SELECT device_id, state, digest FROM receipts WHERE space = ? ORDER BY device_id",
        lambda device_id, state: ReceiptRow(space_id, DeviceId(device_id), state),
    )


def put_mailboxes(session: Session, rows: Iterable[MailboxRow]) -> None:
    """Insert or replace what is remembered of mailboxes."""
    session.execute_many(
        "INSERT OR REPLACE INTO mailboxes (space, url, mailbox_id, state, digest) VALUES (?, ?, ?, ?, ?)",
        (
            (
                session.space(row.space_id),
                row.url,
                row.mailbox_id,
                row.state,
                row_digest("mailboxes", row),
            )
            for row in rows
        ),
    )


def mailboxes(session: Session, space_id: SpaceId) -> Sequence[MailboxRow]:
    """What is remembered of the mailboxes of a space."""
    return session.sound_rows(
        "mailboxes",
        space_id,
        "SELECT mailbox_id, url, state, digest FROM mailboxes WHERE space = ? ORDER BY url, mailbox_id",
        lambda mailbox_id, url, state: MailboxRow(space_id, url, mailbox_id, state),
    )
