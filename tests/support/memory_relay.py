"""A relay inside one process: the `Relay` and `RelayPool` ports without a network.

`RelayBox` is the relay itself, with plain synchronous calls (for simulations in virtual time);
`MemoryRelay` is one daemon's view of it, `MemoryRelayPool` all of a daemon's relays. A box can be
switched off, emptied, put back to an earlier copy, made to refuse, to forget and to replay.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_words import INCARNATION_BYTES, SAYING_BYTES_MAX, RefusalCode, RelayRefused
from sheaf.ports.relay import (
    MailboxAccess,
    MailboxItem,
    MailboxPage,
    MailboxStat,
    Nameplate,
    Relay,
    RelayState,
    RelayStatus,
    StoredItem,
)

NO_INCARNATION = bytes(INCARNATION_BYTES)
SAYINGS_MAX = 8

OnNews = Callable[[int, bytes], None]
Schedule = Callable[[Callable[[], None]], object]


@dataclass
class MailboxState:
    """One mailbox as the relay keeps it."""

    token_hash: bytes
    incarnation: bytes
    items: list[MailboxItem] = field(default_factory=list)
    last: int = 0


class RelayBox:
    """What the relay knows. Every request raises `RelayRefused` or, when it is off, `TransportFailure`."""

    def __init__(
        self, url: str, *, item_bytes_max: int = 512 * 1024, mailbox_bytes_max: int = 64 * 1024 * 1024
    ) -> None:
        self.url = url
        self.item_bytes_max = item_bytes_max
        self.mailbox_bytes_max = mailbox_bytes_max
        self.is_up = True
        self.refusal: RefusalCode | None = None
        """Said to every PUT and COMPACT while set."""
        self.mailboxes: dict[bytes, MailboxState] = {}
        self.plates: dict[int, list[MemoryNameplate]] = {}
        self._sayings: dict[int, deque[bytes]] = {}
        self._watchers: dict[bytes, list[OnNews]] = {}
        self._switched: list[Callable[[], None]] = []
        self._lives = 0

    # ------------------------------------------------------------------ what tests do to it

    def switch(self, *, is_up: bool) -> None:
        """Everybody loses the connection, or has one again."""
        self.is_up = is_up
        if not is_up:
            for number in list(self.plates):
                self.close_plate(number, TransportFailure(f"the connection to {self.url} is gone"))
        for told in list(self._switched):
            told()

    def copy(self) -> dict[bytes, MailboxState]:
        """The store as it is now, for `restore`."""
        return copy.deepcopy(self.mailboxes)

    def restore(self, earlier: dict[bytes, MailboxState]) -> None:
        """Rolled back to an earlier copy (the incarnations are the old ones too)."""
        self.mailboxes = copy.deepcopy(earlier)
        self._tell_all()

    def wipe(self) -> None:
        """The whole store is lost."""
        self.mailboxes.clear()
        self._tell_all()

    # ------------------------------------------------------------------ mailboxes

    def put(self, access: MailboxAccess, item: bytes) -> StoredItem:
        """See `Relay.put`."""
        self._may_write(item)
        box = self._box(access)
        if box is None:
            self._lives += 1
            life = hashlib.sha256(b"%d" % self._lives + access.mailbox_id).digest()[:INCARNATION_BYTES]
            box = self.mailboxes[access.mailbox_id] = MailboxState(_hash(access.token), life)
        for known in box.items:
            if known.data == item:
                return StoredItem(known.position, box.incarnation)
        if sum(len(known.data) for known in box.items) + len(item) > self.mailbox_bytes_max:
            raise RelayRefused(RefusalCode.FULL)
        return self._append(access.mailbox_id, box, item)

    def get(self, access: MailboxAccess, after: int, bytes_max: int) -> MailboxPage:
        """See `Relay.get`."""
        self._is_reachable()
        box = self._box(access)
        if box is None:
            return MailboxPage((), 0, NO_INCARNATION)
        page: list[MailboxItem] = []
        size = 0
        for item in box.items:
            if item.position > after and (not page or size + len(item.data) <= bytes_max):
                page.append(item)
                size += len(item.data)
        return MailboxPage(tuple(page), box.last, box.incarnation)

    def compact(self, access: MailboxAccess, expect_last: int, item: bytes) -> StoredItem:
        """See `Relay.compact`."""
        self._may_write(item)
        box = self._box(access)
        if box is None or box.last != expect_last:
            raise RelayRefused(RefusalCode.CHANGED)
        box.items.clear()
        return self._append(access.mailbox_id, box, item)

    def stat(self, access: MailboxAccess) -> MailboxStat:
        """See `Relay.stat`."""
        self._is_reachable()
        box = self._box(access)
        if box is None:
            return MailboxStat(0, 0, 0, 0, NO_INCARNATION, 0)
        first = box.items[0].position if box.items else 0
        size = sum(len(item.data) for item in box.items)
        return MailboxStat(len(box.items), size, first, box.last, box.incarnation, 0)

    def watch(self, access: MailboxAccess, on_news: OnNews) -> Callable[[], None]:
        """Tell `on_news` from now on; the first news is the caller's to ask for (`news`)."""
        watchers = self._watchers.setdefault(access.mailbox_id, [])
        watchers.append(on_news)
        return lambda: watchers.remove(on_news) if on_news in watchers else None

    def news(self, mailbox_id: bytes) -> tuple[int, bytes]:
        """(last, incarnation) of a mailbox."""
        box = self.mailboxes.get(mailbox_id)
        return (0, NO_INCARNATION) if box is None else (box.last, box.incarnation)

    def on_switch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Hear of `switch`; returns what ends it."""
        self._switched.append(told)
        return lambda: self._switched.remove(told) if told in self._switched else None

    def _append(self, mailbox_id: bytes, box: MailboxState, item: bytes) -> StoredItem:
        box.last += 1
        box.items.append(MailboxItem(box.last, item))
        self._tell(mailbox_id)
        return StoredItem(box.last, box.incarnation)

    def _tell_all(self) -> None:
        for mailbox_id in list(self._watchers):
            self._tell(mailbox_id)

    def _tell(self, mailbox_id: bytes) -> None:
        if self.is_up:
            for on_news in list(self._watchers.get(mailbox_id, ())):
                on_news(*self.news(mailbox_id))

    def _is_reachable(self) -> None:
        if not self.is_up:
            raise TransportFailure(f"the relay {self.url} cannot be reached")

    def _may_write(self, item: bytes) -> None:
        self._is_reachable()
        if self.refusal is not None:
            raise RelayRefused(self.refusal)
        if len(item) > self.item_bytes_max:
            raise RelayRefused(RefusalCode.TOO_LARGE)

    def _box(self, access: MailboxAccess) -> MailboxState | None:
        box = self.mailboxes.get(access.mailbox_id)
        if box is not None and box.token_hash != _hash(access.token):
            raise RelayRefused(RefusalCode.WRONG_TOKEN)
        return box

    # ------------------------------------------------------------------ nameplates

    def allocate(self) -> MemoryNameplate:
        """See `Relay.allocate_nameplate`."""
        self._is_reachable()
        number = next(n for n in range(1, 100_000) if n not in self.plates)
        plate = MemoryNameplate(self, number)
        self.plates[number] = [plate]
        self._sayings[number] = deque(maxlen=SAYINGS_MAX)
        return plate

    def claim(self, number: int) -> MemoryNameplate:
        """See `Relay.claim_nameplate`."""
        self._is_reachable()
        sides = self.plates.get(number)
        if sides is None:
            raise RelayRefused(RefusalCode.GONE)
        if len(sides) > 1:
            self.close_plate(number, RelayRefused(RefusalCode.CROWDED))
            raise RelayRefused(RefusalCode.CROWDED)
        plate = MemoryNameplate(self, number)
        sides.append(plate)
        for saying in self._sayings[number]:
            plate.heard(saying)
        return plate

    def say(self, plate: MemoryNameplate, data: bytes) -> None:
        """Pass a message on, or keep it for who comes."""
        self._is_reachable()
        sides = self.plates.get(plate.number, [])
        if plate not in sides:
            raise RelayRefused(RefusalCode.GONE)
        if len(sides) < 2:
            self._sayings[plate.number].append(data)
        for side in sides:
            if side is not plate:
                side.heard(data)

    def release(self, plate: MemoryNameplate) -> None:
        """One side leaves; the number is free."""
        if plate in self.plates.get(plate.number, ()):
            self.close_plate(plate.number, RelayRefused(RefusalCode.GONE))

    def close_plate(self, number: int, reason: TransportFailure) -> None:
        """Both sides hear why it is over."""
        for side in self.plates.pop(number, ()):
            side.closed(reason)
        self._sayings.pop(number, None)


class MemoryNameplate:
    """One side of a nameplate (port `Nameplate`)."""

    def __init__(self, box: RelayBox, number: int) -> None:
        self._box = box
        self._number = number
        self._inbox: asyncio.Queue[bytes | TransportFailure] = asyncio.Queue(2 * SAYINGS_MAX)

    @property
    def number(self) -> int:
        return self._number

    @property
    def relay_url(self) -> str:
        return self._box.url

    async def say(self, data: bytes) -> None:
        assert len(data) <= SAYING_BYTES_MAX
        self._box.say(self, data)

    async def hear(self) -> bytes:
        message = await self._inbox.get()
        if isinstance(message, TransportFailure):
            self._inbox.put_nowait(message)
            raise message
        return message

    async def release(self) -> None:
        self._box.release(self)

    def heard(self, data: bytes) -> None:
        """The other side spoke; what nobody listens to is dropped."""
        if not self._inbox.full():
            self._inbox.put_nowait(data)

    def closed(self, reason: TransportFailure) -> None:
        """It is over."""
        while self._inbox.full():
            self._inbox.get_nowait()
        self._inbox.put_nowait(reason)


class MemoryRelay:
    """One daemon's connection to a `RelayBox` (port `Relay`)."""

    def __init__(self, box: RelayBox, *, on_change: Callable[[], None], schedule: Schedule) -> None:
        self._box = box
        self._on_change = on_change
        self._schedule = schedule
        self._watches: list[_Watch] = []
        self._forget_switch = box.on_switch(self._switched)
        self._plates: list[MemoryNameplate] = []
        self._is_closed = False

    @property
    def url(self) -> str:
        return self._box.url

    @property
    def status(self) -> RelayStatus:
        if self._box.is_up:
            return RelayStatus(self.url, RelayState.CONNECTED, since_ms=0, rtt_s=0.001)
        problem = f"The relay {self.url} cannot be reached. Nothing needs to be done: it is tried again."
        return RelayStatus(self.url, RelayState.UNREACHABLE, problem, since_ms=0)

    @property
    def item_bytes_max(self) -> int:
        return self._box.item_bytes_max

    async def put(self, access: MailboxAccess, item: bytes) -> StoredItem:
        await self._turn()
        return self._box.put(access, item)

    async def get(self, access: MailboxAccess, after: int, bytes_max: int) -> MailboxPage:
        await self._turn()
        return self._box.get(access, after, bytes_max)

    def watch(self, access: MailboxAccess, on_news: OnNews) -> Callable[[], None]:
        watch = _Watch(self._box, access, on_news, self._schedule)
        self._watches.append(watch)
        watch.tell()
        return watch.end

    async def compact(self, access: MailboxAccess, expect_last: int, item: bytes) -> StoredItem:
        await self._turn()
        return self._box.compact(access, expect_last, item)

    async def stat(self, access: MailboxAccess) -> MailboxStat:
        await self._turn()
        return self._box.stat(access)

    async def allocate_nameplate(self) -> Nameplate:
        await self._turn()
        self._plates.append(self._box.allocate())
        return self._plates[-1]

    async def claim_nameplate(self, number: int) -> Nameplate:
        await self._turn()
        self._plates.append(self._box.claim(number))
        return self._plates[-1]

    def close(self) -> None:
        """Let go: watches end, nameplates are released."""
        self._is_closed = True
        self._forget_switch()
        for watch in self._watches:
            watch.end()
        for plate in self._plates:
            self._box.release(plate)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self._is_closed:
            raise TransportFailure(f"the relay {self.url} is not used any more")

    def _switched(self) -> None:
        for watch in self._watches:
            watch.tell()
        self._on_change()


