"""The update inspector: reads a whole Yjs v1 update before native code may see it (PROTOCOL §3).

A hostile update can overflow the native decoder's stack, make it panic, or be accepted and
poison the document later (all measured on yrs 0.28). So nothing reaches the decoder that has
not been walked here from the first byte to the last. The walk also tells what the update
writes and what it needs, which no pycrdt call does for an update that starts past clock 0.

Must not import pycrdt, and never builds the values it walks over.

What an accepted update guarantees:

1. Every client id is below 2^53 and has one section; its structs are contiguous and not empty.
2. Clocks and lengths, of structs and deletions, stay below 2^31.
3. Only what Yjs 13 writes: GC, and items with known content and type numbers. No Skip: it stands
   for a hole, and a Y.Doc must never hold a pending struct (an update that is taken apart before it
   goes anywhere may have them, `UpdateLimits.has_holes`). No sub-documents, no XML hooks, no
   yrs-only moves and weak links: nothing in Sheaf makes them and other replicas choke on them.
4. An item refers only to earlier items of its own client, has two different neighbours, and
   names no struct of this update as its parent that cannot be one.
5. Strings are UTF-8 with a true UTF-16 length, numbers minimal, nesting bounded, no bytes left over.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import UpdateRefused, UpdateTooBig
from sheaf.core.base.limits import CLOCK_MAX
from sheaf.core.crdt.lib0 import check_json, read_string, read_uvar, skip_any, skip_bytes, utf16_length
from sheaf.core.crdt.update_summary import DEFAULT_LIMITS, ClockRange, UpdateLimits, UpdateSummary

__all__ = ["ClockRange", "UpdateLimits", "UpdateSummary", "inspect_update", "skip_content", "value_spans"]

_HAS_LEFT, _HAS_RIGHT, _HAS_KEY = 0x80, 0x40, 0x20
_NEIGHBOURS: Final = _HAS_LEFT | _HAS_RIGHT
_REF_MASK: Final = 0x1F
_GC, _DELETED, _JSON, _BINARY, _STRING, _EMBED, _FORMAT, _TYPE, _ANY = range(9)
_SKIP: Final = 10
"""Stands for a hole; only with `UpdateLimits.has_holes`."""
_NAMED_TYPE: Final = 3
"""Y.XmlElement: its type number is followed by the element's name."""
_TYPE_NUMBERS: Final = frozenset({0, 1, 2, 3, 4, 6})
"""Array, Map, Text, XmlElement, XmlFragment, XmlText."""


@dataclass(slots=True)
class _Findings:
    """What the walk collects; `needs`: foreign clocks referred to, plus one."""

    limits: UpdateLimits
    clients: dict[int, ClockRange] = field(default_factory=dict)
    needs: dict[int, int] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    struct_count: int = 0
    has_holes: bool = False
    places: array[int] = field(default_factory=lambda: array("q"))
    spans: list[tuple[int, int, bool]] | None = None
    """Where values are, when that is asked for: from, to, and whether it is JSON text."""
    parents: set[tuple[int, int]] = field(default_factory=set)
    types: set[tuple[int, int]] = field(default_factory=set)
    dead: dict[int, list[int]] = field(default_factory=dict)
    """By client: start and end clocks, alternating and ascending, of structs without content."""

    def add_dead(self, client: int, clock: int, length: int) -> None:
        """Note a struct without content; neighbours are joined, there may be millions."""
        dead = self.dead.setdefault(client, [])
        if dead and dead[-1] == clock:
            dead[-1] = clock + length
        else:
            dead += (clock, clock + length)


def inspect_update(data: bytes, *, limits: UpdateLimits = DEFAULT_LIMITS) -> UpdateSummary:
    """Walk a Yjs v1 update completely.

    Args:
        data: the update, any bytes at all.
        limits: the most it may measure.

    Returns:
        What it writes, deletes and depends on.

    Raises:
        UpdateRefused: it is malformed, or asks for something the rules above exclude.
            The caller drops it and, if a person or device sent it, says so.
        UpdateTooBig: it has more bytes than the limits allow.
    """
    if len(data) > limits.bytes_max:
        raise UpdateTooBig("the update is too large")
    found = _Findings(limits)
    try:
        pos = _walk_clients(data, found)
        deletes, pos = _walk_deletes(data, pos, found)
    except IndexError as error:
        raise UpdateRefused("the update is cut short") from error
    if pos != len(data):
        raise UpdateRefused("bytes follow the end of the update")
    if found.parents:
        _check_parents(found)
    return UpdateSummary(
        found.clients,
        _dependencies(found),
        deletes,
        frozenset(found.roots),
        found.struct_count,
        found.places,
        bool(found.parents),
        found.has_holes,
    )


def value_spans(data: bytes) -> list[tuple[int, int, bool]]:
    """Where in an accepted update JSON-like values lie: (from, to, whether it is JSON text), ascending."""
    spans: list[tuple[int, int, bool]] = []
    _walk_clients(data, _Findings(DEFAULT_LIMITS, spans=spans))
    return spans


