"""ports.Store in memory: the same semantics as SQLite's, for the simulator and for tests of the node.

A commit takes effect at once and yields once to the event loop, so that callers meet the
same interleavings. `copy()` is a backup; `fail_commits_with` a full disk.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DeviceId, DocId, EnvId, EpochId, LogId, OpId, SpaceId
from sheaf.ports import (
    ClientClaimRow,
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


class MemoryStore:
    """A store that forgets everything when it is dropped."""

    def __init__(self) -> None:
        self.fail_commits_with: StorageFailure | None = None
        """While set, every commit raises it and stores nothing; reads work."""
        self.free: int | None = None
        """Room on the pretended disk."""
        self.on_refused: Callable[[StorageFailure], None] = lambda _: None
        self.on_commit: Callable[[WriteBatch], None] | None = None
        """Called after each commit; the simulator crashes a device here."""
        self.commits = 0
        self._is_closed = False
        self._spaces: dict[SpaceId, SpaceRow] = {}
        self._ops: dict[tuple[SpaceId, OpId], OpRow] = {}
        self._secrets: dict[tuple[SpaceId, EpochId], EpochSecretRow] = {}
        self._logs: dict[tuple[SpaceId, LogId], LogRow] = {}
        self._envelopes: dict[tuple[SpaceId, LogId, int, EnvId], EnvelopeRow] = {}
        self._pending: dict[int, PendingRow] = {}
        self._snapshots: dict[tuple[SpaceId, DocId], SnapshotRow] = {}
        self._invitations: dict[tuple[SpaceId, OpId], InvitationRow] = {}
        self._peers: dict[tuple[SpaceId, DeviceId], PeerRow] = {}
        self._claims: dict[tuple[SpaceId, int], ClientClaimRow] = {}
        self._touched: dict[tuple[SpaceId, DocId], TouchedRow] = {}
        self._quarantine: dict[tuple[SpaceId, EnvId], QuarantineRow] = {}
        self._receipts: dict[tuple[SpaceId, DeviceId], ReceiptRow] = {}
        self._mailboxes: dict[tuple[SpaceId, str, bytes], MailboxRow] = {}
        self._settings: dict[str, bytes] = {}

    def copy(self) -> MemoryStore:
        """The store as it is now: a backup, or a cloned machine."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):
                setattr(twin, name, dict(value))
        twin._is_closed = False
        return twin

    def apply(self, batch: WriteBatch) -> None:
        """`commit` without an event loop.

        Raises:
            StorageFailure: closed, or told to fail; nothing of the batch is stored.
        """
        if self._is_closed:
            raise StorageFailure("the store is closed")
        if self.fail_commits_with is not None:
            self.on_refused(self.fail_commits_with)
            raise self.fail_commits_with
        if batch.is_empty:
            return
        self._assert_known(batch)
        self._apply_all(batch)
        self.commits += 1
        if self.on_commit is not None:
            self.on_commit(batch)

    # ------------------------------------------------------------------ the port

    async def commit(self, batch: WriteBatch) -> None:
        """See ports.Store."""
        self.apply(batch)
        await asyncio.sleep(0)

    def watch(self, on_refused: Callable[[StorageFailure], None]) -> None:
        """See ports.Store."""
        self.on_refused = on_refused

    async def mend(self) -> None:
        """See ports.Store."""
        await self._read()
        if self.fail_commits_with is not None:
            raise self.fail_commits_with

    async def free_bytes(self) -> int | None:
        """See ports.Store."""
        return self.free

    async def spaces(self) -> Sequence[SpaceRow]:
        """See ports.Store."""
        await self._read()
        return list(self._spaces.values())

    async def ops(self, space_id: SpaceId) -> Sequence[OpRow]:
        """See ports.Store."""
        await self._read()
        return [row for row in self._ops.values() if row.space_id == space_id]

    async def epoch_secrets(self, space_id: SpaceId) -> Sequence[EpochSecretRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._secrets.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: row.epoch_id)

    async def logs(self, space_id: SpaceId) -> Sequence[LogRow]:
        """See ports.Store."""
        await self._read()
        return [row for row in self._logs.values() if row.space_id == space_id]

    async def run(self, space_id: SpaceId, log_id: LogId, first_seq: int, bytes_max: int) -> StoredRun:
        """See ports.Store; of a fork the branch stored first."""
        await self._read()
        by_seq = self._by_seq(space_id, log_id)
        taken: list[bytes] = []
        size = 0
        while (row := by_seq.get(first_seq + len(taken))) is not None:
            size += len(row.raw)
            if taken and size > bytes_max:
                break
            taken.append(row.raw)
        return StoredRun(log_id, first_seq, tuple(taken))

    async def envelopes_of(
        self, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]
    ) -> Sequence[EnvelopeRow]:
        """See ports.Store."""
        await self._read()
        return [
            row
            for row in self._envelopes.values()
            if row.space_id == space_id
            and doc_id in row.documents
            and row.is_opened
            and row.seq >= after.get(row.log_id, 0)
            and (space_id, row.env_id) not in self._quarantine
        ]

    async def unopened(self, space_id: SpaceId) -> Sequence[EnvelopeRow]:
        """See ports.Store."""
        await self._read()
        return [row for row in self._envelopes.values() if row.space_id == space_id and not row.is_opened]

    async def pending(self, space_id: SpaceId) -> Sequence[PendingRow]:
        """See ports.Store."""
        await self._read()
        return [row for _, row in sorted(self._pending.items()) if row.space_id == space_id]

    async def pending_of(self, space_id: SpaceId, doc_id: DocId) -> Sequence[PendingRow]:
        """See ports.Store."""
        return [row for row in await self.pending(space_id) if row.doc_id == doc_id]

    async def snapshot(self, space_id: SpaceId, doc_id: DocId) -> SnapshotRow | None:
        """See ports.Store."""
        await self._read()
        return self._snapshots.get((space_id, doc_id))

    async def invitations(self, space_id: SpaceId) -> Sequence[InvitationRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._invitations.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: (row.created_ms, row.op_id))

    async def peers(self, space_id: SpaceId) -> Sequence[PeerRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._peers.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: row.device_id)

    async def claims(self, space_id: SpaceId) -> Sequence[ClientClaimRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._claims.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: row.client_id)

    async def quarantined(self, space_id: SpaceId) -> Sequence[QuarantineRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._quarantine.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: (row.log_id, row.seq, row.env_id))

    async def touched(self, space_id: SpaceId) -> Sequence[TouchedRow]:
        """See ports.Store."""
        await self._read()
        return [row for row in self._touched.values() if row.space_id == space_id]

    async def receipts(self, space_id: SpaceId) -> Sequence[ReceiptRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._receipts.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: row.device_id)

    async def mailboxes(self, space_id: SpaceId) -> Sequence[MailboxRow]:
        """See ports.Store."""
        await self._read()
        found = [row for row in self._mailboxes.values() if row.space_id == space_id]
        return sorted(found, key=lambda row: (row.url, row.mailbox_id))

    async def document_frontier(self, space_id: SpaceId, doc_id: DocId) -> dict[LogId, int]:
        """See ports.Store."""
        frontier: dict[LogId, int] = {}
        for log_id, seq in await self._positions(space_id, doc_id):
            frontier[log_id] = max(seq + 1, frontier.get(log_id, 0))
        return frontier

    async def document_counts(
        self, space_id: SpaceId, doc_id: DocId, above: Sequence[tuple[LogId, int]]
    ) -> Sequence[int]:
        """See ports.Store."""
        positions = await self._positions(space_id, doc_id)
        return [len({at for at in positions if at[0] == log_id and at[1] >= seq}) for log_id, seq in above]

    async def _positions(self, space_id: SpaceId, doc_id: DocId) -> list[tuple[LogId, int]]:
        await self._read()
        return [
            (row.log_id, row.seq)
            for row in self._envelopes.values()
            if row.space_id == space_id and row.is_opened and doc_id in row.documents
        ]

    async def setting(self, key: str) -> bytes | None:
        """See ports.Store."""
        await self._read()
        return self._settings.get(key)

    async def check(self) -> Sequence[str]:
        """Memory does not rot."""
        await self._read()
        return []

    async def close(self) -> None:
        """See ports.Store. The content stays, so that a restart can be played by `copy`."""
        self._is_closed = True

    # ------------------------------------------------------------------ applying

    async def _read(self) -> None:
        if self._is_closed:
            raise StorageFailure("the store is closed")
        await asyncio.sleep(0)

    def _by_seq(self, space_id: SpaceId, log_id: LogId) -> dict[int, EnvelopeRow]:
        """The envelopes of a log; of a fork the one stored first."""
        by_seq: dict[int, EnvelopeRow] = {}
        for row in self._envelopes.values():
            if row.space_id == space_id and row.log_id == log_id:
                by_seq.setdefault(row.seq, row)
        return by_seq

    def _apply_all(self, batch: WriteBatch) -> None:
        for space in batch.spaces:
            self._spaces[space.space_id] = space
        for op in batch.ops:
            self._ops.setdefault((op.space_id, op.op_id), op)
        for secret in batch.epoch_secrets:
            self._secrets[secret.space_id, secret.epoch_id] = secret
        for log in batch.logs:
            self._logs[log.space_id, log.log_id] = log
        self._apply_envelopes(batch)
        self._pending.update((row.pending_id, row) for row in batch.pending)
        for pending_id in batch.pending_done:
            self._pending.pop(pending_id, None)
        self._snapshots.update(((row.space_id, row.doc_id), row) for row in batch.snapshots)
        self._invitations.update(((row.space_id, row.op_id), row) for row in batch.invitations)
        self._peers.update(((row.space_id, row.device_id), row) for row in batch.peers)
        self._claims.update(((row.space_id, row.client_id), row) for row in batch.claims)
        for kept_out in batch.quarantine:
            self._quarantine.pop((kept_out.space_id, kept_out.env_id), None)
            if kept_out.reason:
                self._quarantine[kept_out.space_id, kept_out.env_id] = kept_out
        for row in batch.touched:
            self._touched[row.space_id, row.doc_id] = row
        self._receipts.update(((row.space_id, row.device_id), row) for row in batch.receipts)
        self._mailboxes.update(((row.space_id, row.url, row.mailbox_id), row) for row in batch.mailboxes)
        self._settings.update(batch.settings)
        for space_id in batch.forget_spaces:
            self._forget(space_id)

    def _apply_envelopes(self, batch: WriteBatch) -> None:
        for row in batch.envelopes:
            self._envelopes.setdefault((row.space_id, row.log_id, row.seq, row.env_id), row)
        for row in batch.opened:
            self._envelopes[row.space_id, row.log_id, row.seq, row.env_id] = row

    def _assert_known(self, batch: WriteBatch) -> None:
        """Before anything is changed: the caller's mistakes that SQLite's foreign keys would find."""
        known_spaces = self._spaces.keys() | {space.space_id for space in batch.spaces}
        known_logs = self._logs.keys() | {(log.space_id, log.log_id) for log in batch.logs}
        named = {
            row.space_id
            for rows in (
                batch.ops,
                batch.epoch_secrets,
                batch.logs,
                batch.pending,
                batch.snapshots,
                batch.invitations,
                batch.peers,
                batch.claims,
                batch.quarantine,
                batch.receipts,
                batch.mailboxes,
            )
            for row in rows
        }
        assert named <= known_spaces, "put the SpaceRow first"
        for envelope in (*batch.envelopes, *batch.opened):
            assert (envelope.space_id, envelope.log_id) in known_logs, "put the LogRow first"

    def _forget(self, space_id: SpaceId) -> None:
        for table in vars(self).values():
            if isinstance(table, dict):
                for key, row in list(table.items()):
                    if getattr(row, "space_id", None) == space_id:
                        del table[key]
