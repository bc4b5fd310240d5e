"""What the store keeps: one dataclass per kind of row, and the batch that writes them (see `sheaf.ports`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sheaf.core.base.ids import DeviceId, DocId, EnvId, EpochId, LogId, OpId, SpaceId


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """One space this device takes part in. `state`: 'ready', 'joining' or 'left'."""

    space_id: SpaceId
    state: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class OpRow:
    """A control op as received; `position` orders them so that parents come first."""

    space_id: SpaceId
    op_id: OpId
    raw: bytes


@dataclass(frozen=True, slots=True)
class EpochSecretRow:
    """An epoch secret this device holds (32 bytes)."""

    space_id: SpaceId
    epoch_id: EpochId
    secret: bytes


@dataclass(frozen=True, slots=True)
class LogRow:
    """What must be known of a log to continue verifying it.

    `genesis` is the signed genesis; `state` is the canonical CBOR that
    `core.space.log_set.LogHead` encodes (head env_id, auth heads, epoch, frozen…).
    """

    space_id: SpaceId
    log_id: LogId
    genesis: bytes
    next_seq: int
    state: bytes


@dataclass(frozen=True, slots=True)
class EnvelopeRow:
    """One envelope verbatim. `documents` lists the documents its payload touches;
    empty with `is_opened=False` while its epoch secret is still missing."""

    space_id: SpaceId
    log_id: LogId
    seq: int
    env_id: EnvId
    raw: bytes
    documents: tuple[DocId, ...]
    is_opened: bool = True


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A local edit that is durable but not sealed yet. `pending_id` is assigned by the
    caller, strictly increasing within the daemon's life; `digest` guards the row (S7)."""

    pending_id: int
    space_id: SpaceId
    doc_id: DocId
    update: bytes
    hlc_ms: int
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A local cache of one document: `update` is the full state, `covers` the encoded
    version vector (canonical CBOR pairs [log_id, next_seq]) of the envelopes it contains. It
    may contain pending edits as well: merging those again changes nothing."""

    space_id: SpaceId
    doc_id: DocId
    update: bytes
    covers: bytes


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation issued by this device: the 16-byte ticket secret and what the list shows."""

    space_id: SpaceId
    op_id: OpId
    secret: bytes
    ticket: str
    role: str
    created_ms: int
    expires_ms: int | None
    uses_max: int
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class PeerRow:
    """What is remembered of another device: the last version vector it and we agreed on
    (per space, for the short VV after reconnect) and where it was reached last."""

    space_id: SpaceId
    device_id: DeviceId
    version: bytes
    addresses: tuple[str, ...]
    last_seen_ms: int


@dataclass(frozen=True, slots=True)
class ClientClaimRow:
    """A Yjs client id and the device that owns it in one space (clashes are refused)."""

    space_id: SpaceId
    client_id: int
    device_id: DeviceId


@dataclass(frozen=True, slots=True)
class TouchedRow:
    """When a document last changed, by its authors' clocks; for display only."""

    space_id: SpaceId
    doc_id: DocId
    updated_ms: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """An envelope kept out of its document (hostile or unaccepted), with the reason.

    Storing one with an empty `reason` lets the envelope in again (accepted later)."""

    space_id: SpaceId
    log_id: LogId
    seq: int
    env_id: EnvId
    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """What another device (or this one) said it holds; `state` is `ReceiptBook.encode`'s."""

    space_id: SpaceId
    device_id: DeviceId
    state: bytes


@dataclass(frozen=True, slots=True)
class MailboxRow:
    """How far one mailbox on one relay was read and filled; `state` is `MailboxMemory.encode`'s."""

    space_id: SpaceId
    url: str
    mailbox_id: bytes
    state: bytes


@dataclass(slots=True)
class WriteBatch:
    """One transaction. Everything in it becomes durable together or not at all.

    Applied in the order of the fields below. Puts are upserts by primary key, except
    envelopes and ops: inserting an existing env_id/op_id is a no-op.
    """

    spaces: list[SpaceRow] = field(default_factory=list)
    ops: list[OpRow] = field(default_factory=list)
    epoch_secrets: list[EpochSecretRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    envelopes: list[EnvelopeRow] = field(default_factory=list)
    opened: list[EnvelopeRow] = field(default_factory=list)
    """Rows stored sealed earlier whose payload is known now."""
    pending: list[PendingRow] = field(default_factory=list)
    pending_done: list[int] = field(default_factory=list)
    """pending_ids to delete (they are in an envelope of this batch)."""
    snapshots: list[SnapshotRow] = field(default_factory=list)
    invitations: list[InvitationRow] = field(default_factory=list)
    peers: list[PeerRow] = field(default_factory=list)
    claims: list[ClientClaimRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    touched: list[TouchedRow] = field(default_factory=list)
    """Upserts by (space, document); the greater time stays."""
    receipts: list[ReceiptRow] = field(default_factory=list)
    mailboxes: list[MailboxRow] = field(default_factory=list)
    settings: dict[str, bytes] = field(default_factory=dict)
    forget_spaces: list[SpaceId] = field(default_factory=list)
    """Delete every row of these spaces (leaving)."""

    @property
    def is_empty(self) -> bool:
        """True when committing would do nothing."""
        return not any(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Consecutive envelopes of one log, `first_seq` onwards."""

    log_id: LogId
    first_seq: int
    envelopes: tuple[bytes, ...]
