"""Strict CBOR: one encoding per value, and nothing else is read (PROTOCOL §1).

RFC 8949 §4.2.1 core deterministic encoding of a small data model: integers within
±(2^53-1), byte and text strings, arrays, maps with integer keys 0..23, booleans and
null. No floats, tags, indefinite lengths, big integers, other simple values.

Own code and not a library: decision 0020. Knows nothing of what the values mean;
`shape.Fields` checks that.
"""

from __future__ import annotations

from sheaf.core.base.errors import WireError
from sheaf.core.base.limits import INTEGER_MAX

Value = None | bool | int | bytes | str | list["Value"] | dict[int, "Value"]

DEPTH_MAX = 8
_KEY_MAX = 23


def encode(value: object) -> bytes:
    """The one encoding of `value`; tuples count as arrays, `bytes` subclasses as bytes.

    Raises:
        TypeError: something outside the data model. A bug of the caller, never of a peer.
        ValueError: an integer out of range, or nesting deeper than `DEPTH_MAX`.
    """
    out = bytearray()
    _encode(value, out, DEPTH_MAX)
    return bytes(out)


def decode(data: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> Value:
    """Read exactly one value that fills `data`.

    Args:
        data: untrusted bytes.
        bytes_max: refuse longer input before looking at it.
        depth_max: deepest nesting of arrays and maps.

    Raises:
        WireError: not the deterministic encoding of one value of the data model.
    """
    if len(data) > bytes_max:
        raise WireError(f"message of {len(data)} bytes, at most {bytes_max} allowed")
    try:
        value, position = _decode(data, 0, depth_max)
    except IndexError:
        raise WireError("message ends early") from None
    if position != len(data):
        raise WireError("bytes follow the message")
    return value


# --------------------------------------------------------------------------- encoding


def _head(major: int, argument: int, out: bytearray) -> None:
    if argument < 24:
        out.append(major | argument)
    elif argument < 0x100:
        out += bytes((major | 24, argument))
    elif argument < 0x10000:
        out.append(major | 25)
        out += argument.to_bytes(2, "big")
    elif argument < 0x100000000:
        out.append(major | 26)
        out += argument.to_bytes(4, "big")
    else:
        out.append(major | 27)
        out += argument.to_bytes(8, "big")


def _encode(value: object, out: bytearray, depth: int) -> None:
    if isinstance(value, bytes):
        _head(0x40, len(value), out)
        out += value
    elif value is None:
        out.append(0xF6)
    elif isinstance(value, bool):
        out.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        _encode_integer(value, out)
    elif isinstance(value, str):
        text = value.encode("utf-8")
        _head(0x60, len(text), out)
        out += text
    else:
        _encode_container(value, out, depth)


def _encode_integer(value: int, out: bytearray) -> None:
    if not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise ValueError("integer out of range")
    if value >= 0:
        _head(0x00, value, out)
    else:
        _head(0x20, -1 - value, out)


def _encode_container(value: object, out: bytearray, depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, list | tuple):
        _head(0x80, len(value), out)
        for item in value:
            _encode(item, out, depth - 1)
    elif isinstance(value, dict):
        _head(0xA0, len(value), out)
        for key in sorted(value):
            if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key <= _KEY_MAX:
                raise TypeError(f"map key {key!r}: only 0..{_KEY_MAX}")
            out.append(key)
            _encode(value[key], out, depth - 1)
    else:
        raise TypeError(f"{type(value).__name__} has no place in a message")


# --------------------------------------------------------------------------- decoding

_SMALLEST = {24: 24, 25: 0x100, 26: 0x10000, 27: 0x100000000}


def _argument(data: bytes, position: int, short: int) -> tuple[int, int]:
    """The argument of a head whose low five bits are `short` (≥ 24), and the position after it."""
    if short > 27:
        raise WireError("indefinite length or reserved head")
    end = position + (1 << (short - 24))
    if end > len(data):
        raise WireError("message ends early")
    argument = int.from_bytes(data[position:end], "big")
    if argument < _SMALLEST[short]:
        raise WireError("number not in its shortest form")
    return argument, end


def _decode(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    # One flat function: this is the hot path of opening envelopes.
    head = data[position]
    position += 1
    major = head >> 5
    argument = head & 31
    if argument >= 24 and major != 7:
        argument, position = _argument(data, position, argument)
    if major == 2:
        end = position + argument
        if end > len(data):
            raise WireError("message ends early")
        return data[position:end], end
    if major == 0:
        if argument > INTEGER_MAX:
            raise WireError("integer out of range")
        return argument, position
    if major == 4:
        return _decode_array(data, position, argument, depth)
    if major == 5:
        return _decode_map(data, position, argument, depth)
    if major == 3:
        return _decode_text(data, position, argument)
    if major == 1:
        if argument >= INTEGER_MAX:
            raise WireError("integer out of range")
        return -1 - argument, position
    return _decode_simple(head), position


def _decode_array(data: bytes, position: int, count: int, depth: int) -> tuple[Value, int]:
    if depth == 0:
        raise WireError("nested too deep")
    if count > len(data) - position:
        raise WireError("message ends early")
    items: list[Value] = []
    for _ in range(count):
        item, position = _decode(data, position, depth - 1)
        items.append(item)
    return items, position


def _decode_map(data: bytes, position: int, count: int, depth: int) -> tuple[Value, int]:
    if depth == 0:
        raise WireError("nested too deep")
    if count > _KEY_MAX + 1:
        raise WireError("too many map keys")
    fields: dict[int, Value] = {}
    previous = -1
    for _ in range(count):
        key = data[position]
        if not previous < key <= _KEY_MAX:
            raise WireError("map keys out of order, repeated or not 0..23")
        fields[key], position = _decode(data, position + 1, depth - 1)
        previous = key
    return fields, position


def _decode_text(data: bytes, position: int, size: int) -> tuple[Value, int]:
    end = position + size
    if end > len(data):
        raise WireError("message ends early")
    try:
        return data[position:end].decode("utf-8"), end
    except UnicodeDecodeError:
        raise WireError("text is not UTF-8") from None


def _decode_simple(head: int) -> Value:
    if head == 0xF6:
        return None
    if head in (0xF4, 0xF5):
        return head == 0xF5
    raise WireError("tag, float or unknown simple value")
