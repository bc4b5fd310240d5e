"""The store of mailboxes: what a relay keeps for those who are away (PROTOCOL §7 "Relay").

One contract, several implementations (SQLite for one node, NATS JetStream for many); each passes
`tests/contract/test_mailbox_store.py`. A store sees opaque bytes and the hash of a bearer token; it
is a cache: the truth is on people's devices, which notice a loss by `incarnation` and upload again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sheaf.core.base.limits import MIB
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX, PAGE_ITEMS_MAX
from sheaf.core.wire.relay_words import INCARNATION_BYTES
from sheaf.ports.relay import MailboxPage, MailboxStat, StoredItem

DAY_S: Final = 86_400
ITEM_OVERHEAD_BYTES: Final = 128
"""What an item counts for beyond its bytes, so that quotas bound empty items too."""
NO_INCARNATION: Final = bytes(INCARNATION_BYTES)
EMPTY_PAGE: Final = MailboxPage(items=(), last=0, incarnation=NO_INCARNATION)
EMPTY_STAT: Final = MailboxStat(
    items=0, size_bytes=0, first=0, last=0, incarnation=NO_INCARNATION, oldest_age_s=0
)
"""The answers for a mailbox that does not exist."""

OnNews = Callable[[bytes, int, bytes], None]
"""(mailbox id, newest position, incarnation): it only enqueues."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What one store bears. Sizes are those of `charged_bytes`."""

    item_bytes_max: int = ITEM_BYTES_MAX
    mailbox_bytes_max: int = 64 * MIB
    total_bytes_max: int = 4096 * MIB
    retention_s: int = 60 * DAY_S
    page_items_max: int = PAGE_ITEMS_MAX


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """Everything in the store, for metrics."""

    mailboxes: int
    items: int
    size_bytes: int


class MailboxStore(Protocol):
    """Mailboxes of one relay, or of all nodes of a fleet.

    Every method raises `RelayRefused`: WRONG_TOKEN when the mailbox was made with another token,
    UNAVAILABLE when the store is out of reach, besides what is said there. A refused request
    changes nothing. `token_hash` is `hash_token(token)`, 32 bytes; the mailbox id has 16.

    Invariants of an implementation:
    1. Positions begin above 0 and strictly grow; within one incarnation none is given twice, and
       `last` never falls (not by expiry or compaction either).
    2. The incarnation is drawn at random when a mailbox is made. An empty mailbox is forgotten no
       sooner than a retention after it became empty.
    3. What `put` and `compact` returned is in the answer of a later `read`, from any node.
    4. The calls do not block the event loop.
    """

    async def put(self, mailbox_id: bytes, token_hash: bytes, item: bytes) -> StoredItem:
        """Append an item; the first makes the mailbox.

        An item that stands there already (same SHA-256) is not stored again: its position comes back.
        Refused TOO_LARGE, or FULL (the mailbox, the whole store or its disk).
        """
        ...

    async def read(self, mailbox_id: bytes, token_hash: bytes, after: int, bytes_max: int) -> MailboxPage:
        """Items at positions above `after`, oldest first, together at most `bytes_max` bytes but at
        least one if there is any. `EMPTY_PAGE` when there is no such mailbox."""
        ...

    async def compact(
        self, mailbox_id: bytes, token_hash: bytes, expect_last: int, item: bytes
    ) -> StoredItem:
        """Replace all items by this one, in one step, at a new position.

        Refused CHANGED when `expect_last` is not `last`, or there is no such mailbox; TOO_LARGE.
        """
        ...

    async def stat(self, mailbox_id: bytes, token_hash: bytes) -> MailboxStat:
        """What stands there; `EMPTY_STAT` when there is no such mailbox. Sizes without overhead."""
        ...

    async def watch(self, mailbox_id: bytes) -> None:
        """From the return on, `on_news` (given at construction) is called whenever this mailbox
        changed, through whatever node; several changes may come as one. May be called again for
        another client; one `unwatch` ends it for all, so the caller counts."""
        ...

    async def unwatch(self, mailbox_id: bytes) -> None:
        """No more news of it."""
        ...

    async def expire(self, now_s: float) -> int:
        """Drop items older than the retention at the wall clock `now_s`; returns how many.

        An implementation whose server does that by itself returns 0.
        """
        ...

    async def totals(self) -> StoreTotals:
        """For metrics and `/healthz`; raises RelayRefused UNAVAILABLE when the store is out of reach."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and let go. Idempotent."""
        ...


def hash_token(token: bytes) -> bytes:
    """What a store keeps of the bearer token of a mailbox: it cannot be turned back."""
    return hashlib.sha256(b"sheaf/1 relay mailbox token\x00" + token).digest()


def charged_bytes(item: bytes) -> int:
    """What an item counts for in quotas."""
    return len(item) + ITEM_OVERHEAD_BYTES
