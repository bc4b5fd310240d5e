"""Makes one connection: offer, answer, and the race between paths (PROTOCOL §5 "Paths").

WebRTC gets a head start: half a second before the TLS tunnel to the other's LAN listener, or one and a
half before the tunnel through the relay that carried the signals. The first channel that opens wins; the
offerer decides by speaking first (`path_race`). A call for a better path offers only those.

Knows descriptions and channels; must not know spaces, members or what is said in a session.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.core.base.ids import DeviceId, RendezvousId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys
from sheaf.core.protocol.dial_lines import PathRank
from sheaf.core.protocol.signaling import (
    OpenedSignal,
    SignalBody,
    SignalKind,
    TunnelWire,
    WebRtcWire,
    answer_rendezvous,
    offer_hash,
    open_signal,
    seal_signal,
    transcript,
)
from sheaf.core.wire.relay_url import is_relay_address
from sheaf.node.description_wire import from_wire, to_wire
from sheaf.node.path_race import delayed, first_channel, first_to_speak
from sheaf.ports import (
    Channel,
    ChannelReceiver,
    Clock,
    Signaling,
    SignalRoute,
    TunnelDescription,
    TunnelExpectation,
    TunnelTransport,
    WebRtcAttempt,
    WebRtcTransport,
)

ANSWER_DEADLINE_S: Final = 5.0
TUNNEL_HEAD_START_S: Final = 0.5
RELAY_HEAD_START_S: Final = 1.5


TO_MYSELF_MAX: Final = 64
"""Pokes to another daemon with our identity that are remembered."""


class NobodyThere(TransportFailure):
    """Somebody listens at the address, but does not answer to the rendezvous id."""


@dataclass(frozen=True, slots=True)
class DialTarget:
    """Whom to call: where signals for it are left, how to seal them, and who must answer."""

    rid: RendezvousId
    kem_public: bytes
    device_id: DeviceId | None
    """None for an invitation: whoever holds its secret may answer."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel that is open, and what both sides signed about it. Use `attach`, not the channel's."""

    channel: Channel
    transcript: bytes
    is_offerer: bool
    peer: DeviceId
    attach: Callable[[ChannelReceiver], None]
    process: bytes | None = None
    """Which process of the device it is: the fingerprint of its TLS certificate, if it said that."""


@dataclass(frozen=True, slots=True)
class _Way:
    """Where an offer goes: a listener's address or a relay's URL, or along the route a poke came by."""

    address: str | None
    route: SignalRoute | None

    @property
    def relay(self) -> str | None:
        """The relay it goes over, if it does."""
        where = self.address if self.address is not None or self.route is None else self.route.address
        return where if where is not None and is_relay_address(where) else None


@dataclass(slots=True)
class _Awaited:
    answer: asyncio.Future[bytes]
    relay: str | None


