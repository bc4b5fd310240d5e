"""Makes one connection: offer, answer, and the race between paths (PROTOCOL §5 "Paths").

WebRTC gets a head start of half a second; then the TLS tunnel to the other's LAN listener
is tried as well, and the first channel that opens wins. The offerer decides by speaking
first: the answerer keeps whichever channel brings the first frame.

Knows descriptions and channels; must not know spaces, members or what is said in a session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.core.base.ids import DeviceId, RendezvousId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys
from sheaf.core.protocol.signaling import (
    CandidateWire,
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
from sheaf.ports import (
    Candidate,
    Channel,
    ChannelReceiver,
    Clock,
    Signaling,
    SignalRoute,
    TunnelDescription,
    TunnelTransport,
    WebRtcAttempt,
    WebRtcDescription,
    WebRtcTransport,
)

ANSWER_DEADLINE_S: Final = 5.0
CONNECT_DEADLINE_S: Final = 12.0
TUNNEL_HEAD_START_S: Final = 0.5
FIRST_FRAMES_MAX: Final = 8


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


class _Candidate:
    """The receiver of a channel of unknown standing: says when the first frame has come, keeps
    what came, and passes everything on once the channel was chosen."""

    def __init__(self, *, channel: Channel, spoke: Callable[[_Candidate], None]) -> None:
        self.channel = channel
        self._spoke = spoke
        self._frames: list[bytes] = []
        self._closed: str | None = None
        self._receiver: ChannelReceiver | None = None

    def frame_received(self, frame: bytes) -> None:
        if self._receiver is not None:
            self._receiver.frame_received(frame)
        elif len(self._frames) < FIRST_FRAMES_MAX:
            self._frames.append(frame)
            self._spoke(self)

    def writable(self) -> None:
        if self._receiver is not None:
            self._receiver.writable()

    def channel_closed(self, reason: str) -> None:
        self._closed = reason
        if self._receiver is not None:
            self._receiver.channel_closed(reason)

    def hand_over(self, receiver: ChannelReceiver) -> None:
        """From now on `receiver` gets what comes, beginning with what already has."""
        self._receiver = receiver
        for frame in self._frames:
            receiver.frame_received(frame)
        if self._closed is not None:
            receiver.channel_closed(self._closed)


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
        self._answers: dict[RendezvousId, asyncio.Future[bytes]] = {}
        self.on_expecting: Callable[[frozenset[RendezvousId]], None] = _ignore
        """Told which rendezvous ids answers are awaited at, whenever that changes."""

    # ------------------------------------------------------------------ signals

    def take_answer(self, rid: RendezvousId, sealed: bytes) -> bool:
        """A sealed signal came for `rid`: if an offer of ours waits there, it is its answer."""
        waiting = self._answers.get(rid)
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(sealed)
        return True

    async def poke(self, target: DialTarget, *, address: str | None, route: SignalRoute | None) -> bool:
        """Ask a device to offer, at an address or along a route. False when it is not there.

        Raises:
            TransportFailure: the address cannot be reached.
        """
        body = self._body(SignalKind.POKE, target.device_id, self._entropy(16))
        sealed = seal_signal(body, self._device, target.kem_public, target.rid, self._entropy)
        return await self._send(sealed, target.rid, address, route)

    async def _send(
        self, sealed: bytes, rid: RendezvousId, address: str | None, route: SignalRoute | None
    ) -> bool:
        if address is not None:
            return await self._signaling.send(address, rid, sealed) is not None
        assert route is not None, "an address or a route"
        return await self._signaling.reply(route, rid, sealed)

    # ------------------------------------------------------------------ offering

    async def dial(self, target: DialTarget, *, address: str | None, route: SignalRoute | None) -> Connection:
        """Offer to `target`, at a listener's address or along the route a poke came by.

        Raises:
            TransportFailure: nobody there, no answer, or no path between us.
            ProtocolViolation: the answer is not by the one we called.
        """
        attempt = await self._begin(self._webrtc.offer())
        try:
            return await self._dial(attempt, target, address, route)
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
        address: str | None,
        route: SignalRoute | None,
    ) -> Connection:
        session_id = self._entropy(16)
        offer = self._body(
            SignalKind.OFFER,
            target.device_id,
            session_id,
            webrtc=None if attempt is None else _to_wire(attempt.description),
            tunnel=TunnelWire(self._tunnel.fingerprint, bytes(16)),
        )
        sealed = seal_signal(offer, self._device, target.kem_public, target.rid, self._entropy)
        answer = await self._exchange(sealed, target, session_id, address, route)
        body = answer.body
        if body.kind is not SignalKind.ANSWER or body.offer_hash != offer_hash(offer.encode()):
            raise ProtocolViolation("the answer belongs to another offer")
        if target.device_id is not None and body.sender.device != target.device_id:
            raise ProtocolViolation("another device answered")
        bound = transcript(offer.encode(), answer.body_bytes)
        channel = await self._race(attempt, body, address)
        return Connection(channel, bound, True, body.sender.device, channel.attach)

    async def _exchange(
        self,
        sealed: bytes,
        target: DialTarget,
        session_id: bytes,
        address: str | None,
        route: SignalRoute | None,
    ) -> OpenedSignal:
        answer_rid = answer_rendezvous(session_id)
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[answer_rid] = waiting
        self.on_expecting(frozenset(self._answers))
        try:
            if not await self._send(sealed, target.rid, address, route):
                raise NobodyThere("nobody answers to that name there")
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                answer = await waiting
        except TimeoutError:
            raise TransportFailure("no answer to our offer") from None
        finally:
            del self._answers[answer_rid]
            self.on_expecting(frozenset(self._answers))
        return open_signal(answer, self._device.open_box, answer_rid)

    async def _race(self, attempt: WebRtcAttempt | None, answer: SignalBody, address: str | None) -> Channel:
        runners: list[Coroutine[Any, Any, Channel]] = []
        if attempt is not None and answer.webrtc is not None and answer.webrtc.candidates:
            runners.append(attempt.connect(_from_wire(answer.webrtc)))
        if answer.tunnel is not None and address is not None:
            remote = TunnelDescription(answer.tunnel.fingerprint, answer.tunnel.token)
            delay_s = TUNNEL_HEAD_START_S if runners else 0.0
            runners.append(_delayed(delay_s, lambda: self._tunnel.connect(address, remote)))
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
        attempt = None
        if offer.webrtc is not None and offer.webrtc.candidates:
            attempt = await self._begin(self._webrtc.answer(_from_wire(offer.webrtc)))
        token = self._entropy(16)
        expectation = None
        if offer.tunnel is not None and self._signaling.listening is not None:
            expectation = self._tunnel.expect(token, offer.tunnel.fingerprint)
        try:
            answer = self._body(
                SignalKind.ANSWER,
                offer.sender.device,
                offer.session_id,
                webrtc=None if attempt is None else _to_wire(attempt.description),
                tunnel=None if expectation is None else TunnelWire(self._tunnel.fingerprint, token),
                offer_hash=offer_hash(opened.body_bytes),
            )
            rid = answer_rendezvous(offer.session_id)
            sealed = seal_signal(answer, self._device, offer.sender.kem, rid, self._entropy)
            if not await self._signaling.reply(route, rid, sealed):
                raise TransportFailure("the offering device went away")
            paths: list[Awaitable[Channel]] = []
            if attempt is not None:
                paths.append(attempt.connect())
            if expectation is not None:
                paths.append(expectation.channel())
            if not paths:
                raise TransportFailure("no path: neither side has an address the other could reach")
            first = await _first_to_speak(paths)
            return Connection(
                first.channel,
                transcript(opened.body_bytes, answer.encode()),
                False,
                offer.sender.device,
                first.hand_over,
            )
        finally:
            if expectation is not None:
                expectation.cancel()
            if attempt is not None:
                await attempt.close()

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


def _ignore(_: frozenset[RendezvousId]) -> None:
    return None


async def first_channel(runners: list[Coroutine[Any, Any, Channel]]) -> Channel:
    """The first of several attempts to open; the others are ended, late channels closed.

    Raises:
        TransportFailure: all failed; the message names the last reason.
    """
    winner: Channel | None = None
    failure: TransportFailure | None = None
    async with asyncio.TaskGroup() as group:
        tasks = {group.create_task(_outcome(runner)) for runner in runners}
        while tasks and winner is None:
            finished, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                outcome = task.result()
                if isinstance(outcome, TransportFailure):
                    failure = outcome
                elif winner is None:
                    winner = outcome
                else:
                    await outcome.close()
        for task in tasks:
            task.cancel()
    if winner is None:
        raise failure or TransportFailure("no path")
    return winner


async def _outcome(runner: Coroutine[Any, Any, Channel]) -> Channel | TransportFailure:
    try:
        return await runner
    except TransportFailure as failure:
        return failure


async def _delayed(delay_s: float, connect: Callable[[], Coroutine[Any, Any, Channel]]) -> Channel:
    await asyncio.sleep(delay_s)
    return await connect()


async def _first_to_speak(paths: list[Awaitable[Channel]]) -> _Candidate:
    """Open every path, keep the one that brings a frame first."""
    chosen: asyncio.Future[_Candidate] = asyncio.get_running_loop().create_future()
    opened: list[_Candidate] = []

    def choose(candidate: _Candidate) -> None:
        if not chosen.done():
            chosen.set_result(candidate)

    async def watch(path: Awaitable[Channel]) -> None:
        try:
            channel = await path
        except TransportFailure:
            return
        candidate = _Candidate(channel=channel, spoke=choose)
        opened.append(candidate)
        channel.attach(candidate)

    winner: _Candidate | None = None
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S), asyncio.TaskGroup() as group:
            tasks = [group.create_task(watch(path)) for path in paths]
            winner = await chosen
            for task in tasks:
                task.cancel()
    except TimeoutError:
        raise TransportFailure("the offering device opened no path to us") from None
    finally:
        for candidate in opened:
            if candidate is not winner:
                await candidate.channel.close()
    return winner


def _to_wire(description: WebRtcDescription) -> WebRtcWire:
    return WebRtcWire(
        ufrag=description.ufrag,
        pwd=description.pwd,
        setup=description.setup,
        sctp_port=description.sctp_port,
        message_bytes_max=description.message_bytes_max,
        fingerprint=description.fingerprint,
        candidates=tuple(
            CandidateWire(c.foundation, c.component, c.protocol, c.priority, c.address, c.port, c.kind)
            for c in description.candidates
        ),
    )


def _from_wire(wire: WebRtcWire) -> WebRtcDescription:
    return WebRtcDescription(
        ufrag=wire.ufrag,
        pwd=wire.pwd,
        setup=wire.setup,
        sctp_port=wire.sctp_port,
        message_bytes_max=wire.message_bytes_max,
        fingerprint=wire.fingerprint,
        candidates=tuple(
            Candidate(c.foundation, c.component, c.protocol, c.priority, c.address, c.port, c.kind)
            for c in wire.candidates
        ),
    )
