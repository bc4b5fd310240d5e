"""Requests to mailboxes, and news of them (PROTOCOL §7).

Between the frames of clients and a `MailboxStore`: knows tokens only to hash them. Whatever the store
takes, a client has an answer within `store_s_max`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Final, TypeVar

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_requests import (
    MailboxCompact,
    MailboxFrame,
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStatRequest,
    MailboxStatus,
    MailboxStored,
    MailboxUnwatch,
    MailboxWatch,
)
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.ports.relay import MailboxStat
from sheaf.relay.client import Client, Watch
from sheaf.relay.limits import Addresses, RelayLimits
from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.store import MailboxStore, StoreTotals, charged_bytes, hash_token
from sheaf.task_set import TaskSet

ResultT = TypeVar("ResultT")

NEWS_DELAY_S: Final = 0.02
"""Changes of one mailbox within this time are told as one."""


class NewsBoard:
    """Collects what stores say (`OnNews`) and tells it a moment later, several changes as one."""

    def __init__(self) -> None:
        self._pending: dict[bytes, tuple[int, bytes]] = {}  # bounded: mailboxes that are watched
        self._listener: Callable[[bytes, int, bytes], None] | None = None

    def listen(self, listener: Callable[[bytes, int, bytes], None]) -> None:
        """Who is told."""
        self._listener = listener

    def changed(self, mailbox_id: bytes, last: int, incarnation: bytes) -> None:
        """A mailbox changed (`OnNews`)."""
        if not self._pending:
            asyncio.get_running_loop().call_later(NEWS_DELAY_S, self._tell)
        self._pending[mailbox_id] = (last, incarnation)

    def _tell(self) -> None:
        pending, self._pending = self._pending, {}
        if self._listener is not None:
            for mailbox_id, (last, incarnation) in pending.items():
                self._listener(mailbox_id, last, incarnation)


class Mailboxes:
    """Serves mailbox frames.

    Invariants:
    1. A client hears of a mailbox only with the token it was made with.
    2. Positions told to one client within an incarnation do not fall, unless the store itself says so
       when asked: then the client hears that too (it was rolled back).
    """

    def __init__(
        self,
        *,
        store: MailboxStore,
        news: NewsBoard,
        limits: RelayLimits,
        addresses: Addresses,
        metrics: RelayMetrics,
    ) -> None:
        self._store = store
        self._limits = limits
        self._addresses = addresses
        self._metrics = metrics
        self._watchers: dict[bytes, list[Client]] = {}
        self._tasks = TaskSet("relay mailboxes")
        news.listen(self._changed)

    async def close(self) -> None:
        """End what runs in the background; the store is its owner's."""
        await self._tasks.close()

    async def totals(self) -> StoreTotals:
        """Ask the store for its totals. Raises RelayRefused."""
        return await self._ask("totals", self._store.totals())

    async def serve(self, client: Client, frame: MailboxFrame) -> None:
        """Do what a client asks.

        Raises:
            RelayRefused: as the store does; RATE, UNAVAILABLE.
            WireError: clients do not send such a frame.
        """
        match frame:
            case MailboxPut(request, mailbox_id, token, item):
                self._may_store(client, item)
                stored = await self._ask("put", self._store.put(mailbox_id, hash_token(token), item))
                client.push(MailboxStored(request, stored.position, stored.incarnation))
            case MailboxGet():
                await self._get(client, frame)
            case MailboxWatch():
                await self._watch(client, frame)
            case MailboxUnwatch(mailbox_id):
                await self._unwatch(client, mailbox_id)
            case MailboxCompact(request, mailbox_id, token, expect_last, item):
                self._may_store(client, item)
                stored = await self._ask(
                    "compact", self._store.compact(mailbox_id, hash_token(token), expect_last, item)
                )
                client.push(MailboxStored(request, stored.position, stored.incarnation))
            case MailboxStatRequest(request, mailbox_id, token):
                stat = await self._ask("stat", self._store.stat(mailbox_id, hash_token(token)))
                client.push(_status(request, stat))
            case _:
                raise WireError("clients do not send this")

    async def leave(self, client: Client) -> None:
        """The client's connection ended."""
        for mailbox_id in list(client.watches or ()):
            await self._unwatch(client, mailbox_id)

    # ------------------------------------------------------------------ reading and writing

    async def _get(self, client: Client, frame: MailboxGet) -> None:
        page = await self._ask(
            "get", self._store.read(frame.mailbox_id, hash_token(frame.token), frame.after, frame.bytes_max)
        )
        items = tuple((item.position, item.data) for item in page.items)
        client.owe(sum(len(data) for _, data in items))
        client.push(MailboxItems(frame.request, page.incarnation, page.last, items))

    def _may_store(self, client: Client, item: bytes) -> None:
        if not self._addresses.may_store(client.address, charged_bytes(item)):
            raise RelayRefused(RefusalCode.RATE)

    async def _ask(self, name: str, request: Coroutine[Any, Any, ResultT]) -> ResultT:
        started = perf_counter()
        try:
            async with asyncio.timeout(self._limits.store_s_max):
                return await request
        except TimeoutError as error:
            raise RelayRefused(RefusalCode.UNAVAILABLE) from error
        finally:
            self._metrics.store_seconds.labels(name).observe(perf_counter() - started)

    # ------------------------------------------------------------------ watching

    async def _watch(self, client: Client, frame: MailboxWatch) -> None:
        mailbox_id = frame.mailbox_id
        if client.watches is None:
            client.watches = {}
        if mailbox_id not in client.watches and len(client.watches) >= self._limits.watches_max:
            raise RelayRefused(RefusalCode.FULL)
        await self._unwatch(client, mailbox_id)
        watch = client.watches[mailbox_id] = Watch(hash_token(frame.token))
        self._watchers.setdefault(mailbox_id, []).append(client)
        try:
            # For every watcher: the watch of another one may not be in force yet.
            await self._ask("watch", self._store.watch(mailbox_id))
            stat = await self._ask("stat", self._store.stat(mailbox_id, watch.token_hash))
        except RelayRefused:
            await self._unwatch(client, mailbox_id)
            raise
        _tell(client, mailbox_id, watch, stat.last, stat.incarnation)

    async def _unwatch(self, client: Client, mailbox_id: bytes) -> None:
        if not client.watches or client.watches.pop(mailbox_id, None) is None:
            return
        watchers = self._watchers[mailbox_id]
        watchers.remove(client)
        if not watchers:
            del self._watchers[mailbox_id]
            await self._store.unwatch(mailbox_id)

    def _changed(self, mailbox_id: bytes, last: int, incarnation: bytes) -> None:
        for client in self._watchers.get(mailbox_id, ()):
            watch = (client.watches or {}).get(mailbox_id)
            if watch is None or watch.incarnation is None:
                continue  # its first answer is still to come
            if watch.incarnation == incarnation and watch.last <= last:
                _tell(client, mailbox_id, watch, last, incarnation)
            else:
                self._tasks.spawn(self._look_again(client, mailbox_id, watch), "look again")

    async def _look_again(self, client: Client, mailbox_id: bytes, watch: Watch) -> None:
        """It was made anew, perhaps with another token (1), or it fell back (2): ask, and tell that."""
        try:
            stat = await self._ask("stat", self._store.stat(mailbox_id, watch.token_hash))
        except RelayRefused as refusal:
            if refusal.code is RefusalCode.WRONG_TOKEN:
                await self._unwatch(client, mailbox_id)
            return
        if client.watches is not None and client.watches.get(mailbox_id) is watch:
            _tell(client, mailbox_id, watch, stat.last, stat.incarnation)


def _tell(client: Client, mailbox_id: bytes, watch: Watch, last: int, incarnation: bytes) -> None:
    watch.last = last
    watch.incarnation = incarnation
    client.push(MailboxNews(mailbox_id, incarnation, last))


def _status(request: int, stat: MailboxStat) -> MailboxStatus:
    return MailboxStatus(
        request=request,
        incarnation=stat.incarnation,
        items=stat.items,
        size_bytes=stat.size_bytes,
        first=stat.first,
        last=stat.last,
        oldest_age_s=stat.oldest_age_s,
    )
