"""Mailboxes in one SQLite file: the store of a relay of one node (port `MailboxStore`).

See `sqlite_worker` for how requests share commits, and decision 0049 for what a power cut may take.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import StorageFailure
from sheaf.core.wire.relay_words import INCARNATION_BYTES, RefusalCode, RelayRefused
from sheaf.ports.relay import MailboxItem, MailboxPage, MailboxStat, StoredItem
from sheaf.relay.sqlite_schema import connect, disconnect
from sheaf.relay.sqlite_worker import SqliteWorker
from sheaf.relay.store import (
    EMPTY_PAGE,
    EMPTY_STAT,
    ITEM_OVERHEAD_BYTES,
    OnNews,
    StoreLimits,
    StoreTotals,
    charged_bytes,
)

_EXPIRE_STEP: Final = 256
"""Items dropped in one transaction: others wait no longer than that takes."""
_VACUUM_PAGES: Final = 1024


@dataclass(frozen=True, slots=True)
class _Mailbox:
    row: int
    token_hash: bytes
    incarnation: bytes
    last: int
    items: int
    size_bytes: int

    @property
    def charged_bytes(self) -> int:
        return self.size_bytes + self.items * ITEM_OVERHEAD_BYTES


class SqliteStore:
    """A `MailboxStore`. Make it with `open_sqlite_store`.

    Invariant: `_totals` is what the committed database holds plus the running transaction; only the
    worker's thread writes it.
    """

    def __init__(
        self,
        *,
        limits: StoreLimits,
        on_news: OnNews,
        now_s: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._limits = limits
        self._on_news = on_news
        self._now_s = now_s
        self._entropy = entropy
        self._worker = SqliteWorker(on_rollback=self._count)
        self._totals = StoreTotals(0, 0, 0)
        self._watched: set[bytes] = set()

    async def open(self, path: Path) -> None:
        """Open the file. Raises StorageFailure with a sentence for the operator."""

        def begin() -> sqlite3.Connection:
            connection = connect(path)
            try:
                self._count(connection)
            except sqlite3.Error as error:
                connection.close()
                raise StorageFailure(
                    f"{path} is damaged ({error}). Move it away and start again: it is a cache."
                ) from error
            return connection

        await self._worker.open(begin)

    async def put(self, mailbox_id: bytes, token_hash: bytes, item: bytes) -> StoredItem:
        """See `MailboxStore`."""
        self._check_size(item)

        def job(connection: sqlite3.Connection) -> StoredItem:
            mailbox = self._find(connection, mailbox_id, token_hash)
            digest = hashlib.sha256(item).digest()
            if mailbox is not None:
                known = _position_of(connection, mailbox, digest)
                if known is not None:
                    return StoredItem(known, mailbox.incarnation)
            held = mailbox.charged_bytes if mailbox is not None else 0
            if held + charged_bytes(item) > self._limits.mailbox_bytes_max or self._is_full(item):
                raise RelayRefused(RefusalCode.FULL)
            if mailbox is None:
                mailbox = self._make(connection, mailbox_id, token_hash)
            return self._append(connection, mailbox, digest, item)

        return await self._worker.run(job, bytes_held=len(item), after=self._tell(mailbox_id))

    async def read(self, mailbox_id: bytes, token_hash: bytes, after: int, bytes_max: int) -> MailboxPage:
        """See `MailboxStore`."""

        def job(connection: sqlite3.Connection) -> MailboxPage:
            mailbox = self._find(connection, mailbox_id, token_hash)
            if mailbox is None:
                return EMPTY_PAGE
            items = _page(connection, mailbox.row, after, bytes_max, self._limits.page_items_max)
            return MailboxPage(items, mailbox.last, mailbox.incarnation)

        return await self._worker.run(job, bytes_held=bytes_max)

    async def compact(
        self, mailbox_id: bytes, token_hash: bytes, expect_last: int, item: bytes
    ) -> StoredItem:
        """See `MailboxStore`."""
        self._check_size(item)

        def job(connection: sqlite3.Connection) -> StoredItem:
            mailbox = self._find(connection, mailbox_id, token_hash)
            if mailbox is None or mailbox.last != expect_last:
                raise RelayRefused(RefusalCode.CHANGED)
            connection.execute("DELETE FROM item WHERE mailbox = ?", (mailbox.row,))
            self._add(items=-mailbox.items, size_bytes=-mailbox.size_bytes)
            emptied = _Mailbox(mailbox.row, token_hash, mailbox.incarnation, mailbox.last, 0, 0)
            return self._append(connection, emptied, hashlib.sha256(item).digest(), item)

        return await self._worker.run(job, bytes_held=len(item), after=self._tell(mailbox_id))

    async def stat(self, mailbox_id: bytes, token_hash: bytes) -> MailboxStat:
        """See `MailboxStore`."""

        def job(connection: sqlite3.Connection) -> MailboxStat:
            mailbox = self._find(connection, mailbox_id, token_hash)
            if mailbox is None:
                return EMPTY_STAT
            oldest = connection.execute(
                "SELECT position, stored_s FROM item WHERE mailbox = ? ORDER BY position LIMIT 1",
                (mailbox.row,),
            ).fetchall()
            first, stored_s = oldest[0] if oldest else (0, self._now_s())
            return MailboxStat(
                items=mailbox.items,
                size_bytes=mailbox.size_bytes,
                first=first,
                last=mailbox.last,
                incarnation=mailbox.incarnation,
                oldest_age_s=max(0, int(self._now_s() - stored_s)),
            )

        return await self._worker.run(job)

    async def watch(self, mailbox_id: bytes) -> None:
        """See `MailboxStore`."""
        self._watched.add(mailbox_id)

    async def unwatch(self, mailbox_id: bytes) -> None:
        """See `MailboxStore`."""
        self._watched.discard(mailbox_id)

    async def expire(self, now_s: float) -> int:
        """See `MailboxStore`. Works in steps, between which others take their turn."""
        dropped = 0
        before_s = int(now_s) - self._limits.retention_s
        while step := await self._worker.run(lambda connection: self._drop(connection, before_s, int(now_s))):
            dropped += step
        await self._worker.run(lambda connection: self._forget(connection, before_s))
        return dropped

    async def totals(self) -> StoreTotals:
        """See `MailboxStore`. Goes through the thread and the file, so that it tells their state."""

        def job(connection: sqlite3.Connection) -> StoreTotals:
            connection.execute("SELECT 1 FROM mailbox LIMIT 1").fetchall()
            return self._totals

        return await self._worker.run(job)

    async def close(self) -> None:
        """See `MailboxStore`."""
        await self._worker.close(disconnect)

    # ------------------------------------------------------------------ event loop

    def _check_size(self, item: bytes) -> None:
        if len(item) > self._limits.item_bytes_max:
            raise RelayRefused(RefusalCode.TOO_LARGE)

    def _tell(self, mailbox_id: bytes) -> Callable[[StoredItem], None]:
        def tell(stored: StoredItem) -> None:
            if mailbox_id in self._watched:
                self._on_news(mailbox_id, stored.position, stored.incarnation)

        return tell

    # ------------------------------------------------------------------ worker thread

    def _find(self, connection: sqlite3.Connection, mailbox_id: bytes, token_hash: bytes) -> _Mailbox | None:
        rows = connection.execute(
            "SELECT id, token_hash, incarnation, last, items, size_bytes FROM mailbox WHERE mailbox_id = ?",
            (mailbox_id,),
        ).fetchall()
        if not rows:
            return None
        mailbox = _Mailbox(*rows[0])
        if not hmac.compare_digest(mailbox.token_hash, token_hash):
            raise RelayRefused(RefusalCode.WRONG_TOKEN)
        return mailbox

    def _make(self, connection: sqlite3.Connection, mailbox_id: bytes, token_hash: bytes) -> _Mailbox:
        incarnation = self._entropy(INCARNATION_BYTES)
        row = connection.execute(
            "INSERT INTO mailbox (mailbox_id, token_hash, incarnation, last, items, size_bytes)"
            " VALUES (?, ?, ?, 0, 0, 0)",
            (mailbox_id, token_hash, incarnation),
        ).lastrowid
        assert row is not None
        self._add(mailboxes=1)
        return _Mailbox(row, token_hash, incarnation, 0, 0, 0)

    def _append(
        self, connection: sqlite3.Connection, mailbox: _Mailbox, digest: bytes, item: bytes
    ) -> StoredItem:
        position = mailbox.last + 1
        connection.execute(
            "INSERT INTO item (mailbox, position, hash, stored_s, data) VALUES (?, ?, ?, ?, ?)",
            (mailbox.row, position, digest, int(self._now_s()), item),
        )
        connection.execute(
            "UPDATE mailbox SET last = ?, items = ?, size_bytes = ?, emptied_s = NULL WHERE id = ?",
            (position, mailbox.items + 1, mailbox.size_bytes + len(item), mailbox.row),
        )
        self._add(items=1, size_bytes=len(item))
        return StoredItem(position, mailbox.incarnation)

    def _drop(self, connection: sqlite3.Connection, before_s: int, now_s: int) -> int:
        """Delete some items that were stored before `before_s`; how many."""
        old = connection.execute(
            "SELECT rowid, mailbox, length(data) FROM item WHERE stored_s < ? LIMIT ?",
            (before_s, _EXPIRE_STEP),
        ).fetchall()
        for row, mailbox, size_bytes in old:
            connection.execute("DELETE FROM item WHERE rowid = ?", (row,))
            connection.execute(
                "UPDATE mailbox SET items = items - 1, size_bytes = size_bytes - ?,"
                " emptied_s = iif(items = 1, ?, NULL) WHERE id = ?",
                (size_bytes, now_s, mailbox),
            )
            self._add(items=-1, size_bytes=-size_bytes)
        return len(old)

    def _forget(self, connection: sqlite3.Connection, before_s: int) -> None:
        """Forget mailboxes that have been empty for a retention; give space back to the disk."""
        count = connection.execute("DELETE FROM mailbox WHERE emptied_s < ?", (before_s,)).rowcount
        self._add(mailboxes=-count)
        free = connection.execute("PRAGMA freelist_count").fetchall()[0][0]
        for _ in range(min(free, _VACUUM_PAGES)):
            # Python's sqlite3 steps this statement once, which frees one page, whatever number is asked for.
            connection.execute("PRAGMA incremental_vacuum(1)").fetchall()

    def _is_full(self, item: bytes) -> bool:
        totals = self._totals
        held = totals.size_bytes + (totals.items + totals.mailboxes) * ITEM_OVERHEAD_BYTES
        return held + charged_bytes(item) > self._limits.total_bytes_max

    def _add(self, *, mailboxes: int = 0, items: int = 0, size_bytes: int = 0) -> None:
        totals = self._totals
        self._totals = StoreTotals(
            totals.mailboxes + mailboxes, totals.items + items, totals.size_bytes + size_bytes
        )

    def _count(self, connection: sqlite3.Connection) -> None:
        """Take the totals from the database: at the start, and after a rollback."""
        row = connection.execute(
            "SELECT count(*), ifnull(sum(items), 0), ifnull(sum(size_bytes), 0) FROM mailbox"
        ).fetchall()[0]
        self._totals = StoreTotals(*row)


async def open_sqlite_store(
    path: Path,
    *,
    limits: StoreLimits,
    on_news: OnNews,
    now_s: Callable[[], float],
    entropy: Callable[[int], bytes],
) -> SqliteStore:
    """Open (or make) the store at `path`.

    Args:
        now_s: wall clock, seconds since 1970.
        entropy: `entropy(n)` gives n random bytes.

    Raises:
        StorageFailure: damaged, newer, another program's, in use, not writable; what to do is said.
    """
    store = SqliteStore(limits=limits, on_news=on_news, now_s=now_s, entropy=entropy)
    await store.open(path)
    return store


def _position_of(connection: sqlite3.Connection, mailbox: _Mailbox, digest: bytes) -> int | None:
    rows = connection.execute(
        "SELECT position FROM item WHERE mailbox = ? AND hash = ?", (mailbox.row, digest)
    ).fetchall()
    return rows[0][0] if rows else None


def _page(
    connection: sqlite3.Connection, row: int, after: int, bytes_max: int, items_max: int
) -> tuple[MailboxItem, ...]:
    cursor = connection.execute(
        "SELECT position, data FROM item WHERE mailbox = ? AND position > ? ORDER BY position LIMIT ?",
        (row, after, items_max),
    )
    page: list[MailboxItem] = []
    size = 0
    try:
        for position, data in cursor:
            size += len(data)
            if page and size > bytes_max:
                break
            page.append(MailboxItem(position, data))
    finally:
        cursor.close()
    return tuple(page)
