"""The relay port: what the application asks of a relay it does not trust (PROTOCOL §7).

A relay carries sealed signalling (the `Signaling` port), byte tunnels, mailboxes and
nameplates. Everything it says is a hint: whoever reads a mailbox verifies what is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol


@unique
class RelayState(StrEnum):
    """How a relay is reached right now."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"
    """No connection; tried again with backoff."""
    REFUSED = "refused"
    """It answers and does not want us: a token is missing or wrong, or it speaks another version."""


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """For people, `status` and `doctor`."""

    url: str
    """Without any token."""
    state: RelayState
    problem: str | None = None
    """Why it is not connected, and what to do; a whole sentence."""
    rtt_s: float | None = None
    """The last ping's round trip."""
    since_ms: int | None = None
    """Wall clock of the last change of `state`."""
    stun: str | None = None
    """host:port where this relay answers STUN; None when it does not offer it."""


@dataclass(frozen=True, slots=True)
class MailboxAccess:
    """The bearer right to one mailbox: `mailbox_id` 16 bytes, `token` 32 bytes (`SpaceKeys`)."""

    mailbox_id: bytes
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredItem:
    """Where an item stands. `incarnation` (8 bytes) changes when the relay lost the mailbox."""

    position: int
    incarnation: bytes


@dataclass(frozen=True, slots=True)
class MailboxItem:
    """One sealed item; positions grow, with holes."""

    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MailboxPage:
    """Items after a position. `last` is the newest position in the mailbox (0: empty or unknown)."""

    items: tuple[MailboxItem, ...]
    last: int
    incarnation: bytes
    """8 bytes; zeros while the mailbox does not exist."""


@dataclass(frozen=True, slots=True)
class MailboxStat:
    """What stands in a mailbox."""

    items: int
    size_bytes: int
    first: int
    last: int
    incarnation: bytes
    oldest_age_s: int


class Nameplate(Protocol):
    """A numbered meeting place for exactly two (PROTOCOL §8 "Spoken code"); the relay reads all of it."""

    @property
    def number(self) -> int: ...
    @property
    def relay_url(self) -> str: ...
    async def say(self, data: bytes) -> None:
        """Pass ≤ 4 KiB to the other side, also before it has come. Raises TransportFailure."""
        ...

    async def hear(self) -> bytes:
        """The other side's next message.

        Raises:
            RelayRefused: GONE (the other left, or 10 minutes are over) or CROWDED (a third came).
            TransportFailure: the relay is gone.
        """
        ...

    async def release(self) -> None:
        """Give the number back; never fails."""
        ...


class Relay(Protocol):
    """One relay.

    Every request raises `TransportFailure` when there is no connection or no answer within 10 s, and
    its subclass `RelayRefused` (with `.code`, a `RefusalCode`) when the relay says no.
    """

    @property
    def url(self) -> str:
        """Without any token: fit to be shown and to be put into a ticket."""
        ...

    @property
    def status(self) -> RelayStatus: ...

    @property
    def item_bytes_max(self) -> int:
        """The largest mailbox item it takes."""
        ...

    async def put(self, access: MailboxAccess, item: bytes) -> StoredItem:
        """Append; idempotent by the item's hash (the earlier position comes back)."""
        ...

    async def get(self, access: MailboxAccess, after: int, bytes_max: int) -> MailboxPage:
        """Items after a position, oldest first, at least one if there is any."""
        ...

    def watch(self, access: MailboxAccess, on_news: Callable[[int, bytes], None]) -> Callable[[], None]:
        """`on_news(last, incarnation)` now and whenever the mailbox grows, over reconnects too; only
        enqueues. Returns what ends the watch."""
        ...

    async def compact(self, access: MailboxAccess, expect_last: int, item: bytes) -> StoredItem:
        """Replace every item by this one. RelayRefused CHANGED when `expect_last` is not the newest."""
        ...

    async def stat(self, access: MailboxAccess) -> MailboxStat: ...

    async def allocate_nameplate(self) -> Nameplate: ...
    async def claim_nameplate(self, number: int) -> Nameplate:
        """RelayRefused GONE when nobody holds that number, CROWDED when two are there already."""
        ...


class RelayPool(Protocol):
    """The relays this daemon uses at the moment."""

    def set_urls(self, urls: Sequence[str]) -> None:
        """The complete list, most preferred first; connects to the new ones, lets the others go."""
        ...

    def relays(self) -> Sequence[Relay]: ...
    def relay(self, url: str) -> Relay | None:
        """The relay in use at this URL (without token)."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Called whenever any relay's status changed; only enqueues."""
        ...

    async def close(self) -> None: ...
