"""The ports: what the application needs from the world, and what the world may tell it.

Application services (node) and adapters (storage, transport, signaling, discovery,
keystore) both know this module and nothing of each other; `compose.py` introduces them.
Each port has a contract suite in tests/contract that runs against the real adapter and
the in-memory one.

Rules for every implementation:
1. Errors of the world surface as `StorageFailure` or `TransportFailure`, nothing else.
2. Callbacks given to an adapter are synchronous, never raise, and only enqueue.
3. `close()` is idempotent and awaits the end of everything the adapter started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sheaf.core.base.ids import DeviceId, DocId, EnvId, EpochId, LogId, OpId, RendezvousId, SpaceId

# --------------------------------------------------------------------------- time, chance


class Clock(Protocol):
    """Both clocks, injected everywhere."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC; for display and soft expiry only."""
        ...


# --------------------------------------------------------------------------- storage


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
    version vector (canonical CBOR {log_id: next_seq}) of the envelopes it contains. It
    never contains pending edits' effects that are not listed: `pending_id_max` is the
    last pending row merged into it (0 for none)."""

    space_id: SpaceId
    doc_id: DocId
    update: bytes
    covers: bytes
    pending_id_max: int


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

    async def spaces(self) -> Sequence[SpaceRow]: ...
    async def ops(self, space_id: SpaceId) -> Sequence[OpRow]:
        """All control ops of a space, parents first."""
        ...

    async def epoch_secrets(self, space_id: SpaceId) -> Sequence[EpochSecretRow]: ...
    async def logs(self, space_id: SpaceId) -> Sequence[LogRow]: ...
    async def run(self, space_id: SpaceId, log_id: LogId, first_seq: int, bytes_max: int) -> StoredRun:
        """Envelopes from `first_seq` on until `bytes_max` is reached (at least one if there is any)."""
        ...

    async def run_size(self, space_id: SpaceId, log_id: LogId, first_seq: int) -> tuple[int, int]:
        """(envelopes, bytes) from `first_seq` to the head; for progress."""
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


# --------------------------------------------------------------------------- transport


class PathKind(StrEnum):
    """How frames travel to a peer."""

    WEBRTC = "webrtc"
    TUNNEL = "tunnel"
    RELAY = "relay"
    MEMORY = "memory"


class ChannelReceiver(Protocol):
    """Told by a channel, synchronously, on the event loop. Must not raise."""

    def frame_received(self, frame: bytes) -> None: ...
    def writable(self) -> None:
        """`buffered_bytes` fell below the low-water mark (32 KiB) after having been above it."""
        ...

    def channel_closed(self, reason: str) -> None:
        """Exactly once, whoever closed it."""
        ...


class Channel(Protocol):
    """A reliable, ordered, message-preserving duplex between two daemons; frames ≤ 16 KiB + 16."""

    @property
    def path(self) -> PathKind: ...
    @property
    def description(self) -> str:
        """For people: '192.168.1.4:51234 ⇄ 192.168.1.7:40211 (udp, host)'."""
        ...

    def attach(self, receiver: ChannelReceiver) -> None:
        """Deliver to `receiver` from now on; frames that came before are delivered first (≤ 64 kept)."""
        ...

    def send(self, frame: bytes) -> None:
        """Queue one frame; never blocks. Silently dropped when closed (channel_closed tells)."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes accepted by `send` and not yet handed to the network."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ICE host/srflx candidate; `address` is a literal unicast IP."""

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    kind: str


@dataclass(frozen=True, slots=True)
class WebRtcDescription:
    """What one side must know of the other to connect (PROTOCOL §5); never SDP text."""

    ufrag: str
    pwd: str
    setup: str
    """'actpass' in offers, 'active' in answers."""
    sctp_port: int
    message_bytes_max: int
    fingerprint: bytes
    """SHA-256 of the DTLS certificate, 32 bytes."""
    candidates: tuple[Candidate, ...]


class WebRtcAttempt(Protocol):
    """One half of a connection in the making. Always `close()` what did not become a channel."""

    @property
    def description(self) -> WebRtcDescription: ...
    async def connect(self, remote: WebRtcDescription | None = None) -> Channel:
        """Wait for the open channel (deadline 10 s); the offerer passes the answer, the answerer nothing.

        Raises:
            TransportFailure: no connection in time.
        """
        ...

    async def close(self) -> None: ...


class WebRtcTransport(Protocol):
    """Makes WebRTC data channels."""

    async def offer(self) -> WebRtcAttempt: ...
    async def answer(self, offer: WebRtcDescription) -> WebRtcAttempt: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TunnelDescription:
    """The TLS tunnel to a device's LAN listener: pinned certificate, one-time token."""

    fingerprint: bytes
    """SHA-256 of the side's TLS certificate, 32 bytes."""
    token: bytes
    """16 bytes; the answerer's listener joins the stream that presents it. Zeros in offers."""


