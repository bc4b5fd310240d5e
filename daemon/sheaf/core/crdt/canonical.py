"""One spelling for equal updates: the members of every object in it, sorted (PROTOCOL §3, digest).

Native code keeps objects in hash maps and writes their members in an order that differs from
process to process (measured on yrs 0.28), in `any` values as well as in JSON text. Must not know
documents or pycrdt.
"""

from __future__ import annotations

import json

from sheaf.core.crdt.inspector import value_spans
from sheaf.core.crdt.lib0 import read_string, read_uvar, skip_any
from sheaf.core.crdt.state_vector import encode_uvar

_OBJECT, _ARRAY = 118, 117
_NESTING_MAX = 64


def canonical_update(update: bytes) -> bytes:
    """The same update with its objects' members sorted by name.

    Args:
        update: one that `inspect_update` accepts; its nesting is bounded by that.
    """
    out = bytearray()
    copied = 0
    for start, end, is_json in value_spans(update):
        if is_json:
            value = _canonical_json(update, start) if b"{" in update[start:end] else None
        else:
            value = _canonical_any(update, start)[0] if _OBJECT in update[start:end] else None
        if value is not None:
            out += update[copied:start]
            out += value
            copied = end
    return bytes(out + update[copied:]) if copied else update


def _canonical_json(data: bytes, pos: int) -> bytes:
    text, _ = read_string(data, pos)
    if text == "undefined":
        return data[pos : pos + 10]
    value = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return encode_uvar(len(value)) + value


def _canonical_any(data: bytes, pos: int) -> tuple[bytes, int]:
    kind = data[pos]
    if kind == _ARRAY:
        count, at = read_uvar(data, pos + 1)
        items = bytearray(data[pos:at])
        for _ in range(count):
            item, at = _canonical_any(data, at)
            items += item
        return bytes(items), at
    if kind != _OBJECT:
        end = skip_any(data, pos, _NESTING_MAX)
        return data[pos:end], end
    count, at = read_uvar(data, pos + 1)
    head = data[pos:at]
    members: list[tuple[str, bytes]] = []
    for _ in range(count):
        start = at
        name, at = read_string(data, at)
        key = data[start:at]
        value, at = _canonical_any(data, at)
        members.append((name, key + value))
    members.sort(key=lambda member: member[0])
    return head + b"".join(encoded for _, encoded in members), at
