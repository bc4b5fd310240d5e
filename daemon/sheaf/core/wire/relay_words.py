"""The vocabulary of relay frames: their numbers, sizes and error codes (PROTOCOL §7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import IntEnum, unique
from typing import Any, Final, TypeVar, get_type_hints

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import KIB, SIGNAL_BYTES_MAX
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX, FieldCodec

RELAY_VERSION: Final = 1
FRAME_OVERHEAD_BYTES_MAX: Final = 64
SIGNAL_FRAME_BYTES_MAX: Final = SIGNAL_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX
TUNNEL_BYTES_MAX: Final = 64 * KIB
"""One raw message of a joined tunnel."""
TOKEN_BYTES: Final = 16
"""Of a tunnel."""
MAILBOX_ID_BYTES: Final = 16
MAILBOX_TOKEN_BYTES: Final = 32
INCARNATION_BYTES: Final = 8
PAGE_BYTES_MAX: Final = ITEM_BYTES_MAX + 16 * KIB
RELAY_FRAME_BYTES_MAX: Final = PAGE_BYTES_MAX + 16 * KIB
"""Nobody sends or takes a larger WebSocket message on a relay."""
SAYING_BYTES_MAX: Final = 4 * KIB
"""One message across a nameplate."""
NAMEPLATE_MAX: Final = 99_999
OPERATOR_TOKEN_BYTES_MAX: Final = 128
URL_BYTES_MAX: Final = 512


@unique
class FrameType(IntEnum):
    """Numbers on the wire: 0–9 connection, 10–19 rendezvous, 20–29 tunnel, 30–39 nameplates,
    40–49 mailboxes."""

    WELCOME = 0
    AUTH = 1
    ERROR = 2
    PING = 3
    PONG = 4
    REFUSED = 5
    ACCEPTED = 6
    SUB = 10
    UNSUB = 11
    SEND = 12
    DELIVER = 13
    SENT = 14
    NOBODY = 15
    TUNNEL_JOIN = 22
    TUNNEL_JOINED = 23
    TUNNEL_ELSEWHERE = 24
    NAMEPLATE_ALLOCATE = 30
    NAMEPLATE_HELD = 31
    NAMEPLATE_CLAIM = 32
    NAMEPLATE_SAY = 33
    NAMEPLATE_HEARD = 34
    NAMEPLATE_RELEASE = 35
    NAMEPLATE_CLOSED = 36
    MAILBOX_PUT = 40
    MAILBOX_STORED = 41
    MAILBOX_GET = 42
    MAILBOX_ITEMS = 43
    MAILBOX_WATCH = 44
    MAILBOX_NEWS = 45
    MAILBOX_UNWATCH = 46
    MAILBOX_COMPACT = 47
    MAILBOX_STAT = 48
    MAILBOX_STATUS = 49


@unique
class ErrorCode(IntEnum):
    """Why a connection is ended; deliberately few words."""

    BAD_FRAME = 1
    TOO_MUCH = 2
    NOT_HERE = 3
    TOKEN_NEEDED = 4
    """The operator asks for a token, and none or a wrong one was given."""
    GOING_AWAY = 5
    """The relay restarts: connect again in a moment."""


@unique
class RefusalCode(IntEnum):
    """Why one request was not done; the connection goes on."""

    RATE = 1
    """Too many requests: wait."""
    FULL = 2
    """The mailbox, or the whole relay, has no room."""
    TOO_LARGE = 3
    WRONG_TOKEN = 4
    CHANGED = 5
    """Something newer stands in the mailbox than the request expects."""
    UNAVAILABLE = 6
    """The relay's store is out of reach."""
    CROWDED = 7
    """A third came to a nameplate; it is worthless now."""
    GONE = 8
    """No such nameplate, its time is over, or the other side left."""


class RelayRefused(TransportFailure):
    """A relay said no to one request; `code` says why."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(_SENTENCES[code])
        self.code = code


_SENTENCES: Final = {
    RefusalCode.RATE: "the relay asks to slow down",
    RefusalCode.FULL: "the relay has no more room for this",
    RefusalCode.TOO_LARGE: "the relay does not take anything that large",
    RefusalCode.WRONG_TOKEN: "the relay does not accept our right to this mailbox",
    RefusalCode.CHANGED: "something newer stands in the mailbox",
    RefusalCode.UNAVAILABLE: "the relay cannot reach its own store at the moment",
    RefusalCode.CROWDED: "somebody else used this code at the same time; ask for a new one",
    RefusalCode.GONE: "the other side is not there (any more); ask for a new code",
}


# What `encode_frame` and `decode_frame` go by; filled by `frame`.
TYPES: Final[dict[int, type[Any]]] = {}
CODECS: Final[dict[type[Any], tuple[int, tuple[tuple[str, FieldCodec], ...]]]] = {}

_ClassT = TypeVar("_ClassT", bound=type[Any])


def frame(frame_type: FrameType) -> Callable[[_ClassT], _ClassT]:
    """Register a dataclass as the frame with this number."""

    def register(cls: _ClassT) -> _ClassT:
        hints = get_type_hints(cls, include_extras=True)
        codecs = tuple((each.name, hints[each.name].__metadata__[0]) for each in fields(cls))
        TYPES[frame_type.value] = cls
        CODECS[cls] = (frame_type.value, codecs)
        return cls

    return register
