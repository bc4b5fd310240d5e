"""What the node tells its callers: frozen snapshots, safe to keep, never live objects.

`api/schemas` turns them into JSON with the same field names. Times are milliseconds
since 1970 UTC (`*_ms`), durations say their unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Final, Protocol

from sheaf.content_work.forms import ContentFormat as ContentFormat
from sheaf.content_work.forms import DocType as DocType
from sheaf.core.base.ids import DeviceId, DocId, OpId, SpaceId, UserId
from sheaf.core.space.roles import Role
from sheaf.node.delivery_state import NOT_DELIVERED, SpaceDelivery
from sheaf.ports import RelayStatus


class Unset(Enum):
    """The type of `UNSET`: 'leave this field as it is' (None is a value)."""

    TOKEN = 0


UNSET: Final = Unset.TOKEN


class CloseCode(IntEnum):
    """Why a document's subscriber is let go; the numbers are WebSocket close codes.

    4400 to 4499 are final: stock providers do not come back after them (decision 0068). So what is
    mended by coming back has another number.
    """

    STOPPING = 1001
    STORAGE_FAILED = 1013
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    GONE = 4404
    TOO_BIG = 4413
    REFUSED = 4422
    TOO_SLOW = 4508

    @property
    def is_final(self) -> bool:
        """Whether coming back with the same cannot help."""
        return FINAL_CODES_FROM <= self < FINAL_CODES_TO


FINAL_CODES_FROM: Final = 4400
FINAL_CODES_TO: Final = 4500


class JoinState(StrEnum):
    """How far a join has come."""

    SEARCHING = "searching"
    CONNECTING = "connecting"
    JOINING = "joining"
    CATCHING_UP = "catching_up"
    DONE = "done"
    FAILED = "failed"


class CodeState(StrEnum):
    """What became of a spoken code."""

    WAITING = "waiting"
    CONFIRMED = "confirmed"
    """Somebody proved to know it and has the ticket."""
    USED = "used"
    """They are in the space."""
    BURNED = "burned"
    """Somebody tried it with wrong words, or several came: it is worthless."""
    EXPIRED = "expired"
    FAILED = "failed"
    """The relay or the daemon went away."""


class PeerState(StrEnum):
    """How a peer stands to us right now."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    SYNCING = "syncing"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class ProfileView:
    """Who this device says it is."""

    user_id: UserId
    user_name: str
    device_id: DeviceId
    device_name: str
    share_seen: bool = True
    """Whether others learn what was seen here."""


@dataclass(frozen=True, slots=True)
class SpaceSummary:
    """One space in the list."""

    space_id: SpaceId
    name: str
    role: Role
    member_count: int
    document_count: int
    state: str
    delivery: SpaceDelivery = NOT_DELIVERED
    relay_urls: tuple[str, ...] = ()
    """What the space's owners chose for everybody in it."""


@dataclass(frozen=True, slots=True)
class DocumentView:
    """One document in a space's tree."""

    document_id: DocId
    space_id: SpaceId
    title: str
    type: DocType
    parent_id: DocId | None
    order: str
    trashed: bool
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class MemberDeviceView:
    """One device of a member."""

    device_id: DeviceId
    name: str
    is_self: bool
    is_online: bool


@dataclass(frozen=True, slots=True)
class MemberView:
    """One person in a space."""

    user_id: UserId
    name: str
    role: Role
    is_self: bool
    devices: tuple[MemberDeviceView, ...]


