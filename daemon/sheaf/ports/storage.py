"""The storage and keystore ports (see `sheaf.ports`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.ports.rows import (
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


class Store(Protocol):
    """The daemon's memory. One writer; commits happen in the order they were asked for."""

    async def commit(self, batch: WriteBatch) -> None:
        """Make `batch` durable (fsync'd) before returning.

        Cancelling the caller does not undo or half-do it. After a failure nothing of the
        batch is stored.

        Raises:
            StorageFailure: disk full, I/O error, closed.
        """
        ...

    def watch(self, on_refused: Callable[[StorageFailure], None]) -> None:
        """Have `on_refused` called, on the event loop, whenever the disk refuses a commit.

        It is called before whoever asked for the commit hears of the failure.
        """
        ...

    async def mend(self) -> None:
        """After a refusal: find out whether the disk takes commits again, and make it so if need be.

        Raises:
            StorageFailure: it does not; to be asked again later.
        """
        ...

    async def free_bytes(self) -> int | None:
        """Room on the disk; None when unknown.

        Raises:
            DiskFull: so little that the next commit may find none.
        """
        ...

    async def spaces(self) -> Sequence[SpaceRow]: ...
    async def ops(self, space_id: SpaceId) -> Sequence[OpRow]:
        """All control ops of a space, parents first."""
        ...

    async def epoch_secrets(self, space_id: SpaceId) -> Sequence[EpochSecretRow]: ...
    async def logs(self, space_id: SpaceId) -> Sequence[LogRow]: ...
    async def run(self, space_id: SpaceId, log_id: LogId, first_seq: int, bytes_max: int) -> StoredRun:
        """Envelopes from `first_seq` on until `bytes_max` is reached (at least one if there is any)."""
        ...

    async def envelopes_of(
        self, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]
    ) -> Sequence[EnvelopeRow]:
        """Accepted (not quarantined), opened envelopes touching a document with seq ≥ after.get(log, 0),
        in the order they were stored."""
        ...

    async def unopened(self, space_id: SpaceId) -> Sequence[EnvelopeRow]: ...
    async def pending(self, space_id: SpaceId) -> Sequence[PendingRow]: ...
    async def pending_of(self, space_id: SpaceId, doc_id: DocId) -> Sequence[PendingRow]: ...
    async def snapshot(self, space_id: SpaceId, doc_id: DocId) -> SnapshotRow | None: ...
    async def invitations(self, space_id: SpaceId) -> Sequence[InvitationRow]: ...
    async def peers(self, space_id: SpaceId) -> Sequence[PeerRow]: ...
    async def claims(self, space_id: SpaceId) -> Sequence[ClientClaimRow]: ...
    async def quarantined(self, space_id: SpaceId) -> Sequence[QuarantineRow]: ...
    async def touched(self, space_id: SpaceId) -> Sequence[TouchedRow]: ...
    async def receipts(self, space_id: SpaceId) -> Sequence[ReceiptRow]: ...
    async def mailboxes(self, space_id: SpaceId) -> Sequence[MailboxRow]: ...
    async def document_frontier(self, space_id: SpaceId, doc_id: DocId) -> dict[LogId, int]:
        """By log, the seq after the last opened envelope that touches a document."""
        ...

    async def document_counts(
        self, space_id: SpaceId, doc_id: DocId, above: Sequence[tuple[LogId, int]]
    ) -> Sequence[int]:
        """For each (log, seq): how many opened envelopes of the log from seq on touch the document."""
        ...

    async def setting(self, key: str) -> bytes | None: ...
    async def check(self) -> Sequence[str]:
        """Read-only integrity checks; one line per problem, empty when sound."""
        ...

    async def close(self) -> None: ...


class KeyStore(Protocol):
    """Where this device's long-lived secrets are kept (OS keyring, or a 0600 file)."""

    async def load(self, name: str) -> bytes | None:
        """The secret called `name`, or None.

        Raises:
            StorageFailure: unreadable, or readable by others (file mode).
        """
        ...

    async def save(self, name: str, secret: bytes) -> None: ...
