"""Mailboxes in NATS JetStream: the store of a fleet (port `MailboxStore`, PROTOCOL §7 "Fleet").

The newest message of a mailbox, its head, tells everything about it (`Label`); each request reads it
first, so what one node stored the next one sees. Positions are the stream's sequence numbers.
Decision 0052.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from nats.aio.msg import Msg

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_words import INCARNATION_BYTES, RefusalCode, RelayRefused
from sheaf.ports.relay import MailboxItem, MailboxPage, MailboxStat, StoredItem
from sheaf.relay.nats_address import NatsAddress
from sheaf.relay.nats_expiry import expire_shard
from sheaf.relay.nats_index import Entry, Indexes, MailboxIndex
from sheaf.relay.nats_link import NatsLink
from sheaf.relay.nats_shards import Message, Moved, NatsShards
from sheaf.relay.nats_words import SEQUENCE, Label, mailbox_of, read_label, read_number
from sheaf.relay.store import (
    EMPTY_PAGE,
    EMPTY_STAT,
    NO_INCARNATION,
    OnNews,
    StoreLimits,
    StoreTotals,
    charged_bytes,
)
from sheaf.task_set import TaskSet

ITEMS_MAX: Final = 65_536
"""In one mailbox: what a node remembers of it stays small. Members compact at 256."""
_TRIES: Final = 24
"""Writers that keep overtaking us: more is no bad luck."""
_TOTALS_S: Final = 2.0
"""How long the size of the whole store is believed; what this node adds meanwhile is counted."""
_AT_ONCE: Final = 16
_AGAIN_S: Final = 1.0
_WRITTEN_MAX: Final = 16_384
_LOCKS: Final = 256
"""Requests of this node to one mailbox take turns; a few mailboxes share a lock."""

_log = logging.getLogger(__name__)


class NatsMailboxStore:
    """A `MailboxStore` over a link that others may share."""

    def __init__(
        self,
        *,
        link: NatsLink,
        address: NatsAddress,
        limits: StoreLimits,
        on_news: OnNews,
        now_s: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._link = link
        self._limits = limits
        self._on_news = on_news
        self._now_s = now_s
        self._entropy = entropy
        self._indexes = Indexes()
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        self._written: OrderedDict[bytes, Label] = OrderedDict()
        """Of mailboxes whose newest message, as far as known, was written here."""
        self._watched: set[bytes] = set()
        self._held_bytes = 0
        self._coming_bytes = 0
        self._held_until_s = 0.0
        self._tasks = TaskSet("nats store")
        self._shards = NatsShards(
            link=link,
            address=address,
            retention_s=limits.retention_s,
            item_bytes_max=limits.item_bytes_max,
            on_lost=self._start_over,
        )
        link.on_ready(self._start_over)

    async def put(self, mailbox_id: bytes, token_hash: bytes, item: bytes) -> StoredItem:
        """See `MailboxStore`."""
        self._check_size(item)
        digest = hashlib.sha256(item).digest()
        async with self._lock(mailbox_id):
            if (stored := await self._put_unread(mailbox_id, token_hash, digest, item)) is not None:
                return stored
            for _ in range(_TRIES):
                head = await self._head(mailbox_id, token_hash)
                incarnation = head.label.incarnation if head else self._entropy(INCARNATION_BYTES)
                index = await self._index(mailbox_id, head)
                if (known := index.position_of(digest)) is not None:
                    return StoredItem(known, incarnation)
                await self._check_room(index, item)
                label = Label(token_hash, incarnation, digest)
                with contextlib.suppress(Moved):
                    return await self._append(mailbox_id, label, item, index)
        raise RelayRefused(RefusalCode.RATE)

    async def _put_unread(
        self, mailbox_id: bytes, token_hash: bytes, digest: bytes, item: bytes
    ) -> StoredItem | None:
        """Put without reading the head first, if this node wrote the newest message it knows of.

        The write names that message: when anything else is the head by now, NATS refuses, and nothing
        that is said here rests on memory alone. None: read, and do it in full.
        """
        known = self._written.get(mailbox_id)
        if known is None or not hmac.compare_digest(known.token_hash, token_hash):
            return None
        index = self._indexes.get(mailbox_id, known.incarnation)
        index.drop_before(self._now_s() - self._limits.retention_s)
        if index.newest is None or index.position_of(digest) is not None:
            return None
        try:
            await self._check_room(index, item)
        except RelayRefused:
            return None  # another node may have made room
        try:
            return await self._append(mailbox_id, Label(token_hash, known.incarnation, digest), item, index)
        except Moved:
            return None

    async def _append(self, mailbox_id: bytes, label: Label, item: bytes, index: MailboxIndex) -> StoredItem:
        """Store an item after what the index knows. Raises Moved, and is forgetful then."""
        self._written.pop(mailbox_id, None)
        with self._coming(item):
            position = await self._shards.append(mailbox_id, label, item, after=index.head)
        self._held_bytes += charged_bytes(item)
        index.add(Entry(position, label.digest, len(item), self._now_s()))
        self._written[mailbox_id] = label
        if len(self._written) > _WRITTEN_MAX:
            self._written.popitem(last=False)
        return StoredItem(position, label.incarnation)

    async def read(self, mailbox_id: bytes, token_hash: bytes, after: int, bytes_max: int) -> MailboxPage:
        """See `MailboxStore`."""
        for _ in range(_TRIES):
            async with self._lock(mailbox_id):
                head = await self._head(mailbox_id, token_hash)
                index = await self._index(mailbox_id, head)
                entries = index.page(after, bytes_max, self._limits.page_items_max)
                last = index.newest.last if index.newest else 0
            if head is None:
                return EMPTY_PAGE
            found = await self._items(mailbox_id, head, entries)
            if None not in found:
                items = tuple(
                    MailboxItem(entry.position, data or b"")
                    for entry, data in zip(entries, found, strict=True)
                )
                return MailboxPage(items, last, head.label.incarnation)
            self._indexes.forget(mailbox_id, head.label.incarnation)  # compacted or expired meanwhile
        raise RelayRefused(RefusalCode.UNAVAILABLE)

    async def compact(
        self, mailbox_id: bytes, token_hash: bytes, expect_last: int, item: bytes
    ) -> StoredItem:
        """See `MailboxStore`."""
        self._check_size(item)
        head = await self._head(mailbox_id, token_hash)
        if head is None or head.entry.last != expect_last:
            raise RelayRefused(RefusalCode.CHANGED)
        label = Label(token_hash, head.label.incarnation, hashlib.sha256(item).digest())
        try:
            position = await self._shards.append(
                mailbox_id, label, item, after=head.entry.position, is_rollup=True
            )
        except Moved:
            raise RelayRefused(RefusalCode.CHANGED) from None
        self._held_until_s = 0.0  # there may be room again
        return StoredItem(position, head.label.incarnation)

    async def stat(self, mailbox_id: bytes, token_hash: bytes) -> MailboxStat:
        """See `MailboxStore`."""
        async with self._lock(mailbox_id):
            head = await self._head(mailbox_id, token_hash)
            index = await self._index(mailbox_id, head)
        if head is None or index.newest is None:
            return EMPTY_STAT
        oldest = index.oldest
        return MailboxStat(
            items=len(index),
            size_bytes=index.size_bytes,
            first=oldest.position if oldest else 0,
            last=index.newest.last,
            incarnation=head.label.incarnation,
            oldest_age_s=max(0, int(self._now_s() - oldest.stored_s)) if oldest else 0,
        )

    async def watch(self, mailbox_id: bytes) -> None:
        """See `MailboxStore`."""
        subject = self._news_subject(mailbox_id)
        self._link.client  # noqa: B018  # refuses while NATS is away
        self._watched.add(mailbox_id)
        await self._link.listen(subject, self._hear, is_quick=True)
        await self._link.settle()

    async def unwatch(self, mailbox_id: bytes) -> None:
        """See `MailboxStore`."""
        self._watched.discard(mailbox_id)
        await self._link.unlisten(self._news_subject(mailbox_id))

    async def expire(self, now_s: float) -> int:
        """See `MailboxStore`. Every node may do it, at the same time too."""
        before_s = now_s - self._limits.retention_s
        dropped = [await expire_shard(self._shards, shard, before_s) for shard in self._shards.shards]
        if any(dropped):
            self._indexes.clear()
            self._written.clear()
        return sum(dropped)

    async def totals(self) -> StoreTotals:
        """See `MailboxStore`. Items include the markers of empty mailboxes, sizes NATS's own overhead."""
        states = await self._shards.states()
        self._held_bytes = sum(state.size_bytes for state in states)
        self._held_until_s = self._now_s() + _TOTALS_S
        return StoreTotals(
            mailboxes=sum(state.subjects for state in states),
            items=sum(state.messages for state in states),
            size_bytes=self._held_bytes,
        )

    async def close(self) -> None:
        """See `MailboxStore`. Ends the link, too."""
        await self._tasks.close()
        await self._link.close()

    # ------------------------------------------------------------------ one mailbox

    async def _items(
        self, mailbox_id: bytes, head: Message, entries: Sequence[Entry]
    ) -> Sequence[bytes | None]:
        """The bytes of these; those of the head have come with it."""
        is_head_last = bool(entries) and entries[-1].position == head.entry.position
        asked = entries[:-1] if is_head_last else entries
        found = await self._shards.items(mailbox_id, [entry.position for entry in asked]) if asked else []
        return [*found, head.data] if is_head_last else found

    async def _head(self, mailbox_id: bytes, token_hash: bytes) -> Message | None:
        head = await self._shards.head(mailbox_id)
        if head is not None and not hmac.compare_digest(head.label.token_hash, token_hash):
            raise RelayRefused(RefusalCode.WRONG_TOKEN)
        return head

    async def _index(self, mailbox_id: bytes, head: Message | None) -> MailboxIndex:
        """What stands in the mailbox up to `head`. The caller holds the mailbox's lock."""
        if head is None:
            return MailboxIndex()
        incarnation = head.label.incarnation
        index = self._indexes.get(mailbox_id, incarnation)
        if not index.is_followed_by(head.entry):  # NATS lost messages that we have seen
            self._indexes.forget(mailbox_id, incarnation)
            index = self._indexes.get(mailbox_id, incarnation)
        if head.entry.is_rollup or head.follows == index.head:
            index.add(head.entry)  # nothing else is missing
        elif index.head < head.entry.position:
            shard = self._shards.shard_of(mailbox_id)
            subject = shard.subject_of(mailbox_id)
            async for message in self._shards.messages(shard, subject, index.head + 1):
                if message.label.incarnation == incarnation:
                    index.add(message.entry)
            self._indexes.shrink()
        index.drop_before(self._now_s() - self._limits.retention_s)
        return index

    def _lock(self, mailbox_id: bytes) -> asyncio.Lock:
        return self._locks[mailbox_id[-1] % _LOCKS]

    def _check_size(self, item: bytes) -> None:
        if len(item) > self._limits.item_bytes_max:
            raise RelayRefused(RefusalCode.TOO_LARGE)

    async def _check_room(self, index: MailboxIndex, item: bytes) -> None:
        size = charged_bytes(item)
        if len(index) >= ITEMS_MAX or index.charged_bytes + size > self._limits.mailbox_bytes_max:
            raise RelayRefused(RefusalCode.FULL)
        if self._now_s() >= self._held_until_s:
            await self.totals()
        if self._held_bytes + self._coming_bytes + size > self._limits.total_bytes_max:
            raise RelayRefused(RefusalCode.FULL)

    @contextlib.contextmanager
    def _coming(self, item: bytes) -> Iterator[None]:
        """Count an item that is on its way to NATS: many come at the same time."""
        size = charged_bytes(item)
        self._coming_bytes += size
        try:
            yield
        finally:
            self._coming_bytes -= size

    # ------------------------------------------------------------------ news

    def _news_subject(self, mailbox_id: bytes) -> str:
        return self._shards.shard_of(mailbox_id).news_of(mailbox_id)

    async def _hear(self, message: Msg) -> None:
        """JetStream has stored something in a watched mailbox."""
        try:
            mailbox_id = mailbox_of(message.subject)
            label = read_label(message.headers)
            position = read_number(message.headers, SEQUENCE)
        except WireError as error:
            _log.warning("a message in NATS is not ours", extra={"error": str(error)})
            return
        if mailbox_id in self._watched:
            self._on_news(mailbox_id, position if label.digest else label.last, label.incarnation)

    def _start_over(self) -> None:
        """A new connection, or streams that had gone: what is there may not be what was there."""
        self._indexes.clear()
        self._written.clear()
        self._held_until_s = 0.0
        self._tasks.spawn(self._tell_all(), "news of all watched mailboxes")

    async def _tell_all(self) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)
        waiting = set(self._watched)
        while waiting and self._link.is_up:
            told = await asyncio.gather(*(self._tell(mailbox_id, gate) for mailbox_id in waiting))
            waiting = {each for each in told if each is not None} & self._watched
            if waiting:
                await asyncio.sleep(_AGAIN_S)

    async def _tell(self, mailbox_id: bytes, gate: asyncio.Semaphore) -> bytes | None:
        """Say where a mailbox ends; returns its id when that has to be tried again."""
        async with gate:
            try:
                head = await self._shards.head(mailbox_id)
            except RelayRefused:
                return mailbox_id
        if head is None:
            self._on_news(mailbox_id, 0, NO_INCARNATION)
        else:
            self._on_news(mailbox_id, head.entry.last, head.label.incarnation)
        return None
