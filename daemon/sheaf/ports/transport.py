"""The transport ports: channels, and the ways to make them (see `sheaf.ports`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PathKind(StrEnum):
    """How frames travel to a peer."""

    WEBRTC = "webrtc"
    TUNNEL = "tunnel"
    RELAY = "relay"
    MEMORY = "memory"


class ChannelReceiver(Protocol):
    """Told by a channel, synchronously, on the event loop. Must not raise."""

    def frame_received(self, frame: bytes) -> None: ...
    def writable(self) -> None:
        """`buffered_bytes` fell below the low-water mark (32 KiB) after having been above it."""
        ...

    def channel_closed(self, reason: str) -> None:
        """Exactly once, whoever closed it."""
        ...


class Channel(Protocol):
    """A reliable, ordered, message-preserving duplex between two daemons; frames ≤ 16 KiB + 16."""

    @property
    def path(self) -> PathKind: ...
    @property
    def description(self) -> str:
        """For people: '192.168.1.4:51234 ⇄ 192.168.1.7:40211 (udp, host)'."""
        ...

    def attach(self, receiver: ChannelReceiver) -> None:
        """Deliver to `receiver` from now on; frames that came before are delivered first (≤ 64 kept)."""
        ...

    def send(self, frame: bytes) -> None:
        """Queue one frame; never blocks. Silently dropped when closed (channel_closed tells)."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes accepted by `send` and not yet handed to the network."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ICE host/srflx candidate; `address` is a literal unicast IP."""

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    kind: str


@dataclass(frozen=True, slots=True)
class WebRtcDescription:
    """What one side must know of the other to connect (PROTOCOL §5); never SDP text."""

    ufrag: str
    pwd: str
    setup: str
    """'actpass' in offers, 'active' in answers."""
    sctp_port: int
    message_bytes_max: int
    fingerprint: bytes
    """SHA-256 of the DTLS certificate, 32 bytes."""
    candidates: tuple[Candidate, ...]


class WebRtcAttempt(Protocol):
    """One half of a connection in the making. Always `close()` what did not become a channel."""

    @property
    def description(self) -> WebRtcDescription: ...
    async def connect(self, remote: WebRtcDescription | None = None) -> Channel:
        """Wait for the open channel (deadline 10 s); the offerer passes the answer, the answerer nothing.

        Raises:
            TransportFailure: no connection in time.
        """
        ...

    async def close(self) -> None: ...


class WebRtcTransport(Protocol):
    """Makes WebRTC data channels.

    `use_stun`: the peer may be beyond a router, so also say how we look from outside, as far as STUN
    servers that are known to be alive tell within a second, and leave out link-local addresses.
    """

    async def offer(self, *, use_stun: bool = False) -> WebRtcAttempt: ...
    async def answer(self, offer: WebRtcDescription, *, use_stun: bool = False) -> WebRtcAttempt: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TunnelDescription:
    """The TLS tunnel to a device's LAN listener: pinned certificate, one-time token."""

    fingerprint: bytes
    """SHA-256 of the side's TLS certificate, 32 bytes."""
    token: bytes
    """16 bytes; the answerer's listener joins the stream that presents it. Zeros in offers."""


class TunnelTransport(Protocol):
    """TLS 1.3 (both certificates pinned) inside WebSocket frames to a LAN listener (or relay)."""

    @property
    def fingerprint(self) -> bytes:
        """Of this process's own certificate, made at start."""
        ...

    def expect(self, token: bytes, peer_fingerprint: bytes) -> TunnelExpectation:
        """Answerer: a stream that presents `token` becomes a channel (deadline 15 s)."""
        ...

    async def connect(self, address: str, remote: TunnelDescription) -> Channel:
        """Offerer: open the stream at `host:port` of the answerer's listener. Raises TransportFailure."""
        ...

    async def meet(self, relay_url: str, remote: TunnelDescription, *, is_offerer: bool) -> Channel:
        """Both sides: join the tunnel of `remote.token` at a relay. Raises TransportFailure."""
        ...


class TunnelExpectation(Protocol):
    """The answerer's half of a tunnel."""

    async def channel(self) -> Channel:
        """Raises TransportFailure when nobody came in time."""
        ...

    def cancel(self) -> None: ...


class ByteStream(Protocol):
    """A connection of a LAN listener or relay after a tunnel was joined: raw, ordered bytes."""

    @property
    def label(self) -> str:
        """For people: 'host:port' of the far end."""
        ...

    async def receive(self) -> bytes | None:
        """The next chunk (≤ 64 KiB), or None at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand over a chunk (≤ 64 KiB); waits while the network is slow. Raises TransportFailure."""
        ...

    async def close(self) -> None: ...


class TunnelDoor(Protocol):
    """What a listener asks when a stranger presents a tunnel token."""

    def accept(self, token: bytes) -> Callable[[ByteStream], Awaitable[None]] | None:
        """Something that serves the joined stream to its end, or None for an unknown token."""
        ...
