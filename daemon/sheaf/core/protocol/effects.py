"""What a session tells its shell, and what it asks of a space (PROTOCOL §5).

Effects are facts or requests; the shell performs them in order. Tokens are answered
exactly once with the method named in the effect's docstring; until then the bytes they
stand for count against the peer's credit, which is what bounds memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.pairing import JoinRequest
from sheaf.core.protocol.receipt import Receipt
from sheaf.core.space.run import Run


class Phase(StrEnum):
    """Where one space stands in one session."""

    IDLE = "idle"
    MATCHED = "matched"
    CONTROL = "control"
    """Exchanging control operations."""
    NOT_MEMBER = "not_member"
    """One side does not count the other's device as a member (yet, or any more)."""
    CATCH_UP = "catch_up"
    LIVE = "live"
    """Both have what the other had when they met; new envelopes go out as they are made."""


class SpaceView(Protocol):
    """What a session may know of a space. All answers are immediate and from memory."""

    @property
    def space_id(self) -> SpaceId: ...
    def control_heads(self) -> Sequence[OpId]:
        """Heads of the durable control plane, sorted."""
        ...

    def ops_missing_for(self, heads: Iterable[OpId]) -> Sequence[bytes]:
        """Ops, parents first, that are not ancestors of (or among) those of `heads` known here."""
        ...

    def knows_ops(self, ids: Iterable[OpId]) -> Iterable[OpId]:
        """Those of `ids` that are here."""
        ...

    def is_member(self, device_id: DeviceId) -> bool:
        """Whether this device is active now, in any role."""
        ...

    def durable_version(self) -> Mapping[LogId, int]:
        """next_seq per log, of what is committed."""
        ...

    def psi_key(self) -> bytes | None:
        """K_psi, 32 bytes; None while the first epoch's secret is not known here."""
        ...

    def genesis_of(self, log_id: LogId) -> bytes:
        """The signed genesis of a log in `durable_version`."""
        ...

    def agreed_version(self, device_id: DeviceId) -> Mapping[LogId, int] | None:
        """What the last `AgreedVersion` effect for this device said, if it was kept."""
        ...


class SpaceDirectory(Protocol):
    """The spaces of this daemon."""

    def space_ids(self) -> Iterable[SpaceId]: ...
    def view(self, space_id: SpaceId) -> SpaceView | None: ...


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The peer's HELLO verified. Always before any other effect but `Closed`."""

    certificate: DeviceCertificate


@dataclass(frozen=True, slots=True)
class StoreOps:
    """Add these ops to the space and commit; then `ops_stored(token)` and, on every session,
    `ops_changed(space_id)` if something new was in them."""

    token: int
    space_id: SpaceId
    ops: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StoreRun:
    """Ingest and commit this run, then `run_stored(token)`."""

    token: int
    space_id: SpaceId
    run: Run


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Read consecutive envelopes from `first_seq` on, about `bytes_max` bytes but at least one,
    then `run_read(token, run)`; an empty run says that there is nothing."""

    token: int
    space_id: SpaceId
    log_id: LogId
    first_seq: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class JoinRequested:
    """Somebody with an invitation asks to come in; its proof against the invitation's key is
    the shell's to check (`pairing.JoinRequest.verify`). Answer with `join_answer(token, …)`."""

    token: int
    request: JoinRequest
    certificate: DeviceCertificate


@dataclass(frozen=True, slots=True)
class JoinAccepted:
    """The owner admitted us: check (`pairing.check_genesis`), create the space, then `space_added`."""

    space_id: SpaceId
    ops: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """The owner did not let us in; `reason` is the owner's text, fit to show."""

    reason: str


@dataclass(frozen=True, slots=True)
class SpacePhase:
    """A space changed phase in this session."""

    space_id: SpaceId
    phase: Phase


@dataclass(frozen=True, slots=True)
class Progress:
    """Catch-up from this peer: what is durable here of what it announced. Bytes are counted as
    they come; `total_bytes` is 0 when the peer does not know."""

    space_id: SpaceId
    done_envelopes: int
    total_envelopes: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class PeerHas:
    """Durable at the peer: next_seq of the logs that changed (of all, the first time)."""

    space_id: SpaceId
    version: Mapping[LogId, int]


@dataclass(frozen=True, slots=True)
class AgreedVersion:
    """Both sides have exactly this: persist it for `SpaceView.agreed_version`."""

    space_id: SpaceId
    version: Mapping[LogId, int]


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """Awareness of one document from the peer; never stored."""

    space_id: SpaceId
    doc_id: DocId
    data: bytes


@dataclass(frozen=True, slots=True)
class ReceiptsCame:
    """Verified receipts, the peer's or others'; whether their devices are members is the shell's to check."""

    space_id: SpaceId
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class ReceiptHeadsCame:
    """The newest receipts the peer knows, by device: send it what is newer."""

    space_id: SpaceId
    counters: Mapping[DeviceId, int]


@dataclass(frozen=True, slots=True)
class RttMeasured:
    """One round trip, milliseconds."""

    ms: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over, exactly once. Send what `next_frames` still returns (the farewell),
    then close the channel. `is_peer_fault`: it broke the rules; do not hurry back to it.
    `is_cloned`: the other side has met another process that uses our identity; the same holds."""

    reason: str
    is_peer_fault: bool
    is_cloned: bool = False


Effect = (
    Authenticated
    | StoreOps
    | StoreRun
    | ReadRun
    | JoinRequested
    | JoinAccepted
    | JoinRefused
    | SpacePhase
    | Progress
    | PeerHas
    | AgreedVersion
    | Ephemeral
    | ReceiptsCame
    | ReceiptHeadsCame
    | RttMeasured
    | Closed
)