@dataclass(frozen=True, slots=True)
class CodeView:
    """A spoken code and what became of it. `safety_words` and `guest_name` once somebody proved it."""

    text: str = field(repr=False)
    relay_url: str
    """Where it waits."""
    state: CodeState
    expires_ms: int
    safety_words: tuple[str, ...] | None = None
    guest_name: str | None = None
    problem: str | None = None
    """Why it brought nobody new, and what to do; whole sentences.

    A used code has one when its guest was in the space already.
    """


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An open invitation; `ticket` is None when another device issued it, and when a code stands for it.

    One with a code is also shown for a while after it is over.
    """

    op_id: OpId
    ticket: str | None
    role: Role
    expires_ms: int | None
    uses_left: int
    is_revoked: bool
    code: CodeView | None = None


@dataclass(frozen=True, slots=True)
class JoinView:
    """A join in progress, or its end.

    `space_id` is None while a spoken code has not brought a ticket yet; `safety_words` and
    `inviter_name` come with a code only.
    """

    join_id: str
    space_id: SpaceId | None
    space_name: str | None
    state: JoinState
    done_bytes: int
    total_bytes: int
    error: tuple[str, str] | None
    safety_words: tuple[str, ...] | None = None
    inviter_name: str | None = None


@dataclass(frozen=True, slots=True)
class PeerSpaceView:
    """What one peer has of one space: `behind` counts my envelopes it is not known to hold."""

    space_id: SpaceId
    behind: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class PeerView:
    """Another device, connected or not."""

    device_id: DeviceId
    user_id: UserId
    user_name: str
    device_name: str
    state: PeerState
    path: str | None
    description: str | None
    rtt_ms: float | None
    spaces: tuple[PeerSpaceView, ...]
    last_seen_ms: int | None
    path_reason: str | None = None
    """Why this path and no better one, a clause: 'UDP does not get through between these networks'."""


@dataclass(frozen=True, slots=True)
class CloneView:
    """A device whose identity two daemons use: a copied data folder. `what` and `do` are sentences."""

    device_id: DeviceId
    is_self: bool
    noticed_ms: int
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class LanView:
    """How this daemon can be reached on the local network."""

    listening: str | None
    mdns: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StorageView:
    """'ok', 'low' (saved, but there is little room), 'read_only' (nothing is saved, reading goes on) or
    'failed' (something cannot be read), and how many local edits no peer could have yet."""

    state: str
    detail: str | None
    unsent_edits: int


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything `sheaf status` shows."""

    version: str
    started_ms: int
    data_dir: str
    profile: ProfileView
    lan: LanView
    storage: StorageView
    spaces: tuple[SpaceSummary, ...]
    peers: tuple[PeerView, ...]
    relays: tuple[RelayStatus, ...] = ()
    held_changes: int = 0
    """What open tabs brought that builds on another device's changes, which have not come yet."""
    clones: tuple[CloneView, ...] = ()


NodeMetrics = Mapping[str, float]
"""Metric name (without the `sheaf_` prefix) → value."""


class DocumentSubscriber(Protocol):
    """A tab (or script) that has a document open. Called synchronously; must only enqueue."""

    def update(self, data: bytes) -> None:
        """A Yjs update from another tab or a peer, already durable here."""
        ...

    def committed(self, frames: int, state_vector: bytes) -> None:
        """`frames` submits of this subscriber (cumulative) are durable; the document's state vector."""
        ...

    def missing(self, state_vector: bytes) -> None:
        """An update builds on changes the document does not have: ask the tab for all it has beyond
        `state_vector` (sync step 1). Happens when a tab heard of them from another tab first."""
        ...

    def awareness(self, data: bytes) -> None:
        """A y-protocols awareness update from another tab or a peer."""
        ...

    def closed(self, code: CloseCode, reason: str) -> None:
        """The document is no longer served to this subscriber. Nothing follows."""
        ...


class DocumentHandle(Protocol):
    """One subscriber's hold on an open document."""

    @property
    def can_write(self) -> bool: ...

    def state_vector(self) -> bytes: ...

    def diff(self, state_vector: bytes) -> bytes:
        """What a replica at `state_vector` lacks. Raises ProtocolViolation on junk."""
        ...

    async def submit(self, update: bytes, *, is_state: bool = False) -> None:
        """Hand in an update; returns when it is queued (waits while the inbox is full).

        What it builds on may be missing, and some of it may be another device's: the document takes
        what it can, and the rest waits for what it lacks.

        Args:
            update: at most `BACKLOG_BYTES_MAX`.
            is_state: it is all that the subscriber has beyond a state vector it was asked with.

        Raises:
            UpdateRefused: the inspector or the document refuses it.
            UpdateTooBig: there is more in it than can be taken.
            NotAllowed: the local user may only read.
        """
        ...

    def awareness(self, data: bytes) -> None:
        """Presence from this subscriber (≤ 4 KiB). Raises WireError on junk."""
        ...

    def awareness_states(self) -> bytes | None: ...

    async def close(self) -> None: ...
