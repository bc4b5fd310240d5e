"""Walking lib0 encodings without building anything: varints, strings, JSON text, `any` values.

lib0 is the byte format under Yjs. The functions here only find out where a value ends and
whether it is sound; they never recurse, so no depth of nesting can exhaust a stack.
Must not know updates, documents or pycrdt. Part of the inspector of PROTOCOL §3.

Every function takes the whole message and a position, and returns the position after the
value. Reading past the end raises `IndexError`, which the inspector turns into a refusal.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.limits import INTEGER_MAX

_ANY_FIXED: Final = {127: 0, 126: 0, 121: 0, 120: 0, 124: 4, 123: 8, 122: 8}
"""Kinds of `any` with a fixed body: undefined, null, false, true, float32, float64, bigint."""
_ANY_INTEGER, _ANY_STRING, _ANY_OBJECT, _ANY_ARRAY, _ANY_BYTES = 125, 119, 118, 117, 116
_JSON_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def read_uvar(data: bytes, pos: int) -> tuple[int, int]:
    """An unsigned LEB128 integer, minimal form, at most 2^53-1 (what JavaScript can hold).

    Returns:
        The value and the position after it.

    Raises:
        UpdateRefused: over-long or too large.
        IndexError: the data ends first.
    """
    byte = data[pos]
    if byte < 0x80:
        return byte, pos + 1
    value = byte & 0x7F
    shift = 7
    while True:
        pos += 1
        byte = data[pos]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte:
                raise UpdateRefused("a number in the update is written over-long")
            if value > INTEGER_MAX:
                raise UpdateRefused("a number in the update is above 2^53")
            return value, pos + 1
        shift += 7
        if shift > 49:
            raise UpdateRefused("a number in the update is above 2^53")


def skip_int(data: bytes, pos: int) -> int:
    """A signed lib0 integer (six bits and a sign in the first byte), magnitude below 2^53."""
    byte = data[pos]
    value = byte & 0x3F
    shift = 6
    while byte >= 0x80:
        pos += 1
        byte = data[pos]
        value |= (byte & 0x7F) << shift
        if not byte:
            raise UpdateRefused("a number in the update is written over-long")
        shift += 7
        if shift > 62:
            raise UpdateRefused("a number in the update is above 2^53")
    if value > INTEGER_MAX:
        raise UpdateRefused("a number in the update is above 2^53")
    return pos + 1


def skip_bytes(data: bytes, pos: int) -> int:
    """A length-prefixed byte string; the length is checked against what is there."""
    length, pos = read_uvar(data, pos)
    if length > len(data) - pos:
        raise UpdateRefused("a length in the update runs past its end")
    return pos + length


def read_string(data: bytes, pos: int) -> tuple[str, int]:
    """A length-prefixed UTF-8 string."""
    length, pos = read_uvar(data, pos)
    end = pos + length
    if end > len(data):
        raise UpdateRefused("a length in the update runs past its end")
    try:
        return data[pos:end].decode(), end
    except UnicodeDecodeError as error:
        raise UpdateRefused("a string in the update is not UTF-8") from error


def utf16_length(text: str) -> int:
    """How many UTF-16 units `text` has: what Yjs counts string lengths in."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le")) >> 1


def skip_any(data: bytes, pos: int, nesting_max: int) -> int:
    """One lib0 `any` value with everything inside it, at most `nesting_max` containers deep."""
    open_containers: list[tuple[int, bool]] = []
    left, keyed = 1, False
    while True:
        while not left:
            if not open_containers:
                return pos
            left, keyed = open_containers.pop()
        left -= 1
        if keyed:
            _, pos = read_string(data, pos)
        kind = data[pos]
        pos += 1
        if kind == _ANY_STRING:
            _, pos = read_string(data, pos)
        elif kind == _ANY_INTEGER:
            pos = skip_int(data, pos)
        elif kind in (_ANY_OBJECT, _ANY_ARRAY):
            count, pos = read_uvar(data, pos)
            if count > len(data) - pos:
                raise UpdateRefused("a count in the update runs past its end")
            open_containers.append((left, keyed))
            if len(open_containers) > nesting_max:
                raise UpdateRefused("a value in the update is nested too deeply")
            left, keyed = count, kind == _ANY_OBJECT
        elif kind == _ANY_BYTES:
            pos = skip_bytes(data, pos)
        else:
            size = _ANY_FIXED.get(kind)
            if size is None:
                raise UpdateRefused("a value in the update is of an unknown kind")
            pos += size
            if pos > len(data):
                raise UpdateRefused("a value in the update runs past its end")


def check_json(text: str, nesting_max: int) -> None:
    """Refuse text that is not JSON every replica can read, or nested deeper than `nesting_max`.

    The brackets are counted before the parser sees the text: Python's parser recurses.
    NaN, infinities and lone surrogates are refused because `JSON.parse` or the native
    decoder would refuse them on some replicas only.
    """
    if "[" in text or "{" in text:
        _check_json_depth(text, nesting_max)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UpdateRefused("JSON text in the update is malformed") from error


def _check_json_depth(text: str, nesting_max: int) -> None:
    depth = 0
    for match in _JSON_TOKEN.finditer(text):
        token = match.group()
        if token in "[{":
            depth += 1
            if depth > nesting_max:
                raise UpdateRefused("a value in the update is nested too deeply")
        elif token in "]}":
            depth -= 1


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value
