"""A local network inside one process: signalling, WebRTC, tunnels and discovery behind their ports.

For tests of the node. `MemoryLan` is the air; each node gets a `MemoryPort` of adapters.
Cutting the LAN closes every channel and makes every address unreachable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.ports import (
    Announcement,
    Candidate,
    Channel,
    MulticastStatus,
    Sighting,
    SignalHandler,
    SignalRoute,
    TunnelDescription,
    TunnelExpectation,
    WebRtcAttempt,
    WebRtcDescription,
)
from sheaf.transport.memory import MemoryChannel, memory_pair


@dataclass
class MemoryLan:
    """What all ports of one network share."""

    is_up: bool = True
    is_mute: int = 0
    """So many of the next channels break as soon as they are open."""
    ports: list[MemoryPort] = field(default_factory=list)
    offers: dict[bytes, asyncio.Future[Channel]] = field(default_factory=dict)
    channels: list[MemoryChannel] = field(default_factory=list)

    def port(self) -> MemoryPort:
        """The adapters of one more machine."""
        port = MemoryPort(self, f"10.0.0.{len(self.ports) + 1}:7000", len(self.ports) + 1)
        self.ports.append(port)
        return port

    async def cut(self) -> None:
        """Nobody reaches anybody any more."""
        self.is_up = False
        for channel in self.channels:
            await channel.close()
        self.channels.clear()

    def mend(self) -> None:
        """Everybody is reachable and seen again."""
        self.is_up = True
        for port in self.ports:
            port.show_others()


class MemoryPort:
    """One machine's Signaling, WebRtcTransport, TunnelTransport and Discovery in one object."""

    def __init__(self, lan: MemoryLan, address: str, number: int) -> None:
        self.lan = lan
        self.address = address
        self.number = number
        self.state = "on"
        self._handler: SignalHandler | None = None
        self._rids: frozenset[RendezvousId] = frozenset()
        self._announcement: Announcement | None = None
        self._on_sighting: Callable[[Sighting], None] | None = None

    # Signaling

    @property
    def listening(self) -> str | None:
        return self.address

    def set_handler(self, handler: SignalHandler) -> None:
        self._handler = handler

    def subscribe(
        self, rids: Sequence[RendezvousId], at_relays: Mapping[str, Sequence[RendezvousId]] | None = None
    ) -> None:
        self._rids = frozenset(rids)

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        await asyncio.sleep(0)
        target = next((port for port in self.lan.ports if port.address == address), None)
        if target is None or not self.lan.is_up:
            raise TransportFailure(f"no Sheaf answers at {address}")
        if not target.deliver(rid, sealed, SignalRoute(self.address, None, self)):
            return None
        return SignalRoute(address, address, target)

    async def reply(self, route: SignalRoute, rid: RendezvousId, sealed: bytes) -> bool:
        await asyncio.sleep(0)
        other = route.key
        assert isinstance(other, MemoryPort)
        is_dialled = route.address is not None
        back = SignalRoute(self.address, None if is_dialled else self.address, self)
        return self.lan.is_up and other.deliver(rid, sealed, back)

    def deliver(self, rid: RendezvousId, sealed: bytes, route: SignalRoute) -> bool:
        if self._handler is None or rid not in self._rids:
            return False
        self._handler(rid, sealed, route)
        return True

    # Discovery

    @property
    def multicast(self) -> MulticastStatus:
        return MulticastStatus(state=self.state, is_announcing=self._announcement is not None)

    async def start(self, on_sighting: Callable[[Sighting], None]) -> None:
        self._on_sighting = on_sighting
        self.show_others()

    async def announce(self, announcement: Announcement) -> None:
        self._announcement = announcement
        for port in self.lan.ports:
            port.show_others()

    def show_others(self) -> None:
        if self._on_sighting is None or not self.lan.is_up:
            return
        for port in self.lan.ports:
            if port is not self and port._announcement is not None:
                nonce = bytes([port.number]) * 12
                tags = frozenset(port._announcement.tags_for(nonce))
                self._on_sighting(Sighting(f"m{port.number}", nonce, tags, (port.address,)))

    # WebRtcTransport

    async def offer(self, *, use_stun: bool = False) -> WebRtcAttempt:
        return _Attempt(self.lan, None)

    async def answer(self, offer: WebRtcDescription, *, use_stun: bool = False) -> WebRtcAttempt:
        return _Attempt(self.lan, offer)

    # TunnelTransport

    @property
    def fingerprint(self) -> bytes:
        return bytes([self.number]) * 32

    def expect(self, token: bytes, peer_fingerprint: bytes) -> TunnelExpectation:
        return _NoTunnel()

    async def connect(self, address: str, remote: TunnelDescription) -> Channel:
        raise TransportFailure("no tunnels in memory")

    async def meet(self, relay_url: str, remote: TunnelDescription, *, is_offerer: bool) -> Channel:
        raise TransportFailure("no tunnels in memory")

    async def close(self) -> None:
        self._handler = None


class _NoTunnel:
    async def channel(self) -> Channel:
        raise TransportFailure("no tunnels in memory")

    def cancel(self) -> None:
        return None


class _Attempt:
    """Both halves meet by the offer's ufrag, which is unique."""

    _count = 0

    def __init__(self, lan: MemoryLan, offer: WebRtcDescription | None) -> None:
        type(self)._count += 1
        self._lan = lan
        self._offer = offer
        self.description = WebRtcDescription(
            ufrag=f"u{self._count:07d}",
            pwd="p" * 22,
            setup="actpass" if offer is None else "active",
            sctp_port=5000,
            message_bytes_max=65536,
            fingerprint=bytes(32),
            candidates=(Candidate("1", 1, "udp", 1, "10.0.0.1", 9, "host"),),
        )
        if offer is None:
            loop = asyncio.get_running_loop()
            lan.offers[self.description.ufrag.encode()] = loop.create_future()

    async def connect(self, remote: WebRtcDescription | None = None) -> Channel:
        if self._offer is None:
            waiting = self._lan.offers[self.description.ufrag.encode()]
            if not self._lan.is_up:
                raise TransportFailure("the network is cut")
            left, right = memory_pair()
            self._lan.channels += [left, right]
            waiting.set_result(right)
            if self._lan.is_mute:
                self._lan.is_mute -= 1
                await left.close()
            return left
        return await self._lan.offers[self._offer.ufrag.encode()]

    async def close(self) -> None:
        return None
