"""The frames of signalling connections, on a LAN listener and on a relay alike (PROTOCOL §7).

Each frame is one binary WebSocket message: a canonical CBOR map {0: type, 1…: fields}, the fields in
the order of the dataclass. A relay speaks first, with WELCOME; a LAN listener does not. After
TUNNEL_JOINED the connection carries raw bytes of the tunnel and no frames any more.
Requests to mailboxes and nameplates carry a number chosen by the client, which the answer repeats.
Sans-IO: knows neither WebSockets nor who subscribes; payloads are sealed and opaque.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import SIGNAL_BYTES_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.frame_fields import (
    FLAG,
    ITEM_BYTES_MAX,
    RID,
    RIDS,
    RIDS_MAX,
    UINT,
    code,
    octets,
    octets_max,
    text,
    uint,
)
from sheaf.core.wire.relay_requests import MailboxFrame, NameplateFrame
from sheaf.core.wire.relay_words import (
    CODECS,
    OPERATOR_TOKEN_BYTES_MAX,
    SIGNAL_FRAME_BYTES_MAX,
    TOKEN_BYTES,
    TYPES,
    URL_BYTES_MAX,
    ErrorCode,
    FrameType,
    RefusalCode,
    frame,
)

LAN_FRAME_BYTES_MAX: Final = max(SIGNAL_FRAME_BYTES_MAX, RIDS_MAX * 20)


@frame(FrameType.WELCOME)
@dataclass(frozen=True, slots=True)
class Welcome:
    """The relay's first word: its version and what it bears."""

    version: Annotated[int, uint(255)]
    needs_token: Annotated[bool, FLAG]
    item_bytes_max: Annotated[int, uint(ITEM_BYTES_MAX)]
    mailbox_bytes_max: Annotated[int, UINT]
    rids_max: Annotated[int, uint(RIDS_MAX)]
    stun_port: Annotated[int, uint(65_535)]
    """UDP port, on the host the client dialled, that answers STUN; 0: none."""


@frame(FrameType.AUTH)
@dataclass(frozen=True, slots=True)
class Auth:
    """The operator's token; answered by ACCEPTED or ERROR TOKEN_NEEDED."""

    token: Annotated[bytes, octets_max(OPERATOR_TOKEN_BYTES_MAX)] = field(repr=False)


@frame(FrameType.ACCEPTED)
@dataclass(frozen=True, slots=True)
class Accepted:
    """The token is right."""


@frame(FrameType.ERROR)
@dataclass(frozen=True, slots=True)
class Error:
    """The other side ends the connection."""

    code: Annotated[ErrorCode, code(ErrorCode)]


@frame(FrameType.REFUSED)
@dataclass(frozen=True, slots=True)
class Refused:
    """This request was not done."""

    request: Annotated[int, UINT]
    code: Annotated[RefusalCode, code(RefusalCode)]


@frame(FrameType.PING)
@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? From the client, every 30 s; a relay lets silent connections go after 90 s."""


@frame(FrameType.PONG)
@dataclass(frozen=True, slots=True)
class Pong:
    """Yes."""


@frame(FrameType.SUB)
@dataclass(frozen=True, slots=True)
class Sub:
    """Deliver what is sent to these rendezvous ids from now on."""

    rids: Annotated[tuple[RendezvousId, ...], RIDS]


@frame(FrameType.UNSUB)
@dataclass(frozen=True, slots=True)
class Unsub:
    """Stop delivering for these."""

    rids: Annotated[tuple[RendezvousId, ...], RIDS]


@frame(FrameType.SEND)
@dataclass(frozen=True, slots=True)
class Send:
    """Hand `payload` to whoever answers to `rid`; answered by SENT or NOBODY, in order."""

    rid: Annotated[RendezvousId, RID]
    payload: Annotated[bytes, octets_max(SIGNAL_BYTES_MAX)]


@frame(FrameType.DELIVER)
@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for one of the receiver's own rendezvous ids."""

    rid: Annotated[RendezvousId, RID]
    payload: Annotated[bytes, octets_max(SIGNAL_BYTES_MAX)]


@frame(FrameType.SENT)
@dataclass(frozen=True, slots=True)
class Sent:
    """The SEND to `rid` was handed over (not: read, not: understood)."""

    rid: Annotated[RendezvousId, RID]


@frame(FrameType.NOBODY)
@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody here answers to `rid`."""

    rid: Annotated[RendezvousId, RID]


@frame(FrameType.TUNNEL_JOIN)
@dataclass(frozen=True, slots=True)
class TunnelJoin:
    """Turn this connection into the tunnel that `token` was agreed for (through sealed signalling).

    A LAN listener answers at once; a relay when the other side has presented the same token.
    """

    token: Annotated[bytes, octets(TOKEN_BYTES)] = field(repr=False)


@frame(FrameType.TUNNEL_JOINED)
@dataclass(frozen=True, slots=True)
class TunnelJoined:
    """From here on, raw bytes in both directions."""


@frame(FrameType.TUNNEL_ELSEWHERE)
@dataclass(frozen=True, slots=True)
class TunnelElsewhere:
    """The other side waits at another node of this relay: join there, at this URL."""

    url: Annotated[str, text(URL_BYTES_MAX)]


ConnectionFrame = Welcome | Auth | Accepted | Error | Refused | Ping | Pong
SignalFrame = Sub | Unsub | Send | Deliver | Sent | Nobody
TunnelFrame = TunnelJoin | TunnelJoined | TunnelElsewhere
Frame = ConnectionFrame | SignalFrame | TunnelFrame | NameplateFrame | MailboxFrame


def encode_frame(frame: Frame) -> bytes:
    """The one encoding of `frame`."""
    number, codecs = CODECS[type(frame)]
    body: dict[int, object] = {0: number}
    for key, (name, codec) in enumerate(codecs, 1):
        body[key] = codec.write(getattr(frame, name))
    return cbor.encode(body)


def decode_frame(data: bytes, *, bytes_max: int = LAN_FRAME_BYTES_MAX) -> Frame:
    """Read one WebSocket message.

    Args:
        bytes_max: what this kind of connection may carry (`RELAY_FRAME_BYTES_MAX` on a relay).

    Raises:
        WireError: not a whole canonical frame, or a size out of range.
    """
    value = cbor.decode(data, bytes_max=bytes_max)
    if not isinstance(value, dict) or not value or sorted(value) != list(range(len(value))):
        raise WireError("relay frame: not a map with keys 0, 1, …")
    kind = value[0]
    cls = TYPES.get(kind) if isinstance(kind, int) and not isinstance(kind, bool) else None
    if cls is None:
        raise WireError("relay frame: unknown type")
    _, codecs = CODECS[cls]
    if len(value) != len(codecs) + 1:
        raise WireError(f"relay frame: {cls.__name__} has {len(codecs)} fields")
    try:
        decoded: Frame = cls(*(codec.read(value[key]) for key, (_, codec) in enumerate(codecs, 1)))
    except ValueError as error:
        raise WireError(f"relay frame: malformed {cls.__name__}: {error}") from None
    return decoded
