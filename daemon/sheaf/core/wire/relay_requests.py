"""The frames for nameplates and mailboxes: requests to a relay and what it answers (PROTOCOL §7).

Each request carries a number chosen by the client, which the answer repeats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX, ITEMS, UINT, code, octets, octets_max, uint
from sheaf.core.wire.relay_words import (
    INCARNATION_BYTES,
    MAILBOX_ID_BYTES,
    MAILBOX_TOKEN_BYTES,
    NAMEPLATE_MAX,
    PAGE_BYTES_MAX,
    SAYING_BYTES_MAX,
    FrameType,
    RefusalCode,
    frame,
)


@frame(FrameType.NAMEPLATE_ALLOCATE)
@dataclass(frozen=True, slots=True)
class NameplateAllocate:
    """Give me a free number; answered by NAMEPLATE_HELD or REFUSED."""

    request: Annotated[int, UINT]


@frame(FrameType.NAMEPLATE_HELD)
@dataclass(frozen=True, slots=True)
class NameplateHeld:
    """The number is yours, as its first or second side."""

    request: Annotated[int, UINT]
    number: Annotated[int, uint(NAMEPLATE_MAX)]


@frame(FrameType.NAMEPLATE_CLAIM)
@dataclass(frozen=True, slots=True)
class NameplateClaim:
    """I am the second side; answered by NAMEPLATE_HELD or REFUSED (GONE, CROWDED)."""

    request: Annotated[int, UINT]
    number: Annotated[int, uint(NAMEPLATE_MAX)]


@frame(FrameType.NAMEPLATE_SAY)
@dataclass(frozen=True, slots=True)
class NameplateSay:
    """Pass this to the other side, now or when it comes."""

    number: Annotated[int, uint(NAMEPLATE_MAX)]
    payload: Annotated[bytes, octets_max(SAYING_BYTES_MAX)]


@frame(FrameType.NAMEPLATE_HEARD)
@dataclass(frozen=True, slots=True)
class NameplateHeard:
    """The other side says this."""

    number: Annotated[int, uint(NAMEPLATE_MAX)]
    payload: Annotated[bytes, octets_max(SAYING_BYTES_MAX)]


@frame(FrameType.NAMEPLATE_RELEASE)
@dataclass(frozen=True, slots=True)
class NameplateRelease:
    """I am done with this number."""

    number: Annotated[int, uint(NAMEPLATE_MAX)]


@frame(FrameType.NAMEPLATE_CLOSED)
@dataclass(frozen=True, slots=True)
class NameplateClosed:
    """The number is worthless now: GONE or CROWDED."""

    number: Annotated[int, uint(NAMEPLATE_MAX)]
    code: Annotated[RefusalCode, code(RefusalCode)]


@frame(FrameType.MAILBOX_PUT)
@dataclass(frozen=True, slots=True)
class MailboxPut:
    """Append an item (idempotent by its hash); answered by MAILBOX_STORED or REFUSED."""

    request: Annotated[int, UINT]
    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    token: Annotated[bytes, octets(MAILBOX_TOKEN_BYTES)] = field(repr=False)
    item: Annotated[bytes, octets_max(ITEM_BYTES_MAX)]


@frame(FrameType.MAILBOX_STORED)
@dataclass(frozen=True, slots=True)
class MailboxStored:
    """The item stands at `position` in this life of the mailbox."""

    request: Annotated[int, UINT]
    position: Annotated[int, UINT]
    incarnation: Annotated[bytes, octets(INCARNATION_BYTES)]


@frame(FrameType.MAILBOX_GET)
@dataclass(frozen=True, slots=True)
class MailboxGet:
    """Items after a position, at least one if there is any; answered by MAILBOX_ITEMS or REFUSED."""

    request: Annotated[int, UINT]
    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    token: Annotated[bytes, octets(MAILBOX_TOKEN_BYTES)] = field(repr=False)
    after: Annotated[int, UINT]
    bytes_max: Annotated[int, uint(PAGE_BYTES_MAX)]


@frame(FrameType.MAILBOX_ITEMS)
@dataclass(frozen=True, slots=True)
class MailboxItems:
    """(position, item) pairs in order. `last`: the newest position there is, 0 for an empty mailbox."""

    request: Annotated[int, UINT]
    incarnation: Annotated[bytes, octets(INCARNATION_BYTES)]
    last: Annotated[int, UINT]
    items: Annotated[tuple[tuple[int, bytes], ...], ITEMS]


@frame(FrameType.MAILBOX_WATCH)
@dataclass(frozen=True, slots=True)
class MailboxWatch:
    """Tell me now where the mailbox ends, and whenever it grows; REFUSED (request) or MAILBOX_NEWS."""

    request: Annotated[int, UINT]
    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    token: Annotated[bytes, octets(MAILBOX_TOKEN_BYTES)] = field(repr=False)


@frame(FrameType.MAILBOX_NEWS)
@dataclass(frozen=True, slots=True)
class MailboxNews:
    """The newest position of a watched mailbox; several changes may come as one."""

    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    incarnation: Annotated[bytes, octets(INCARNATION_BYTES)]
    last: Annotated[int, UINT]


@frame(FrameType.MAILBOX_UNWATCH)
@dataclass(frozen=True, slots=True)
class MailboxUnwatch:
    """No more news of this one."""

    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]


@frame(FrameType.MAILBOX_COMPACT)
@dataclass(frozen=True, slots=True)
class MailboxCompact:
    """Replace all items by this one if `expect_last` is the newest; MAILBOX_STORED or REFUSED CHANGED."""

    request: Annotated[int, UINT]
    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    token: Annotated[bytes, octets(MAILBOX_TOKEN_BYTES)] = field(repr=False)
    expect_last: Annotated[int, UINT]
    item: Annotated[bytes, octets_max(ITEM_BYTES_MAX)]


@frame(FrameType.MAILBOX_STAT)
@dataclass(frozen=True, slots=True)
class MailboxStatRequest:
    """How much stands there? Answered by MAILBOX_STATUS or REFUSED."""

    request: Annotated[int, UINT]
    mailbox_id: Annotated[bytes, octets(MAILBOX_ID_BYTES)]
    token: Annotated[bytes, octets(MAILBOX_TOKEN_BYTES)] = field(repr=False)


@frame(FrameType.MAILBOX_STATUS)
@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Sizes in bytes, positions, and the age of the oldest item in seconds."""

    request: Annotated[int, UINT]
    incarnation: Annotated[bytes, octets(INCARNATION_BYTES)]
    items: Annotated[int, UINT]
    size_bytes: Annotated[int, UINT]
    first: Annotated[int, UINT]
    last: Annotated[int, UINT]
    oldest_age_s: Annotated[int, UINT]


NameplateFrame = (
    NameplateAllocate
    | NameplateHeld
    | NameplateClaim
    | NameplateSay
    | NameplateHeard
    | NameplateRelease
    | NameplateClosed
)
MailboxFrame = (
    MailboxPut
    | MailboxStored
    | MailboxGet
    | MailboxItems
    | MailboxWatch
    | MailboxNews
    | MailboxUnwatch
    | MailboxCompact
    | MailboxStatRequest
    | MailboxStatus
)
