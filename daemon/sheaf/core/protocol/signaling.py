"""Signalling messages: offer, answer, poke, bye; sealed to the receiving device (PROTOCOL §5).

    sealed = HPKE(K of the target, info = domain "sig" ‖ rid) of length u32 ‖ CBOR{body, sig_D} ‖ padding

Padded to 2 KiB steps, at most 16 KiB. The body carries typed fields only, with exactly one
fingerprint; nobody ever parses SDP from the network. Offers and answers are bound together by the
hash of the offer and, later, by the transcript in HELLO. Whoever carries the message sees a
rendezvous id and a size. Knows nothing of sockets or of how the descriptions are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, RendezvousId
from sheaf.core.base.limits import CANDIDATES_MAX, KIB, SIGNAL_BYTES_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain_bytes, domain_hash
from sheaf.core.crypto.identity import CERTIFICATE_BYTES_MAX, DeviceCertificate, DeviceKeys, verify
from sheaf.core.crypto.sealing import BOX_OVERHEAD_BYTES, seal_box
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

VERSIONS: Final = (1,)
SESSION_ID_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 32
TOKEN_BYTES: Final = 16

_STEP_BYTES: Final = 2 * KIB
_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]+")
_SETUPS: Final = ("actpass", "active", "passive")
_KINDS: Final = ("host", "srflx", "prflx", "relay")
_PROTOCOLS: Final = ("udp", "tcp")

OpenBox = Callable[[bytes, bytes], bytes]
"""`open_box(sealed, info)` of a device or an invitation; raises ProtocolViolation."""


class SignalKind(IntEnum):
    """What a signalling message is."""

    OFFER = 0
    ANSWER = 1
    POKE = 2
    """Call me: you are the one who offers."""
    BYE = 3


@dataclass(frozen=True, slots=True)
class CandidateWire:
    """One ICE candidate; `address` is a literal unicast IP, canonical text."""

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    kind: str


@dataclass(frozen=True, slots=True)
class WebRtcWire:
    """What one side must know of the other to connect."""

    ufrag: str
    pwd: str
    setup: str
    sctp_port: int
    message_bytes_max: int
    fingerprint: bytes
    candidates: tuple[CandidateWire, ...]


@dataclass(frozen=True, slots=True)
class TunnelWire:
    """TLS tunnel: fingerprint of the sender's certificate, 32 bytes; one-time token, 16 bytes
    (zeros in offers)."""

    fingerprint: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class SignalBody:
    """The signed part of a signalling message.

    `to`: the device it is for, None when only an invitation is known; `session_id`: 16 random
    bytes by the offerer; `created_ms`: wall clock, for dropping what is stale; `offer_hash`: in
    answers, `offer_hash(offer bytes)`.
    """

    kind: SignalKind
    sender: DeviceCertificate
    to: DeviceId | None
    session_id: bytes
    created_ms: int
    versions: tuple[int, ...] = VERSIONS
    webrtc: WebRtcWire | None = None
    tunnel: TunnelWire | None = None
    offer_hash: bytes | None = None

    def encode(self) -> bytes:
        """The bytes that are signed, hashed and put into the transcript."""
        body: dict[int, object] = {
            0: int(self.kind),
            1: self.sender.raw,
            3: self.session_id,
            4: self.created_ms,
            5: self.versions,
        }
        if self.to is not None:
            body[2] = self.to
        if self.webrtc is not None:
            body[6] = _webrtc_value(self.webrtc)
        if self.tunnel is not None:
            body[7] = {0: self.tunnel.fingerprint, 1: self.tunnel.token}
        if self.offer_hash is not None:
            body[8] = self.offer_hash
        return cbor.encode(body)

    @classmethod
    def decode(cls, data: bytes) -> SignalBody:
        """Read and check a body; its signature is `open_signal`'s business.

        Raises:
            WireError: not a body, or a field that must not reach the transports.
            ProtocolViolation: a certificate that does not hold.
        """
        fields = Fields(cbor.decode(data, bytes_max=SIGNAL_BYTES_MAX), "signal")
        kind = fields.uint(0, len(SignalKind) - 1)
        body = cls(
            kind=SignalKind(kind),
            sender=DeviceCertificate.decode(fields.octets(1, maximum=CERTIFICATE_BYTES_MAX)),
            to=fields.id_or_none(2, DeviceId),
            session_id=fields.octets(3, size=SESSION_ID_BYTES),
            created_ms=fields.uint(4),
            versions=_versions(fields.array(5, maximum=8)),
            webrtc=_webrtc(fields.take(6)) if fields.has(6) else None,
            tunnel=_tunnel(fields.take(7)) if fields.has(7) else None,
            offer_hash=fields.octets_or_none(8, size=32),
        )
        fields.done()
        if (body.kind is SignalKind.ANSWER) != (body.offer_hash is not None):
            raise WireError("signal: exactly answers name an offer")
        return body


@dataclass(frozen=True, slots=True)
class OpenedSignal:
    """A message that opened and whose signature holds; `body_bytes` goes into the transcript."""

    body: SignalBody
    body_bytes: bytes


def seal_signal(
    body: SignalBody, device: DeviceKeys, target_kem: bytes, rid: RendezvousId, entropy: Entropy
) -> bytes:
    """Sign with our device key and seal to the receiver.

    Args:
        target_kem: bytes, 32, X25519 key of the device or invitation it is for.
        rid: where it will be left; bound into the box.

    Raises:
        ProtocolViolation: the receiver's key is unusable.
    """
    raw = body.encode()
    signed = cbor.encode({0: raw, 1: device.sign(_message(raw, rid))})
    plaintext = len(signed).to_bytes(4, "big") + signed
    padding = -(len(plaintext) + BOX_OVERHEAD_BYTES) % _STEP_BYTES
    sealed = seal_box(target_kem, plaintext + entropy(padding), _info(rid))
    assert len(sealed) <= SIGNAL_BYTES_MAX
    return sealed


def open_signal(sealed: bytes, open_box: OpenBox, rid: RendezvousId) -> OpenedSignal:
    """Open what came for `rid` and check who sent it.

    Raises:
        WireError: not a signalling message.
        ProtocolViolation: not for this key or rid, or the signature does not hold.
    """
    if len(sealed) > SIGNAL_BYTES_MAX:
        raise WireError("signal: too long")
    plaintext = open_box(sealed, _info(rid))
    size = int.from_bytes(plaintext[:4], "big")
    if len(plaintext) < 4 or size > len(plaintext) - 4:
        raise WireError("signal: cut short")
    fields = Fields(cbor.decode(plaintext[4 : 4 + size], bytes_max=SIGNAL_BYTES_MAX), "signal")
    raw, signature = fields.octets(0), fields.octets(1, size=64)
    fields.done()
    body = SignalBody.decode(raw)
    if not verify(body.sender.device, _message(raw, rid), signature):
        raise ProtocolViolation("signal: not signed by its sender")
    return OpenedSignal(body, raw)


def offer_hash(offer_bytes: bytes) -> bytes:
    """How an answer names its offer, 32 bytes."""
    return domain_hash("offer", offer_bytes)


def transcript(offer_bytes: bytes, answer_bytes: bytes) -> bytes:
    """T: what both sides of a channel must have in common, 32 bytes."""
    return domain_hash("transcript", offer_bytes, answer_bytes)


def answer_rendezvous(session_id: bytes) -> RendezvousId:
    """Where the answer to the offer with this session id is left."""
    return RendezvousId(domain_hash("answer rendezvous", session_id)[: RendezvousId.SIZE])


def _message(raw: bytes, rid: RendezvousId) -> bytes:
    return domain_bytes("signal", rid, raw)


def _info(rid: RendezvousId) -> bytes:
    return domain_bytes("sig", rid)


# --------------------------------------------------------------------------- descriptions


def _webrtc_value(wire: WebRtcWire) -> dict[int, object]:
    return {
        0: wire.ufrag,
        1: wire.pwd,
        2: wire.setup,
        3: wire.sctp_port,
        4: wire.message_bytes_max,
        5: wire.fingerprint,
        6: [
            [c.foundation, c.component, c.protocol, c.priority, c.address, c.port, c.kind]
            for c in wire.candidates
        ],
    }


def _webrtc(value: cbor.Value) -> WebRtcWire:
    fields = Fields(value, "webrtc")
    wire = WebRtcWire(
        ufrag=_ice_text(fields.text(0, bytes_max=256), 4),
        pwd=_ice_text(fields.text(1, bytes_max=256), 22),
        setup=_one_of(fields.take(2), _SETUPS),
        sctp_port=_port(fields.uint(3)),
        message_bytes_max=fields.uint(4),
        fingerprint=fields.octets(5, size=FINGERPRINT_BYTES),
        candidates=tuple(_candidate(item) for item in fields.array(6, maximum=CANDIDATES_MAX)),
    )
    fields.done()
    return wire


def _tunnel(value: cbor.Value) -> TunnelWire:
    fields = Fields(value, "tunnel")
    wire = TunnelWire(fields.octets(0, size=FINGERPRINT_BYTES), fields.octets(1, size=TOKEN_BYTES))
    fields.done()
    return wire


def _candidate(value: cbor.Value) -> CandidateWire:
    if not isinstance(value, list) or len(value) != 7:
        raise WireError("candidate: seven fields")
    foundation, component, protocol, priority, address, port, kind = value
    if not isinstance(foundation, str) or not isinstance(address, str):
        raise WireError("candidate: text expected")
    return CandidateWire(
        foundation=_ice_text(foundation, 1, 32),
        component=_number(component, 256),
        protocol=_one_of(protocol, _PROTOCOLS),
        priority=_number(priority, 2**32 - 1),
        address=_unicast(address),
        port=_port(_number(port, 65535)),
        kind=_one_of(kind, _KINDS),
    )


def _unicast(text: str) -> str:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise WireError("candidate: not an IP address") from None
    if address.is_multicast or address.is_unspecified or str(address) != text:
        raise WireError("candidate: not a unicast address in canonical form")
    if text == "255.255.255.255" or "%" in text:
        raise WireError("candidate: broadcast or scoped address")
    return text


def _ice_text(text: str, chars_min: int, chars_max: int = 256) -> str:
    if not chars_min <= len(text) <= chars_max or _ICE_CHARS.fullmatch(text) is None:
        raise WireError("webrtc: not ICE characters")
    return text


def _one_of(value: cbor.Value, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise WireError("webrtc: unknown word")
    return value


def _port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise WireError("webrtc: not a port")
    return number


def _number(value: cbor.Value, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise WireError("webrtc: number out of range")
    return value


def _versions(values: list[cbor.Value]) -> tuple[int, ...]:
    return tuple(_number(value, 255) for value in values)