def _walk_clients(data: bytes, found: _Findings) -> int:
    count, pos = read_uvar(data, 0)
    if count > found.limits.clients_max or count > len(data):
        raise UpdateRefused("the update names too many clients")
    clients = found.clients
    for _ in range(count):
        structs, pos = read_uvar(data, pos)
        client, pos = read_uvar(data, pos)
        start, pos = read_uvar(data, pos)
        if client in clients:
            raise UpdateRefused("the update names a client twice")
        if not structs or structs > len(data) - pos:
            raise UpdateRefused("a count in the update runs past its end")
        end, pos = _walk_structs(data, pos, client, start, structs, found)
        clients[client] = ClockRange(start, end)
        found.struct_count += structs
    return pos


def _walk_structs(
    data: bytes, pos: int, client: int, clock: int, count: int, found: _Findings
) -> tuple[int, int]:
    """The structs of one client; returns the clock after them and the position."""
    start = clock
    follows_collected = False
    for _ in range(count):
        info = data[pos]
        ref = info & _REF_MASK
        pos += 1
        if ref == _GC:
            if info:
                raise UpdateRefused("a collected struct in the update carries item flags")
            length, pos = read_uvar(data, pos)
            found.add_dead(client, clock, length)
            if not follows_collected:
                found.places.extend((client, clock, -1, 0, 1))
            follows_collected = True
        elif ref == _SKIP and found.limits.has_holes:
            length, pos = read_uvar(data, pos)
            found.add_dead(client, clock, length)
            found.has_holes = True
            follows_collected = False
        else:
            follows_collected = False
            if info & _NEIGHBOURS:
                pos = _read_neighbours(data, pos, client, clock, start, info, found)
            else:
                pos = _read_parent(data, pos, client, clock, info, found)
            if ref == _STRING:
                text, pos = read_string(data, pos)
                length = len(text) if text.isascii() else utf16_length(text)
            else:
                length, pos = _skip_content(data, pos, client, clock, ref, found)
        clock += length
        if not length or clock >= CLOCK_MAX:
            raise UpdateRefused("a clock or length in the update is out of range")
    return clock, pos


def _read_neighbours(
    data: bytes, pos: int, client: int, clock: int, start: int, info: int, found: _Findings
) -> int:
    """The items between which an item was put: its left and its right origin, or one of them."""
    needs = found.needs
    left = left_clock = -1
    if info & _HAS_LEFT:
        left, pos = read_uvar(data, pos)
        left_clock, pos = read_uvar(data, pos)
        if left == client:
            if left_clock >= clock:
                raise UpdateRefused("an item in the update refers to a later one")
        elif left_clock >= needs.get(left, 0):
            needs[left] = left_clock + 1
    if info & _HAS_RIGHT:
        right, pos = read_uvar(data, pos)
        right_clock, pos = read_uvar(data, pos)
        if right == client:
            if right_clock >= clock:
                raise UpdateRefused("an item in the update refers to a later one")
        elif right_clock >= needs.get(right, 0):
            needs[right] = right_clock + 1
        if right_clock == left_clock and right == left:
            # Nothing fits between an item and itself; it makes normalisation unstable (measured).
            raise UpdateRefused("an item in the update has one item on both sides")
        if left < 0:
            left, left_clock = right, right_clock
    if left != client or left_clock != clock - 1 or clock == start:
        found.places.extend((client, clock, left, left_clock, 0))
    return pos


def _read_parent(data: bytes, pos: int, client: int, clock: int, info: int, found: _Findings) -> int:
    """The parent of an item without neighbours: a root's name or another item; then its key."""
    by_name, pos = read_uvar(data, pos)
    if by_name == 1:
        name, pos = read_string(data, pos)
        found.roots.add(name)
        found.places.extend((client, clock, -1, 0, 1))
    elif by_name == 0:
        other, pos = read_uvar(data, pos)
        other_clock, pos = read_uvar(data, pos)
        if other == client and other_clock >= clock:
            raise UpdateRefused("an item in the update refers to a later one")
        if other != client and other_clock >= found.needs.get(other, 0):
            found.needs[other] = other_clock + 1
        found.parents.add((other, other_clock))
        found.places.extend((client, clock, other, other_clock, 1))
    else:
        raise UpdateRefused("a parent reference in the update is malformed")
    if info & _HAS_KEY:
        _, pos = read_string(data, pos)
    return pos


