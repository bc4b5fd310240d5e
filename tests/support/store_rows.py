"""Rows of the storage port with made-up but distinct content, for tests."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

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
    TouchedRow,
    WriteBatch,
)


class SystemClock:
    """ports.Clock on the real clocks."""

    def now(self) -> float:
        """See ports.Clock."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """See ports.Clock."""
        return time.time_ns() // 1_000_000


def made_bytes(label: object, size: int) -> bytes:
    """The same `size` bytes for the same label."""
    return hashlib.shake_128(repr(label).encode()).digest(size)


@dataclass(frozen=True)
class Rows:
    """Makes rows of one space; different `name`s never collide."""

    name: str = "space"

    @property
    def space_id(self) -> SpaceId:
        """The space all rows belong to."""
        return SpaceId(made_bytes((self.name, "space"), 32))

    def log_id(self, log: int = 0) -> LogId:
        """Log number `log`."""
        return LogId(made_bytes((self.name, "log", log), 16))

    def doc_id(self, doc: int = 0) -> DocId:
        """Document number `doc`."""
        return DocId(made_bytes((self.name, "doc", doc), 16))

    def device_id(self, device: int = 0) -> DeviceId:
        """Device number `device`."""
        return DeviceId(made_bytes(("device", device), 32))

    def env_id(self, seq: int, log: int = 0, branch: int = 0) -> EnvId:
        """The envelope at (log, seq); `branch` makes forks."""
        return EnvId(made_bytes((self.name, "env", log, seq, branch), 32))

    def space(self, state: str = "ready") -> SpaceRow:
        """The space itself."""
        return SpaceRow(self.space_id, state, 1_700_000_000_000)

    def op(self, number: int) -> OpRow:
        """Control op number `number`."""
        return OpRow(
            self.space_id,
            OpId(made_bytes((self.name, "op", number), 32)),
            made_bytes((self.name, "op raw", number), 120),
        )

    def epoch_secret(self, number: int = 0, secret: bytes | None = None) -> EpochSecretRow:
        """The secret of epoch `number`."""
        return EpochSecretRow(
            self.space_id,
            EpochId(made_bytes((self.name, "epoch", number), 16)),
            secret or made_bytes((self.name, "secret", number), 32),
        )

    def log(self, log: int = 0, next_seq: int = 0) -> LogRow:
        """A log's head."""
        return LogRow(
            self.space_id,
            self.log_id(log),
            made_bytes((self.name, "genesis", log), 200),
            next_seq,
            made_bytes((self.name, "state", log, next_seq), 80),
        )

    def envelope(
        self,
        seq: int,
        *,
        log: int = 0,
        docs: tuple[int, ...] = (0,),
        size: int = 100,
        branch: int = 0,
        is_opened: bool = True,
    ) -> EnvelopeRow:
        """An envelope of `size` bytes touching documents number `docs`."""
        return EnvelopeRow(
            self.space_id,
            self.log_id(log),
            seq,
            self.env_id(seq, log, branch),
            made_bytes((self.name, "raw", log, seq, branch), size),
            tuple(self.doc_id(doc) for doc in docs) if is_opened else (),
            is_opened,
        )

    def pending(self, pending_id: int, doc: int = 0, size: int = 40, agent: str | None = None) -> PendingRow:
        """A pending edit."""
        return PendingRow(
            pending_id,
            self.space_id,
            self.doc_id(doc),
            made_bytes((self.name, "pending", pending_id), size),
            1_700_000_000_000 + pending_id,
            agent,
        )

    def snapshot(self, doc: int = 0, version: int = 1, size: int = 500) -> SnapshotRow:
        """A snapshot of a document."""
        return SnapshotRow(
            self.space_id,
            self.doc_id(doc),
            made_bytes((self.name, "snapshot", doc, version), size),
            made_bytes((self.name, "covers", doc, version), 30),
        )

    def invitation(
        self, number: int = 0, *, is_revoked: bool = False, expires_ms: int | None = None
    ) -> InvitationRow:
        """An invitation."""
        return InvitationRow(
            self.space_id,
            OpId(made_bytes((self.name, "invite", number), 32)),
            made_bytes((self.name, "ticket", number), 16),
            f"sheaf1ticket{number}",
            "editor",
            1_700_000_000_000 + number,
            expires_ms,
            3,
            is_revoked,
        )

    def peer(self, device: int = 0, addresses: tuple[str, ...] = ("192.168.1.4:7412",)) -> PeerRow:
        """What is remembered of a device."""
        return PeerRow(self.space_id, self.device_id(device), b"version", addresses, 1_700_000_000_000)

    def claim(self, client_id: int, device: int = 0) -> ClientClaimRow:
        """A client id's owner."""
        return ClientClaimRow(self.space_id, client_id, self.device_id(device))

    def quarantine(self, seq: int, *, log: int = 0, reason: str = "written after removal") -> QuarantineRow:
        """A quarantined envelope; an empty reason releases it."""
        return QuarantineRow(self.space_id, self.log_id(log), seq, self.env_id(seq, log), reason)

    def touched(self, doc: int, updated_ms: int) -> TouchedRow:
        """When a document changed."""
        return TouchedRow(self.space_id, self.doc_id(doc), updated_ms)

    def receipt(self, device: int = 0, version: int = 1) -> ReceiptRow:
        """What a device said it holds."""
        state = made_bytes((self.name, "receipts", device, version), 90)
        return ReceiptRow(self.space_id, self.device_id(device), state)

    def mailbox(self, url: str = "wss://relay.example", version: int = 1) -> MailboxRow:
        """How far a mailbox was read."""
        mailbox_id = made_bytes((self.name, "mailbox"), 16)
        return MailboxRow(self.space_id, url, mailbox_id, made_bytes((self.name, "memory", version), 70))

    def beginning(self, logs: int = 1) -> WriteBatch:
        """The space and its first logs."""
        return WriteBatch(spaces=[self.space()], logs=[self.log(log) for log in range(logs)])
