"""The frames of signalling connections, on a LAN listener and on a relay alike (PROTOCOL §7).

Each frame is one binary WebSocket message: a canonical CBOR map {0: type, 1…: fields}.
After TUNNEL_JOINED the connection carries raw bytes of the tunnel and no frames any more.
Sans-IO: knows neither WebSockets nor who subscribes; payloads are sealed and opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, assert_never

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import KIB, SIGNAL_BYTES_MAX
from sheaf.core.wire import cbor

FRAME_OVERHEAD_BYTES_MAX: Final = 64
SIGNAL_FRAME_BYTES_MAX: Final = SIGNAL_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX
TUNNEL_BYTES_MAX: Final = 64 * KIB
"""One raw message of a joined tunnel."""
RIDS_MAX: Final = 512
"""Rendezvous ids in one SUB and on one connection (PROTOCOL §7 "ids per connection")."""
TOKEN_BYTES: Final = 16


@unique
class FrameType(IntEnum):
    """Numbers on the wire. 0–9 session, 10–19 rendezvous, 20–29 tunnel; 30–39 are kept for
    nameplates and 40–49 for mailboxes."""

    ERROR = 2
    SUB = 10
    UNSUB = 11
    SEND = 12
    DELIVER = 13
    SENT = 14
    NOBODY = 15
    TUNNEL_JOIN = 22
    TUNNEL_JOINED = 23


@unique
class ErrorCode(IntEnum):
    """Why a connection is ended; deliberately few words."""

    BAD_FRAME = 1
    TOO_MUCH = 2
    NOT_HERE = 3


@dataclass(frozen=True, slots=True)
class Error:
    """The other side ends the connection."""

    code: ErrorCode


@dataclass(frozen=True, slots=True)
class Sub:
    """Deliver what is sent to these rendezvous ids from now on."""

    rids: tuple[RendezvousId, ...]


@dataclass(frozen=True, slots=True)
class Unsub:
    """Stop delivering for these."""

    rids: tuple[RendezvousId, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Hand `payload` to whoever answers to `rid`; answered by SENT or NOBODY, in order."""

    rid: RendezvousId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for one of the receiver's own rendezvous ids."""

    rid: RendezvousId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """The SEND to `rid` was handed over (not: read, not: understood)."""

    rid: RendezvousId


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody here answers to `rid`."""

    rid: RendezvousId


@dataclass(frozen=True, slots=True)
class TunnelJoin:
    """Turn this connection into the tunnel that `token` (16 bytes) was agreed for."""

    token: bytes


@dataclass(frozen=True, slots=True)
class TunnelJoined:
    """From here on, raw bytes in both directions."""


Frame = Error | Sub | Unsub | Send | Deliver | Sent | Nobody | TunnelJoin | TunnelJoined


def encode_frame(frame: Frame) -> bytes:
    """The one encoding of `frame`."""
    return cbor.encode(dict(enumerate(_fields(frame))))


def decode_frame(data: bytes) -> Frame:
    """Read one WebSocket message.

    Raises:
        WireError: not a whole canonical frame, or a size out of range.
    """
    value = cbor.decode(data, bytes_max=max(SIGNAL_FRAME_BYTES_MAX, RIDS_MAX * 20))
    if not isinstance(value, dict) or not value or sorted(value) != list(range(len(value))):
        raise WireError("relay frame: not a map with keys 0, 1, …")
    kind, *fields = (value[key] for key in range(len(value)))
    if not isinstance(kind, int) or kind not in tuple(FrameType):
        raise WireError("relay frame: unknown type")
    frame_type = FrameType(kind)
    return _build(frame_type, fields)


def _fields(frame: Frame) -> tuple[int | bytes | list[bytes], ...]:
    match frame:
        case Error(code):
            return FrameType.ERROR.value, code.value
        case Sub(rids):
            return FrameType.SUB.value, [bytes(rid) for rid in rids]
        case Unsub(rids):
            return FrameType.UNSUB.value, [bytes(rid) for rid in rids]
        case Send(rid, payload):
            return FrameType.SEND.value, bytes(rid), payload
        case Deliver(rid, payload):
            return FrameType.DELIVER.value, bytes(rid), payload
        case Sent(rid):
            return FrameType.SENT.value, bytes(rid)
        case Nobody(rid):
            return FrameType.NOBODY.value, bytes(rid)
        case TunnelJoin(token):
            return FrameType.TUNNEL_JOIN.value, token
        case TunnelJoined():
            return (FrameType.TUNNEL_JOINED.value,)
        case _:
            assert_never(frame)


def _build(kind: FrameType, fields: Sequence[object]) -> Frame:
    match kind, fields:
        case FrameType.ERROR, [int() as code] if code is not True and code in tuple(ErrorCode):
            return Error(ErrorCode(code))
        case FrameType.SUB, [list() as rids]:
            return Sub(_rids(rids))
        case FrameType.UNSUB, [list() as rids]:
            return Unsub(_rids(rids))
        case FrameType.SEND, [rid, bytes() as payload] if len(payload) <= SIGNAL_BYTES_MAX:
            return Send(_rid(rid), payload)
        case FrameType.DELIVER, [rid, bytes() as payload] if len(payload) <= SIGNAL_BYTES_MAX:
            return Deliver(_rid(rid), payload)
        case FrameType.SENT, [rid]:
            return Sent(_rid(rid))
        case FrameType.NOBODY, [rid]:
            return Nobody(_rid(rid))
        case FrameType.TUNNEL_JOIN, [bytes() as token] if len(token) == TOKEN_BYTES:
            return TunnelJoin(token)
        case FrameType.TUNNEL_JOINED, []:
            return TunnelJoined()
        case _:
            raise WireError(f"relay frame: malformed {kind.name}")


def _rid(value: object) -> RendezvousId:
    if not isinstance(value, bytes) or len(value) != RendezvousId.SIZE:
        raise WireError("relay frame: a rendezvous id has 16 bytes")
    return RendezvousId(value)


def _rids(values: list[object]) -> tuple[RendezvousId, ...]:
    if len(values) > RIDS_MAX:
        raise WireError(f"relay frame: more than {RIDS_MAX} rendezvous ids")
    return tuple(_rid(value) for value in values)
