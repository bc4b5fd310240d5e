"""Stores of mailboxes to be tested: one file, or a nats-server of one's own."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sheaf.relay.nats_address import parse_nats_address
from sheaf.relay.nats_link import NatsLink
from sheaf.relay.nats_store import NatsMailboxStore
from sheaf.relay.sqlite_store import open_sqlite_store
from sheaf.relay.store import MailboxStore, StoreLimits

OVERHEAD_BYTES_MAX = 512
"""What a store may count per item in its totals beyond the item's bytes: NATS counts headers, too."""


@dataclass
class Opened:
    """A store, and the news it told."""

    store: MailboxStore
    news: list[tuple[bytes, int, bytes]] = field(default_factory=list)


class Bed(Protocol):
    """Where stores of one kind live."""

    async def open(self, limits: StoreLimits) -> Opened:
        """Open the store, with what was left in it."""
        ...

    async def close(self) -> None:
        """Close every store that was opened."""
        ...


class SqliteBed:
    """One file."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "relay.sqlite3"
        self._opened: list[Opened] = []

    async def open(self, limits: StoreLimits) -> Opened:
        news: list[tuple[bytes, int, bytes]] = []
        store = await open_sqlite_store(
            self._path,
            limits=limits,
            on_news=lambda mailbox_id, last, incarnation: news.append((mailbox_id, last, incarnation)),
            now_s=time.time,
            entropy=os.urandom,
        )
        self._opened.append(Opened(store, news))
        return self._opened[-1]

    async def close(self) -> None:
        for opened in self._opened:
            await opened.store.close()


class NatsBed:
    """A nats-server; each store has a connection of its own, as each node of a fleet."""

    def __init__(self, url: str) -> None:
        self._address = parse_nats_address(url)
        self._opened: list[Opened] = []
        self.links: list[NatsLink] = []

    async def open(self, limits: StoreLimits) -> Opened:
        news: list[tuple[bytes, int, bytes]] = []
        link = NatsLink(address=self._address, name="contract")
        store = NatsMailboxStore(
            link=link,
            address=self._address,
            limits=limits,
            on_news=lambda mailbox_id, last, incarnation: news.append((mailbox_id, last, incarnation)),
            now_s=time.time,
            entropy=os.urandom,
        )
        self._opened.append(Opened(store, news))
        self.links.append(link)
        await link.start()
        return self._opened[-1]

    async def close(self) -> None:
        for opened in self._opened:
            await opened.store.close()
