"""One WebRTC connection: ICE, DTLS and SCTP of aiortc wired together, and the channel on top.

Uses aiortc's ORTC objects directly instead of `RTCPeerConnection`: no SDP text is written or
read, the roles are explicit, and the guarded classes go in by construction instead of by
patching (decision 0015). Imported lazily, after `aiortc_lean.load()`. PROTOCOL §5.
Knows nothing of what the frames mean.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import KIB, MIB
from sheaf.ports import Candidate, ChannelReceiver, PathKind, WebRtcDescription
from sheaf.task_set import TaskSet
from sheaf.transport.delivery import CLOSED_HERE, Delivery, check_outgoing
from sheaf.transport.ice_guard import GuardedConnection
from sheaf.transport.sctp_guard import MESSAGE_BYTES_MAX, STREAM_ID, GuardedSctp
from sheaf.transport.stun_route import StunRoute

_log = logging.getLogger(__name__)

SCTP_PORT: Final = 5000
FLUSH_S_MAX: Final = 1.0
RELEASE_S_MAX: Final = 3.0
FLIGHT_FREE_BYTES: Final = 32 * KIB
FLIGHT_FREE_BYTES_PER_S: Final = 4 * MIB
FLIGHT_FREE_BYTES_MAX: Final = 1 * MIB
"""What may be in flight without counting as backlog: 32 KiB, and 4 MiB for every second of the
shortest round trip seen, up to 1 MiB. What is beyond only waits in some queue and delays a
keystroke (decision 0015)."""


class WebRtcChannel:
    """A connection from gathering to release.

    Invariants:
    1. Sockets and tasks are released exactly once, whoever ends the connection.
    2. Callbacks from aiortc never raise and never await.
    3. What `send` accepted is given one second to be acknowledged when closing here.
    """

    def __init__(
        self,
        *,
        is_offerer: bool,
        addresses: Sequence[str],
        tasks: TaskSet,
        on_released: Callable[[WebRtcChannel], None],
    ) -> None:
        self._tasks = tasks
        self._on_released = on_released
        self._is_offerer = is_offerer
        self._delivery = Delivery()
        self._is_closing = False
        self._is_releasing = False
        self._released = asyncio.Event()
        self._opened = asyncio.Event()
        self._progress = asyncio.Event()
        self._connection = GuardedConnection(is_controlling=is_offerer, addresses=addresses)
        gatherer = RTCIceGatherer(iceServers=[])
        gatherer._connection = self._connection
        self._ice = RTCIceTransport(gatherer)
        self._certificate = RTCCertificate.generateCertificate()
        self._dtls = RTCDtlsTransport(self._ice, [self._certificate])
        self._sctp = GuardedSctp(self._dtls, receiver=self)
        self._data = RTCDataChannel(
            self._sctp, RTCDataChannelParameters(label="sheaf", negotiated=True, id=STREAM_ID)
        )
        self._data.on("open", self._opened.set)
        self._data.on("close", lambda: self._gone("closed by the peer"))
        self._dtls.on("statechange", self._dtls_changed)

    # ------------------------------------------------------------------ connecting

    async def gather(self, stun: Sequence[StunRoute] = ()) -> WebRtcDescription:
        """Open the sockets and describe this side.

        Args:
            stun: whom to ask, from which address, how this side looks from outside; for a second at most.

        Raises:
            TransportFailure: no usable address on this machine.
        """
        self._connection.stun = tuple(stun)
        await self._connection.gather_candidates()
        if not self._connection.local_candidates:
            raise TransportFailure("this computer has no network address to connect from")
        return WebRtcDescription(
            ufrag=self._connection.local_username,
            pwd=self._connection.local_password,
            setup="actpass" if self._is_offerer else "active",
            sctp_port=SCTP_PORT,
            message_bytes_max=MESSAGE_BYTES_MAX,
            fingerprint=_fingerprint(self._certificate),
            candidates=tuple(
                Candidate(
                    foundation=c.foundation,
                    component=c.component,
                    protocol="udp",
                    priority=c.priority,
                    address=c.host,
                    port=c.port,
                    kind=c.type,
                )
                for c in self._connection.local_candidates
            ),
        )

    async def open(self, remote: WebRtcDescription, candidates: Sequence[Candidate]) -> None:
        """Connect; returns when frames can be sent. The caller holds the deadline.

        Args:
            remote: the peer's description, checked.
            candidates: those of its candidates that may be tried.

        Raises:
            TransportFailure: the peer could not be reached or is not who it should be.
        """
        for candidate in candidates:
            await self._ice.addRemoteCandidate(_to_aiortc(candidate))
        await self._ice.addRemoteCandidate(None)
        await self._ice.start(RTCIceParameters(usernameFragment=remote.ufrag, password=remote.pwd))
        if self._ice.state != "completed":
            raise TransportFailure("no network path to the other computer")
        value = remote.fingerprint.hex(":").upper()
        await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(algorithm="sha-256", value=value)]))
        if self._dtls.state != "connected":
            raise TransportFailure("the secure handshake with the other computer failed")
        await self._sctp.start(RTCSctpCapabilities(remote.message_bytes_max), remote.sctp_port)
        await self._opened.wait()

    # ------------------------------------------------------------------ the channel

    @property
    def path(self) -> PathKind:
        return PathKind.WEBRTC

    @property
    def description(self) -> str:
        selected = self._connection.selected
        if selected is None:
            return "not connected"
        local, remote = selected
        here, there = _host_port(local.host, local.port), _host_port(remote.host, remote.port)
        return f"{here} ⇄ {there} (udp, {remote.type})"

    @property
    def round_trip_s(self) -> float | None:
        """Smoothed round-trip time measured by SCTP, None before the first data."""
        return self._sctp.round_trip_s

    @property
    def buffered_bytes(self) -> int:
        if self._delivery.is_closed:
            return 0
        free = FLIGHT_FREE_BYTES + int(FLIGHT_FREE_BYTES_PER_S * self._sctp.round_trip_s_min)
        excess = max(0, self._sctp.flight_bytes - min(free, FLIGHT_FREE_BYTES_MAX))
        return self._data.bufferedAmount + self._sctp.queued_bytes + excess

    def attach(self, receiver: ChannelReceiver) -> None:
        self._delivery.attach(receiver)

    def send(self, frame: bytes) -> None:
        if self._is_closing or self._data.readyState != "open":
            return
        check_outgoing(frame)
        self._data.send(frame)
        self._delivery.sent(self.buffered_bytes)

    async def close(self) -> None:
        """Flush for at most a second (3), then release everything. Idempotent."""
        if not self._is_closing:
            self._is_closing = True
            try:
                await self._flush()
            finally:  # also when whoever closes is cancelled: another close waits for the release
                self._gone(CLOSED_HERE)
        await self._released.wait()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S_MAX):
                while self._data.readyState == "open" and not self._sctp.is_drained:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            _log.info("channel closed with unsent data bytes=%d", self.buffered_bytes)

    # ------------------------------------------------------------------ told by aiortc

    def message_received(self, message: bytes) -> None:
        """AssociationReceiver: one whole message."""
        refusal = self._delivery.frame(message)
        if refusal is not None:
            self._gone(refusal)

    def acknowledged(self) -> None:
        """AssociationReceiver: the peer took data."""
        self._progress.set()
        self._delivery.drained(self.buffered_bytes)

    def violated(self, reason: str) -> None:
        """AssociationReceiver: the peer left the rules."""
        self._gone(f"closed because the peer broke the rules: {reason}")

    def _dtls_changed(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self._gone("the connection broke")

    def _gone(self, reason: str) -> None:
        self._delivery.closed(reason)
        self._progress.set()
        if not self._is_releasing:  # (1)
            self._is_releasing = True
            self._tasks.spawn(self._release(), "release webrtc")

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_S_MAX):
                await self._sctp.stop()
                await self._dtls.stop()
                await self._ice.stop()
        except (TimeoutError, OSError) as error:
            _log.warning("webrtc release was cut short error=%r", error)
        finally:
            self._released.set()
            self._on_released(self)


def _fingerprint(certificate: RTCCertificate) -> bytes:
    for item in certificate.getFingerprints():
        if item.algorithm == "sha-256":
            return bytes.fromhex(item.value.replace(":", ""))
    raise TransportFailure("aiortc made a certificate without a SHA-256 fingerprint")


def _to_aiortc(candidate: Candidate) -> RTCIceCandidate:
    return RTCIceCandidate(
        component=candidate.component,
        foundation=candidate.foundation,
        ip=candidate.address,
        port=candidate.port,
        priority=candidate.priority,
        protocol=candidate.protocol,
        type=candidate.kind,
    )


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
