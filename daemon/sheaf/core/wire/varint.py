"""Unsigned LEB128 in its shortest form, and a reader for fixed binary layouts (PROTOCOL §1).

Knows bytes only. Every read checks what is left before it takes it.
"""

from __future__ import annotations

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import INTEGER_MAX

_UVAR_BYTES_MAX = 8


def encode_uvar(number: int) -> bytes:
    """`number` (0..2^53-1) as a uvar of 1 to 8 bytes.

    Raises:
        ValueError: out of range; a bug of the caller.
    """
    if not 0 <= number <= INTEGER_MAX:
        raise ValueError("uvar out of range")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_uvar(data: bytes, position: int) -> tuple[int, int]:
    """The uvar at `position` and the position after it.

    Raises:
        WireError: cut short, above 2^53-1, or not the shortest form.
    """
    number = shift = 0
    for index in range(position, min(len(data), position + _UVAR_BYTES_MAX)):
        byte = data[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or number > INTEGER_MAX:
                raise WireError("varint not in its shortest form or too large")
            return number, index + 1
        shift += 7
    raise WireError("varint cut short or too long")


class Reader:
    """Takes fields off the front of `data`; everything raises `WireError` when it does not fit."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def uvar(self) -> int:
        """An unsigned varint, 0..2^53-1."""
        number, self._position = decode_uvar(self._data, self._position)
        return number

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Four bytes, big-endian."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Eight bytes, big-endian."""
        return int.from_bytes(self.take(8), "big")

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        end = self._position + count
        if count < 0 or end > len(self._data):
            raise WireError("message ends early")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def rest(self) -> bytes:
        """All that is left (maybe nothing)."""
        return self.take(len(self._data) - self._position)

    def end(self) -> None:
        """Refuse trailing bytes."""
        if self._position != len(self._data):
            raise WireError("bytes follow the message")
