"""Frames: what travels over a channel, one per channel message (PROTOCOL §5 "Framing").

`type u8 ‖ stream uvar ‖ payload`, at most 16 KiB. The top bit of the type says MORE: the
message goes on in the next frame of the same stream. Knows nothing of what the types
mean, of priorities or of credit; `core.protocol.mux` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import FRAME_BYTES_MAX

FRAME_HEADER_BYTES: Final = 2
FRAME_PAYLOAD_MAX: Final = FRAME_BYTES_MAX - FRAME_HEADER_BYTES
FRAGMENT_PAYLOAD_MIN: Final = 512
"""A frame with MORE carries at least this much: endless tiny fragments are refused (FAULTS N9)."""

_MORE: Final = 0x80


class Stream(IntEnum):
    """The streams of a session, by their number on the wire."""

    SESSION = 0
    CONTROL = 1
    LIVE = 2
    CATCH_UP = 3
    BULK = 4
    AWARENESS = 5


_STREAMS: Final = {int(stream): stream for stream in Stream}


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame. `kind` is 1..127."""

    kind: int
    stream: Stream
    payload: bytes
    has_more: bool = False


def encode_frame(kind: int, stream: Stream, payload: bytes, *, has_more: bool = False) -> bytes:
    """The bytes of one frame; the caller keeps `payload` within `FRAME_PAYLOAD_MAX`."""
    assert 0 < kind < _MORE
    assert len(payload) <= FRAME_PAYLOAD_MAX
    return bytes((kind | _MORE if has_more else kind, stream)) + payload


def decode_frame(data: bytes) -> Frame:
    """Read one frame.

    Raises:
        WireError: too short or long, type 0, unknown stream, a fragment that is too small.
    """
    if not FRAME_HEADER_BYTES <= len(data) <= FRAME_BYTES_MAX:
        raise WireError(f"a frame of {len(data)} bytes")
    kind, has_more = data[0] & ~_MORE, bool(data[0] & _MORE)
    # Every stream number is below 128, so its uvar is one byte; a longer uvar names no stream.
    stream = _STREAMS.get(data[1])
    if kind == 0 or stream is None:
        raise WireError("a frame of no known type or stream")
    if has_more and len(data) - FRAME_HEADER_BYTES < FRAGMENT_PAYLOAD_MIN:
        raise WireError("a fragment too small to be honest")
    return Frame(kind, stream, data[FRAME_HEADER_BYTES:], has_more)