class _Watch:
    """News of one mailbox, on a later turn, several changes as one."""

    def __init__(self, box: RelayBox, access: MailboxAccess, on_news: OnNews, schedule: Schedule) -> None:
        self._box = box
        self._access = access
        self._on_news = on_news
        self._schedule = schedule
        self._is_due = False
        self._is_over = False
        self._forget = box.watch(access, lambda _last, _incarnation: self.tell())

    def tell(self) -> None:
        """Soon, with what is then the news."""
        if not self._is_due:
            self._is_due = True
            self._schedule(self._tell)

    def end(self) -> None:
        self._is_over = True
        self._forget()

    def _tell(self) -> None:
        self._is_due = False
        if self._box.is_up and not self._is_over:
            self._on_news(*self._box.news(self._access.mailbox_id))


class MemoryRelayPool:
    """The relays of one daemon (port `RelayPool`); `boxes` are all there are in the world."""

    def __init__(self, *boxes: RelayBox, schedule: Schedule | None = None) -> None:
        self._boxes = {box.url: box for box in boxes}
        self._schedule = schedule or (lambda callback: asyncio.get_running_loop().call_soon(callback))
        self._relays: dict[str, MemoryRelay] = {}
        self._callbacks: list[Callable[[], None]] = []

    def set_urls(self, urls: Sequence[str]) -> None:
        wanted = dict.fromkeys(urls)
        for url in list(self._relays):
            if url not in wanted:
                self._relays.pop(url).close()
        kept = self._relays
        self._relays = {
            url: kept.get(url) or self._connect(url) for url in wanted if url in kept or url in self._boxes
        }
        self._changed()

    def relays(self) -> Sequence[Relay]:
        return list(self._relays.values())

    def relay(self, url: str) -> Relay | None:
        return self._relays.get(url)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    def _connect(self, url: str) -> MemoryRelay:
        return MemoryRelay(self._boxes[url], on_change=self._changed, schedule=self._schedule)

    def _changed(self) -> None:
        for callback in self._callbacks:
            callback()


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
