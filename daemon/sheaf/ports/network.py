"""The signalling and discovery ports (see `sheaf.ports`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sheaf.core.base.ids import RendezvousId
from sheaf.ports.diagnosis import MulticastStatus


@dataclass(frozen=True, slots=True)
class SignalRoute:
    """How to answer: opaque to the application; `label` is for logs and `status`."""

    label: str
    address: str | None
    """host:port of the far listener when we dialled it, None when it dialled us; the relay's URL when it
    came over a relay."""
    key: object


SignalHandler = Callable[[RendezvousId, bytes, SignalRoute], None]
"""(rid the message was sent to, sealed message ≤ 16 KiB, route for the answer); only enqueues."""


class Signaling(Protocol):
    """Carries sealed signalling messages; knows neither devices nor spaces.

    On the LAN: a WebSocket to the other daemon's listener; the answer comes back on that same
    connection (decision 0017). Over a relay: the one connection to it that both keep open.
    """

    def set_handler(self, handler: SignalHandler) -> None: ...
    def subscribe(
        self, rids: Sequence[RendezvousId], at_relays: Mapping[str, Sequence[RendezvousId]] | None = None
    ) -> None:
        """The complete sets of rids this daemon answers to, on the LAN and at each relay (by URL, most
        important first); they replace the earlier ones."""
        ...

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send to the listener at `host:port` or over the relay at `ws://…`, `wss://…`; None when nobody
        there answers to `rid`. Raises TransportFailure when it cannot be reached within a few seconds."""
        ...

    async def reply(self, route: SignalRoute, rid: RendezvousId, sealed: bytes) -> bool:
        """Send back along `route`; False when that connection is gone."""
        ...

    @property
    def listening(self) -> str | None:
        """host:port of the LAN listener, None when off."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """An mDNS announcement: `nonce` and `tags` as in PROTOCOL §6, addresses as 'host:port'."""

    instance: str
    nonce: bytes
    tags: frozenset[bytes]
    addresses: tuple[str, ...]
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """What to announce: `tags_for(nonce)` is called again whenever the nonce changes."""

    port: int
    tags_for: Callable[[bytes], Sequence[bytes]]


class Discovery(Protocol):
    """Finds other daemons on the network; hints only, never identity."""

    async def start(self, on_sighting: Callable[[Sighting], None]) -> None:
        """Never fails for lack of a network; keeps trying."""
        ...

    async def announce(self, announcement: Announcement) -> None:
        """Announce, or re-announce with new tags."""
        ...

    @property
    def state(self) -> str:
        """'on', 'off' or 'no interface'."""
        ...

    @property
    def multicast(self) -> MulticastStatus:
        """How it goes, for people."""
        ...

    async def close(self) -> None: ...