def _skip_content(
    data: bytes, pos: int, client: int, clock: int, ref: int, found: _Findings
) -> tuple[int, int]:
    """The content of an item other than a string; returns its length in clocks and the position."""
    if ref == _DELETED:
        length, pos = read_uvar(data, pos)
        found.add_dead(client, clock, length)
        return length, pos
    if ref == _TYPE:
        found.types.add((client, clock))
        return 1, _skip_type(data, pos)
    skip = _SINGLE_CONTENT.get(ref)
    if skip is not None:
        end = skip(data, pos, found.limits.nesting_max)
        if found.spans is not None and ref != _BINARY:
            start = read_string(data, pos)[1] if ref == _FORMAT else pos
            found.spans.append((start, end, True))
        return 1, end
    if ref != _ANY and ref != _JSON:
        raise UpdateRefused("an item in the update has content of an unknown or unsupported kind")
    length, pos = read_uvar(data, pos)
    if length > len(data) - pos:
        raise UpdateRefused("a count in the update runs past its end")
    skip = skip_any if ref == _ANY else _skip_json_or_undefined
    for _ in range(length):
        start = pos
        pos = skip(data, pos, found.limits.nesting_max)
        if found.spans is not None:
            found.spans.append((start, pos, ref == _JSON))
    return length, pos


def skip_content(data: bytes, pos: int, ref: int) -> tuple[int, int]:
    """Content, but no string, of an item of an accepted update: its length and the position after it."""
    if ref == _DELETED:
        return read_uvar(data, pos)
    if ref == _TYPE:
        return 1, _skip_type(data, pos)
    return _skip_content(data, pos, 0, 0, ref, _Findings(DEFAULT_LIMITS))


def _skip_type(data: bytes, pos: int) -> int:
    number, pos = read_uvar(data, pos)
    if number not in _TYPE_NUMBERS:
        raise UpdateRefused("an item in the update has a type of an unknown or unsupported kind")
    if number == _NAMED_TYPE:
        _, pos = read_string(data, pos)
    return pos


def _skip_binary(data: bytes, pos: int, _nesting_max: int) -> int:
    return skip_bytes(data, pos)


def _skip_json(data: bytes, pos: int, nesting_max: int) -> int:
    text, pos = read_string(data, pos)
    check_json(text, nesting_max)
    return pos


def _skip_json_or_undefined(data: bytes, pos: int, nesting_max: int) -> int:
    text, pos = read_string(data, pos)
    if text != "undefined":
        check_json(text, nesting_max)
    return pos


def _skip_format(data: bytes, pos: int, nesting_max: int) -> int:
    _, pos = read_string(data, pos)
    return _skip_json(data, pos, nesting_max)


_SINGLE_CONTENT: Final[dict[int, Callable[[bytes, int, int], int]]] = {
    _BINARY: _skip_binary,
    _EMBED: _skip_json,
    _FORMAT: _skip_format,
}


def _walk_deletes(
    data: bytes, pos: int, found: _Findings
) -> tuple[dict[int, tuple[tuple[int, int], ...]], int]:
    count, pos = read_uvar(data, pos)
    if not count:
        return {}, pos
    if count > found.limits.clients_max or count > len(data) - pos:
        raise UpdateRefused("the update deletes from too many clients")
    deletes: dict[int, tuple[tuple[int, int], ...]] = {}
    ranges_left = found.limits.delete_ranges_max
    for _ in range(count):
        client, pos = read_uvar(data, pos)
        ranges, pos = read_uvar(data, pos)
        if client in deletes:
            raise UpdateRefused("the update names a client twice")
        if not ranges or ranges > ranges_left or ranges > len(data) - pos:
            raise UpdateRefused("a count in the update runs past its end")
        ranges_left -= ranges
        deletes[client], end, pos = _walk_delete_ranges(data, pos, ranges)
        if end > found.needs.get(client, 0):
            found.needs[client] = end
    return deletes, pos


def _walk_delete_ranges(data: bytes, pos: int, count: int) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """The ranges, the highest clock after one of them, and the position."""
    ranges: list[tuple[int, int]] = []
    highest = 0
    for _ in range(count):
        clock, pos = read_uvar(data, pos)
        length, pos = read_uvar(data, pos)
        end = clock + length
        if not length or end >= CLOCK_MAX:
            raise UpdateRefused("a clock or length in the update is out of range")
        if end > highest:
            highest = end
        ranges.append((clock, length))
    return tuple(ranges), highest, pos


def _check_parents(found: _Findings) -> None:
    """Invariant 4: a parent inside this update is a type, or was one before it was deleted."""
    for client, clock in found.parents:
        span = found.clients.get(client)
        if span is None or not span.start <= clock < span.end or (client, clock) in found.types:
            continue
        if bisect_right(found.dead.get(client, ()), clock) % 2 == 0:
            raise UpdateRefused("an item in the update has a parent that cannot hold it")


def _dependencies(found: _Findings) -> dict[int, int]:
    clients = found.clients
    wanted: dict[int, int] = {}
    for client, clock in found.needs.items():
        span = clients.get(client)
        if clock > CLOCK_MAX:
            raise UpdateRefused("a clock or length in the update is out of range")
        if span is None or clock > span.end:
            wanted[client] = clock
    for client, span in clients.items():
        if span.start > wanted.get(client, 0):
            wanted[client] = span.start
    return wanted