class TunnelTransport(Protocol):
    """TLS 1.3 (both certificates pinned) inside WebSocket frames to a LAN listener (or relay)."""

    @property
    def fingerprint(self) -> bytes:
        """Of this process's own certificate, made at start."""
        ...

    def expect(self, token: bytes, peer_fingerprint: bytes) -> TunnelExpectation:
        """Answerer: a stream that presents `token` becomes a channel (deadline 15 s)."""
        ...

    async def connect(self, address: str, remote: TunnelDescription) -> Channel:
        """Offerer: open the stream at `host:port` of the answerer's listener. Raises TransportFailure."""
        ...


class TunnelExpectation(Protocol):
    """The answerer's half of a tunnel."""

    async def channel(self) -> Channel:
        """Raises TransportFailure when nobody came in time."""
        ...

    def cancel(self) -> None: ...


# --------------------------------------------------------------------------- signalling


@dataclass(frozen=True, slots=True)
class SignalRoute:
    """How to answer: opaque to the application; `label` is for logs and `status`."""

    label: str
    address: str | None
    """host:port of the far listener when we dialled it, None when it dialled us."""
    key: object


SignalHandler = Callable[[RendezvousId, bytes, SignalRoute], None]
"""(rid the message was sent to, sealed message ≤ 16 KiB, route for the answer); only enqueues."""


class Signaling(Protocol):
    """Carries sealed signalling messages; knows neither devices nor spaces.

    On the LAN: a WebSocket to the other daemon's listener. The dialler subscribes its own
    rids on that same connection, so the answer needs no second connection.
    """

    def set_handler(self, handler: SignalHandler) -> None: ...
    def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """The complete set of rids this daemon answers to; replaces the earlier set."""
        ...

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send to the listener at `host:port`; None when nobody there answers to `rid`.
        Raises TransportFailure when the address cannot be reached within 3 s."""
        ...

    async def reply(self, route: SignalRoute, rid: RendezvousId, sealed: bytes) -> bool:
        """Send back along `route`; False when that connection is gone."""
        ...

    @property
    def listening(self) -> str | None:
        """host:port of the LAN listener, None when off."""
        ...

    async def close(self) -> None: ...


# --------------------------------------------------------------------------- byte streams


class ByteStream(Protocol):
    """A connection of a LAN listener or relay after a tunnel was joined: raw, ordered bytes."""

    @property
    def label(self) -> str:
        """For people: 'host:port' of the far end."""
        ...

    async def receive(self) -> bytes | None:
        """The next chunk (≤ 64 KiB), or None at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand over a chunk (≤ 64 KiB); waits while the network is slow. Raises TransportFailure."""
        ...

    async def close(self) -> None: ...


class TunnelDoor(Protocol):
    """What a listener asks when a stranger presents a tunnel token."""

    def accept(self, token: bytes) -> Callable[[ByteStream], Awaitable[None]] | None:
        """Something that serves the joined stream to its end, or None for an unknown token."""
        ...


# --------------------------------------------------------------------------- discovery


@dataclass(frozen=True, slots=True)
class Sighting:
    """An mDNS announcement: `nonce` and `tags` as in PROTOCOL §6, addresses as 'host:port'."""

    instance: str
    nonce: bytes
    tags: frozenset[bytes]
    addresses: tuple[str, ...]
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """What to announce: `tags_for(nonce)` is called again whenever the nonce changes."""

    port: int
    tags_for: Callable[[bytes], Sequence[bytes]]


class Discovery(Protocol):
    """Finds other daemons on the network; hints only, never identity."""

    async def start(self, on_sighting: Callable[[Sighting], None]) -> None:
        """Never fails for lack of a network; keeps trying."""
        ...

    async def announce(self, announcement: Announcement) -> None:
        """Announce, or re-announce with new tags."""
        ...

    @property
    def state(self) -> str:
        """'on', 'off' or 'no interface'."""
        ...

    async def close(self) -> None: ...


Events = AsyncIterator[tuple[str, dict[str, object]]]
