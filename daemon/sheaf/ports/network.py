"""The signalling and discovery ports (see `sheaf.ports`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sheaf.core.base.ids import RendezvousId
from sheaf.ports.diagnosis import MulticastStatus


@dataclass(frozen=True, slots=True)
class SignalRoute:
    """How to answer: opaque to the application; `label` is for logs and `status`."""

    label: str
    address: str | None
    """host:port of the far listener when we dialled it, None when it dialled us."""
    key: object


SignalHandler = Callable[[RendezvousId, bytes, SignalRoute], None]
"""(rid the message was sent to, sealed message ≤ 16 KiB, route for the answer); only enqueues."""


class Signaling(Protocol):
    """Carries sealed signalling messages; knows neither devices nor spaces.

    On the LAN: a WebSocket to the other daemon's listener. The dialler subscribes its own
    rids on that same connection, so the answer needs no second connection.
    """

    def set_handler(self, handler: SignalHandler) -> None: ...
    def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """The complete set of rids this daemon answers to; replaces the earlier set."""
        ...

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send to the listener at `host:port`; None when nobody there answers to `rid`.
        Raises TransportFailure when the address cannot be reached within 3 s."""
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