class Connector:
    """Dials and answers for this device.

    Args:
        sealed_for: the KEM public key answers are sealed to is in the offerer's certificate.
    """

    def __init__(
        self,
        *,
        webrtc: WebRtcTransport,
        tunnel: TunnelTransport,
        signaling: Signaling,
        device: DeviceKeys,
        certificate: Callable[[], DeviceCertificate],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._webrtc = webrtc
        self._tunnel = tunnel
        self._signaling = signaling
        self._device = device
        self._certificate = certificate
        self._clock = clock
        self._entropy = entropy
        self._awaited: dict[RendezvousId, _Awaited] = {}
        self._to_myself: deque[bytes] = deque(maxlen=TO_MYSELF_MAX)
        self.on_expecting: Callable[[Mapping[RendezvousId, str | None]], None] = _ignore
        """Told at which rendezvous ids answers are awaited, and over which relay (None: on the LAN),
        whenever that changes."""

    # ------------------------------------------------------------------ signals

    def take_answer(self, rid: RendezvousId, sealed: bytes) -> bool:
        """A sealed signal came for `rid`: if an offer of ours waits there, it is its answer."""
        waiting = self._awaited.get(rid)
        if waiting is None:
            return False
        if not waiting.answer.done():
            waiting.answer.set_result(sealed)
        return True

    async def poke(self, target: DialTarget, *, address: str | None, route: SignalRoute | None) -> bool:
        """Ask a device to offer, at an address or along a route. False when it is not there.

        Raises:
            TransportFailure: the address cannot be reached.
        """
        body = self._body(
            SignalKind.POKE,
            target.device_id,
            self._entropy(16),
            tunnel=TunnelWire(self._tunnel.fingerprint, bytes(16)),  # which process asks (decision 0073)
        )
        if target.device_id == self._device.device_id:
            self._to_myself.append(body.session_id)
        sealed = seal_signal(body, self._device, target.kem_public, target.rid, self._entropy)
        return await self._send(sealed, target.rid, _Way(address, route))

    def is_echo(self, body: SignalBody) -> bool:
        """Whether a signal by this very device is one of ours that came back."""
        return body.session_id in self._to_myself

    async def _send(self, sealed: bytes, rid: RendezvousId, way: _Way) -> bool:
        if way.address is not None:
            return await self._signaling.send(way.address, rid, sealed) is not None
        assert way.route is not None, "an address or a route"
        return await self._signaling.reply(way.route, rid, sealed)

    # ------------------------------------------------------------------ offering

    async def dial(
        self,
        target: DialTarget,
        *,
        address: str | None,
        route: SignalRoute | None,
        better_than: PathRank | None = None,
    ) -> Connection:
        """Offer to `target`, at a listener's address, over a relay, or along the route a poke came by.

        Args:
            better_than: only paths above this are offered.

        Raises:
            TransportFailure: nobody there, no answer, or no path between us.
            ProtocolViolation: the answer is not by the one we called.
        """
        way = _Way(address, route)
        attempt = await self._begin(self._webrtc.offer(use_stun=way.relay is not None))
        try:
            return await self._dial(attempt, target, way, better_than)
        finally:
            if attempt is not None:
                await attempt.close()

    async def _begin(self, attempt: Coroutine[Any, Any, WebRtcAttempt]) -> WebRtcAttempt | None:
        """WebRTC's half of an attempt; None where it is not possible (no network interface)."""
        try:
            return await attempt
        except TransportFailure:
            return None

    async def _dial(
        self,
        attempt: WebRtcAttempt | None,
        target: DialTarget,
        way: _Way,
        better_than: PathRank | None,
    ) -> Connection:
        session_id = self._entropy(16)
        tunnel_rank = PathRank.TUNNEL if way.relay is None else PathRank.RELAY
        is_tunnel_offered = better_than is None or tunnel_rank > better_than
        if attempt is None and not is_tunnel_offered:
            raise TransportFailure("this computer has no network address for a better path")
        offer = self._body(
            SignalKind.OFFER,
            target.device_id,
            session_id,
            webrtc=None if attempt is None else to_wire(attempt.description),
            tunnel=TunnelWire(self._tunnel.fingerprint, bytes(16)) if is_tunnel_offered else None,
        )
        sealed = seal_signal(offer, self._device, target.kem_public, target.rid, self._entropy)
        answer = await self._exchange(sealed, target, session_id, way)
        body = answer.body
        if body.kind is not SignalKind.ANSWER or body.offer_hash != offer_hash(offer.encode()):
            raise ProtocolViolation("the answer belongs to another offer")
        if target.device_id is not None and body.sender.device != target.device_id:
            raise ProtocolViolation("another device answered")
        bound = transcript(offer.encode(), answer.body_bytes)
        channel = await self._race(attempt, body, way, is_tunnel_offered=is_tunnel_offered)
        return Connection(channel, bound, True, body.sender.device, channel.attach, process_of(body))

    async def _exchange(
        self, sealed: bytes, target: DialTarget, session_id: bytes, way: _Way
    ) -> OpenedSignal:
        answer_rid = answer_rendezvous(session_id)
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._awaited[answer_rid] = _Awaited(waiting, way.relay)
        self._tell_expecting()
        try:
            if not await self._send(sealed, target.rid, way):
                raise NobodyThere("nobody answers to that name there")
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                answer = await waiting
        except TimeoutError:
            raise TransportFailure("no answer to our offer") from None
        finally:
            del self._awaited[answer_rid]
            self._tell_expecting()
        return open_signal(answer, self._device.open_box, answer_rid)

    def _tell_expecting(self) -> None:
        self.on_expecting({rid: awaited.relay for rid, awaited in self._awaited.items()})

    async def _race(
        self, attempt: WebRtcAttempt | None, answer: SignalBody, way: _Way, *, is_tunnel_offered: bool
    ) -> Channel:
        runners: list[Coroutine[Any, Any, Channel]] = []
        if attempt is not None and answer.webrtc is not None and answer.webrtc.candidates:
            runners.append(attempt.connect(from_wire(answer.webrtc)))
        if answer.tunnel is not None and is_tunnel_offered:
            remote = TunnelDescription(answer.tunnel.fingerprint, answer.tunnel.token)
            relay, address = way.relay, way.address
            if relay is not None:
                delay_s = RELAY_HEAD_START_S if runners else 0.0
                runners.append(delayed(delay_s, lambda: self._tunnel.meet(relay, remote, is_offerer=True)))
            elif address is not None:
                delay_s = TUNNEL_HEAD_START_S if runners else 0.0
                runners.append(delayed(delay_s, lambda: self._tunnel.connect(address, remote)))
        if not runners:
            raise TransportFailure("no path: neither side has an address the other could reach")
        return await first_channel(runners)

    # ------------------------------------------------------------------ answering

    async def answer(self, opened: OpenedSignal, route: SignalRoute) -> Connection:
        """Answer an offer and wait for the offerer's choice of path.

        Raises:
            TransportFailure: the offerer is gone, or no path opened in time.
            ProtocolViolation: the offer cannot be used.
        """
        offer = opened.body
        relay = _Way(None, route).relay
        attempt = None
        if offer.webrtc is not None and offer.webrtc.candidates:
            begun = self._webrtc.answer(from_wire(offer.webrtc), use_stun=relay is not None)
            attempt = await self._begin(begun)
        token = self._entropy(16)
        expectation = None
        if offer.tunnel is not None and relay is None and self._signaling.listening is not None:
            expectation = self._tunnel.expect(token, offer.tunnel.fingerprint)
        has_tunnel = expectation is not None or (offer.tunnel is not None and relay is not None)
        try:
            answer = self._body(
                SignalKind.ANSWER,
                offer.sender.device,
                offer.session_id,
                webrtc=None if attempt is None else to_wire(attempt.description),
                tunnel=TunnelWire(self._tunnel.fingerprint, token) if has_tunnel else None,
                offer_hash=offer_hash(opened.body_bytes),
            )
            rid = answer_rendezvous(offer.session_id)
            sealed = seal_signal(answer, self._device, offer.sender.kem, rid, self._entropy)
            if not await self._signaling.reply(route, rid, sealed):
                raise TransportFailure("the offering device went away")
            first = await first_to_speak(self._paths(attempt, expectation, offer, token, relay))
            return Connection(
                first.channel,
                transcript(opened.body_bytes, answer.encode()),
                False,
                offer.sender.device,
                first.hand_over,
                process_of(offer),
            )
        finally:
            if expectation is not None:
                expectation.cancel()
            if attempt is not None:
                await attempt.close()

    def _paths(
        self,
        attempt: WebRtcAttempt | None,
        expectation: TunnelExpectation | None,
        offer: SignalBody,
        token: bytes,
        relay: str | None,
    ) -> list[Awaitable[Channel]]:
        paths: list[Awaitable[Channel]] = []
        if attempt is not None:
            paths.append(attempt.connect())
        if expectation is not None:
            paths.append(expectation.channel())
        if relay is not None and offer.tunnel is not None:
            delay_s = RELAY_HEAD_START_S if paths else 0.0
            remote = TunnelDescription(offer.tunnel.fingerprint, token)
            paths.append(delayed(delay_s, lambda: self._tunnel.meet(relay, remote, is_offerer=False)))
        if not paths:
            raise TransportFailure("no path: neither side has an address the other could reach")
        return paths

    def _body(
        self,
        kind: SignalKind,
        to: DeviceId | None,
        session_id: bytes,
        *,
        webrtc: WebRtcWire | None = None,
        tunnel: TunnelWire | None = None,
        offer_hash: bytes | None = None,
    ) -> SignalBody:
        return SignalBody(
            kind=kind,
            sender=self._certificate(),
            to=to,
            session_id=session_id,
            created_ms=self._clock.wall_ms(),
            webrtc=webrtc,
            tunnel=tunnel,
            offer_hash=offer_hash,
        )


def process_of(body: SignalBody) -> bytes | None:
    """Which process of the sending device made this signal, if it says so."""
    return None if body.tunnel is None else body.tunnel.fingerprint


def _ignore(_: Mapping[RendezvousId, str | None]) -> None:
    return None
