"""The storage port on SQLite: ports.Store, table module by table module (PROTOCOL §10).

Composes what each table module knows into transactions and reads. Long reads are taken
in slices, so that a commit never waits for more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.ports import (
    ClientClaimRow,
    Clock,
    EnvelopeRow,
    EpochSecretRow,
    InvitationRow,
    LogRow,
    MailboxRow,
    OpRow,
    PeerRow,
    PendingRow,
    QuarantineRow,
    ReceiptRow,
    SnapshotRow,
    SpaceRow,
    StoredRun,
    TouchedRow,
    WriteBatch,
)
from sheaf.storage import (
    checks,
    control_log,
    document_logs,
    envelope_log,
    invitations,
    logs,
    mailboxes,
    peers,
    pending,
    quarantine,
    settings,
    snapshots,
    spaces,
    touched,
)
from sheaf.storage.damage import DamagedRow
from sheaf.storage.database import Database, DatabaseStats, open_database
from sheaf.storage.lock import DataDirLock, lock_data_dir
from sheaf.storage.migrate import Migration, known_migrations
from sheaf.storage.progress import Progress
from sheaf.storage.session import Session


class SqliteStore:
    """ports.Store in `<data_dir>/sheaf.db`; made by `open_store`. See `Database` for its invariants."""

    def __init__(self, *, database: Database, lock: DataDirLock) -> None:
        self._database = database
        self._lock = lock

    async def commit(self, batch: WriteBatch) -> None:
        """See ports.Store. A failed batch fails those already queued behind it too."""
        if not batch.is_empty:
            await self._database.write(partial(_apply, batch=batch), payload_bytes=_payload_bytes(batch))

    async def spaces(self) -> Sequence[SpaceRow]:
        """All spaces."""
        return await self._database.read(spaces.spaces)

    async def ops(self, space_id: SpaceId) -> Sequence[OpRow]:
        """See ports.Store."""
        return await self._database.read(partial(control_log.ops, space_id=space_id))

    async def epoch_secrets(self, space_id: SpaceId) -> Sequence[EpochSecretRow]:
        """All epoch secrets held for a space."""
        return await self._database.read(partial(control_log.epoch_secrets, space_id=space_id))

    async def logs(self, space_id: SpaceId) -> Sequence[LogRow]:
        """All logs of a space."""
        return await self._database.read(partial(logs.logs, space_id=space_id))

    async def run(self, space_id: SpaceId, log_id: LogId, first_seq: int, bytes_max: int) -> StoredRun:
        """See ports.Store. Ends before a missing or damaged envelope."""
        return await self._database.read(
            partial(
                envelope_log.run, space_id=space_id, log_id=log_id, first_seq=first_seq, bytes_max=bytes_max
            )
        )

    async def envelopes_of(
        self, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]
    ) -> Sequence[EnvelopeRow]:
        """See ports.Store. Rows stored while it is read are not included."""
        orders = await self._orders_of(space_id, doc_id, after)
        found: list[EnvelopeRow] = []
        at = 0
        while part := orders[at : at + envelope_log.SLICE_ROWS]:
            rows, taken = await self._database.read(
                partial(envelope_log.envelopes_at, space_id=space_id, doc_id=doc_id, orders=part)
            )
            found += rows
            at += taken
        return found

    async def _orders_of(self, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]) -> list[int]:
        orders: list[int] = []
        position: envelope_log.Position | None = envelope_log.START
        while position is not None:
            ask = partial(envelope_log.orders_of, space_id=space_id, doc_id=doc_id, after=after)
            some, position = await self._database.read(partial(ask, position=position))
            orders += some
        return sorted(orders)

    async def unopened(self, space_id: SpaceId) -> Sequence[EnvelopeRow]:
        """Envelopes of a space that are still sealed."""
        return await self._database.read(partial(envelope_log.unopened, space_id=space_id))

    async def pending(self, space_id: SpaceId) -> Sequence[PendingRow]:
        """All pending edits of a space, oldest first."""
        return await self._database.read(partial(pending.pending, space_id=space_id))

    async def pending_of(self, space_id: SpaceId, doc_id: DocId) -> Sequence[PendingRow]:
        """The pending edits of a document, oldest first."""
        return await self._database.read(partial(pending.pending_of, space_id=space_id, doc_id=doc_id))

    async def snapshot(self, space_id: SpaceId, doc_id: DocId) -> SnapshotRow | None:
        """The snapshot of a document; None when there is none or it is damaged."""
        return await self._database.read(partial(snapshots.snapshot, space_id=space_id, doc_id=doc_id))

    async def invitations(self, space_id: SpaceId) -> Sequence[InvitationRow]:
        """All invitations of a space."""
        return await self._database.read(partial(invitations.invitations, space_id=space_id))

    async def peers(self, space_id: SpaceId) -> Sequence[PeerRow]:
        """What is remembered of the other devices of a space."""
        return await self._database.read(partial(peers.peers, space_id=space_id))

    async def claims(self, space_id: SpaceId) -> Sequence[ClientClaimRow]:
        """The claimed client ids of a space."""
        return await self._database.read(partial(peers.claims, space_id=space_id))

    async def quarantined(self, space_id: SpaceId) -> Sequence[QuarantineRow]:
        """The envelopes kept out of their documents."""
        return await self._database.read(partial(quarantine.quarantined, space_id=space_id))

    async def touched(self, space_id: SpaceId) -> Sequence[TouchedRow]:
        """When the documents of a space last changed."""
        return await self._database.read(partial(touched.touched, space_id=space_id))

    async def receipts(self, space_id: SpaceId) -> Sequence[ReceiptRow]:
        """What every device of a space said it holds."""
        return await self._database.read(partial(mailboxes.receipts, space_id=space_id))

    async def mailboxes(self, space_id: SpaceId) -> Sequence[MailboxRow]:
        """What is remembered of the mailboxes of a space."""
        return await self._database.read(partial(mailboxes.mailboxes, space_id=space_id))

    async def document_frontier(self, space_id: SpaceId, doc_id: DocId) -> dict[LogId, int]:
        """See ports.Store."""
        return await self._database.read(
            partial(document_logs.document_frontier, space_id=space_id, doc_id=doc_id)
        )

    async def document_counts(
        self, space_id: SpaceId, doc_id: DocId, above: Sequence[tuple[LogId, int]]
    ) -> Sequence[int]:
        """See ports.Store."""
        return await self._database.read(
            partial(document_logs.document_counts, space_id=space_id, doc_id=doc_id, above=above)
        )

    async def setting(self, key: str) -> bytes | None:
        """The value of a setting; None when unset or damaged."""
        return await self._database.read(partial(settings.setting, name=key))

    async def check(self) -> Sequence[str]:
        """See ports.Store. Reads everything, in slices; commits go in between."""
        return await checks.check(self._database)

    def watch(self, on_refused: Callable[[StorageFailure], None]) -> None:
        """See ports.Store."""
        self._database.on_refused = on_refused

    async def mend(self) -> None:
        """See ports.Store."""
        await self._database.mend()

    async def free_bytes(self) -> int | None:
        """See ports.Store."""
        return await self._database.free_bytes()

    def damaged(self) -> Sequence[DamagedRow]:
        """Rows found damaged by reads and checks since opening (FAULTS S7)."""
        return self._database.damage.rows()

    @property
    def stats(self) -> DatabaseStats:
        """Counters for /metrics."""
        return self._database.stats

    def started(self) -> None:
        """The daemon is up; see `open_store`."""
        self._database.started()

    async def close(self) -> None:
        """Finish what was committed, empty the WAL, release the data directory. Idempotent."""
        await self._database.close(self._lock.release)


async def open_store(
    data_dir: Path,
    *,
    clock: Clock,
    lock: DataDirLock | None = None,
    migrations: Sequence[Migration] | None = None,
    progress: Progress | None = None,
) -> SqliteStore:
    """Lock `data_dir`, open its database and bring it to this program's schema.

    Args:
        lock: held already by the caller, who hands it over; taken here when None.
        migrations: all known ones when None (tests pass others).
        progress: told what is done until `SqliteStore.started`.

    Raises:
        DataDirBusy: another daemon has the directory.
        StorageFailure: newer schema, damaged, unreadable; the text says what to do.
    """
    held = lock or lock_data_dir(data_dir, wall_ms=clock.wall_ms())
    try:
        steps = known_migrations() if migrations is None else migrations
        database = await open_database(data_dir, migrations=steps, tidy=spaces.purge, progress=progress)
        return SqliteStore(database=database, lock=held)
    except BaseException:
        held.release()
        raise


def _apply(session: Session, batch: WriteBatch) -> None:
    """Everything in `batch`, in the order of its fields."""
    spaces.put_spaces(session, batch.spaces)
    control_log.put_ops(session, batch.ops)
    control_log.put_epoch_secrets(session, batch.epoch_secrets)
    logs.put_logs(session, batch.logs)
    envelope_log.put_envelopes(session, batch.envelopes)
    envelope_log.put_opened(session, batch.opened)
    pending.put_pending(session, batch.pending)
    pending.drop_pending(session, batch.pending_done)
    snapshots.put_snapshots(session, batch.snapshots)
    invitations.put_invitations(session, batch.invitations)
    peers.put_peers(session, batch.peers)
    peers.put_claims(session, batch.claims)
    quarantine.put_quarantine(session, batch.quarantine)
    touched.put_touched(session, batch.touched)
    mailboxes.put_receipts(session, batch.receipts)
    mailboxes.put_mailboxes(session, batch.mailboxes)
    settings.put_settings(session, batch.settings)
    for space_id in batch.forget_spaces:
        spaces.forget_space(session, space_id)


def _payload_bytes(batch: WriteBatch) -> int:
    """About how much the batch adds to the WAL; decides when to checkpoint."""
    return (
        sum(len(row.raw) for row in batch.ops)
        + sum(len(row.raw) for row in batch.envelopes)
        + sum(len(row.raw) for row in batch.opened)
        + sum(len(row.update) for row in batch.pending)
        + sum(len(row.update) for row in batch.snapshots)
    )
