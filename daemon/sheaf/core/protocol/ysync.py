"""The y-websocket frames between an editor tab and its own daemon (PROTOCOL §9).

lib0 framing: a message number, then length-prefixed fields. The numbers are those of the
stock Yjs providers (0 sync, 1 awareness, 2 auth, 3 query awareness); 101 is Sheaf's
"committed" message, sent only to clients that ask for it, because stock providers log an
error for each number they do not know. Decoders are total: a whole message or
`WireError`. What an update holds is the inspector's business, not this module's; it must
not know documents, sockets or pycrdt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import INTEGER_MAX

MESSAGE_SYNC: Final = 0
MESSAGE_AWARENESS: Final = 1
MESSAGE_AUTH: Final = 2
MESSAGE_QUERY_AWARENESS: Final = 3
MESSAGE_COMMITTED: Final = 101

SYNC_STEP1: Final = 0
SYNC_STEP2: Final = 1
SYNC_UPDATE: Final = 2

_UVAR_BYTES_MAX: Final = 8
"""Eight groups of seven bits hold 2^53."""


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The sender's state vector; it wants to be told what it lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """A Yjs update (step 2 or update): what the sender believes we lack. Not inspected yet.

    `is_state`: it is a step 2, all the sender has that the asker's state vector lacked.
    """

    update: bytes
    is_state: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class AwarenessMessage:
    """An awareness update, for `presence` to decode."""

    data: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """The sender wants every awareness state known here."""


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message number this version does not know; ignored, so that later clients still work."""

    number: int


SyncMessage = SyncStep1 | SyncUpdate | AwarenessMessage | QueryAwareness | UnknownMessage


class LibReader:
    """Reads lib0 fields from `data` front to back; every method raises `WireError` past the end."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def uvar(self) -> int:
        """An unsigned LEB128 integer in its shortest form, at most 2^53-1."""
        data, pos = self._data, self._pos
        value = 0
        for index, byte in enumerate(data[pos : pos + _UVAR_BYTES_MAX]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if (index and not byte) or value > INTEGER_MAX:
                    raise WireError("a number is over-long or above 2^53")
                self._pos = pos + index + 1
                return value
        raise WireError("a number is cut off or over-long")

    def take(self) -> bytes:
        """A length-prefixed byte string; the length is checked before anything is copied."""
        length = self.uvar()
        start = self._pos
        if length > len(self._data) - start:
            raise WireError("a length runs past the end of the message")
        self._pos = start + length
        return self._data[start : self._pos]

    def text(self) -> str:
        """A length-prefixed UTF-8 string."""
        try:
            return self.take().decode()
        except UnicodeDecodeError as error:
            raise WireError("a string is not UTF-8") from error

    def end(self) -> None:
        """Require that nothing is left."""
        if self._pos != len(self._data):
            raise WireError("bytes are left over after the message")


def write_uvar(value: int) -> bytes:
    """`value` (0 … 2^53-1) as unsigned LEB128."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_bytes(data: bytes) -> bytes:
    """`data` with its length in front."""
    return write_uvar(len(data)) + data


def decode_message(data: bytes) -> SyncMessage:
    """One WebSocket message from a tab.

    Args:
        data: the whole message; its size was bounded by the socket.

    Returns:
        The message; an unknown number is a value, not an error.

    Raises:
        WireError: cut off, over-long, left-over bytes or an unknown sync step.
    """
    reader = LibReader(data)
    number = reader.uvar()
    if number == MESSAGE_SYNC:
        return _decode_sync(reader)
    if number == MESSAGE_AWARENESS:
        payload = reader.take()
        reader.end()
        return AwarenessMessage(payload)
    if number == MESSAGE_QUERY_AWARENESS:
        reader.end()
        return QueryAwareness()
    return UnknownMessage(number)


def _decode_sync(reader: LibReader) -> SyncMessage:
    step = reader.uvar()
    payload = reader.take()
    reader.end()
    if step == SYNC_STEP1:
        return SyncStep1(payload)
    if step in (SYNC_STEP2, SYNC_UPDATE):
        return SyncUpdate(payload, is_state=step == SYNC_STEP2)
    raise WireError("an unknown sync step")


def encode_step1(state_vector: bytes) -> bytes:
    """Ask the tab for what this daemon lacks."""
    return b"\x00\x00" + write_bytes(state_vector)


def encode_step2(update: bytes) -> bytes:
    """Answer a step 1 with everything its sender lacks."""
    return b"\x00\x01" + write_bytes(update)


def encode_update(update: bytes) -> bytes:
    """An update as it happens."""
    return b"\x00\x02" + write_bytes(update)


def encode_awareness_message(data: bytes) -> bytes:
    """Wrap an awareness update (made by `presence`) for the socket."""
    return b"\x01" + write_bytes(data)


def encode_permission_denied(reason: str) -> bytes:
    """Tell the tab that its updates will be dropped; `reason` is shown to the person."""
    return b"\x02\x00" + write_bytes(reason.encode())


def encode_committed(frames: int, state_vector: bytes) -> bytes:
    """Message 101: `frames` sync frames of this connection are durable, and what the document now holds."""
    return bytes((MESSAGE_COMMITTED,)) + write_uvar(frames) + write_bytes(state_vector)
