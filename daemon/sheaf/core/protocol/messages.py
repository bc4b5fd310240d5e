"""The messages of a session (PROTOCOL §5): frozen dataclasses, one per type.

Their bytes are `message_codec`'s business; what they mean and when they are legal is the session's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import DEVICES_MAX, KIB
from sheaf.core.space.run import Run

SPACES_MAX: Final = 1024
TAG_BYTES: Final = 16
HEADS_MAX: Final = 256
OPS_BYTES_PER_MESSAGE: Final = 256 * KIB
OPS_PER_MESSAGE_MAX: Final = 4096
JOIN_REQUEST_BYTES_MAX: Final = 16 * KIB
REASON_BYTES_MAX: Final = 512
RECEIPTS_PER_MESSAGE_MAX: Final = 64
RECEIPT_HEADS_MAX: Final = 2 * DEVICES_MAX


class Kind(IntEnum):
    """Message types; 6 (CREDIT) belongs to the mux."""

    HELLO = 1
    SPACES = 2
    PING = 3
    PONG = 4
    BYE = 5
    ERR = 7
    OPEN = 16
    CLOSE = 17
    CTL_HEADS = 18
    CTL_WANT = 19
    CTL_OPS = 20
    VV = 21
    VV_WANT = 22
    PLAN = 23
    RUN = 24
    RUN_WANT = 25
    DONE = 26
    ACK = 27
    AGREE = 28
    EPH = 29
    JOIN = 30
    JOIN_ANSWER = 31
    RECEIPT_HEADS = 32
    RECEIPTS = 33


@dataclass(frozen=True, slots=True)
class Hello:
    """Who I am, bound to this channel by `signature` = sig_D(role, T)."""

    versions: tuple[int, ...]
    certificate: bytes
    role: int
    transcript: bytes
    signature: bytes
    limits: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Spaces:
    """Blinded tags of my spaces, shuffled and padded with random ones."""

    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The number of the PING it answers."""

    number: int


@dataclass(frozen=True, slots=True)
class Bye:
    """I am leaving in good order."""

    reason: str


@dataclass(frozen=True, slots=True)
class Err:
    """I am leaving because of what you did."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Open:
    """From now on my messages about the space with this tag carry `handle`."""

    handle: int
    tag: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """No more messages with my handle."""

    handle: int


@dataclass(frozen=True, slots=True)
class CtlHeads:
    """My control heads (to a non-member: only those of its own that I know); `is_member`: whether
    I count your device as an active member."""

    handle: int
    heads: tuple[OpId, ...]
    is_member: bool


@dataclass(frozen=True, slots=True)
class CtlWant:
    """Your heads are beyond what arrived; I have what these ops stand for."""

    handle: int
    known: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class CtlOps:
    """Control ops, parents first."""

    handle: int
    ops: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class VersionIs:
    """VV: my durable version; with `base`, only what changed since the agreed version it is the digest of."""

    handle: int
    digest: bytes
    entries: Mapping[LogId, int]
    base: bytes | None


@dataclass(frozen=True, slots=True)
class VersionWant:
    """I do not share that base: send the whole version."""

    handle: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How much catch-up is coming; bytes 0 = not known."""

    handle: int
    envelopes: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class RunOf:
    """RUN: consecutive envelopes of one log."""

    handle: int
    run: Run


@dataclass(frozen=True, slots=True)
class RunWant:
    """Something is missing here from this next_seq on, per log: send again."""

    handle: int
    entries: Mapping[LogId, int]


@dataclass(frozen=True, slots=True)
class Done:
    """The catch-up I announced is complete; on the catch-up stream, after its last RUN."""

    handle: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Durable here: next_seq of logs that changed."""

    handle: int
    entries: Mapping[LogId, int]


@dataclass(frozen=True, slots=True)
class Agree:
    """Shall we (`is_reply`: we do) keep the version with this digest as the base of later VVs?"""

    handle: int
    digest: bytes
    is_reply: bool


@dataclass(frozen=True, slots=True)
class Eph:
    """Awareness of one document; `counter` rises, an older one is dropped."""

    handle: int
    doc_id: DocId
    counter: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ReceiptHeads:
    """The newest receipt I know of each device, by its counter; send me what is newer."""

    handle: int
    counters: Mapping[DeviceId, int]


@dataclass(frozen=True, slots=True)
class Receipts:
    """Signed receipts (`receipt.Receipt.raw`), mine or others'."""

    handle: int
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """An encoded `pairing.JoinRequest`."""

    request: bytes


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """Admitted, with control ops (several messages while `has_more`), or refused with a reason."""

    space_id: SpaceId
    is_accepted: bool
    ops: tuple[bytes, ...]
    has_more: bool
    reason: str


AnyMessage = (
    Hello
    | Spaces
    | Ping
    | Pong
    | Bye
    | Err
    | Open
    | Close
    | CtlHeads
    | CtlWant
    | CtlOps
    | VersionIs
    | VersionWant
    | Plan
    | RunOf
    | RunWant
    | Done
    | Ack
    | Agree
    | Eph
    | ReceiptHeads
    | Receipts
    | Join
    | JoinAnswer
)

SpaceMessage = (
    Close
    | CtlHeads
    | CtlWant
    | CtlOps
    | VersionIs
    | VersionWant
    | Plan
    | RunOf
    | RunWant
    | Done
    | Ack
    | Agree
    | Eph
    | ReceiptHeads
    | Receipts
)
"""Messages that carry the handle of an open space."""


CLONED: Final = "another computer uses this device's identity"
"""The reason in a BYE to one of two daemons with the same device key (PROTOCOL §5.1). Compared literally."""


def shortened(reason: str) -> str:
    """A reason made fit for BYE, ERR or JOIN_ANSWER: printable and short enough."""
    printable = "".join(char if char.isprintable() else " " for char in reason)
    return printable.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
