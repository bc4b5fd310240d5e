"""How the fields of relay frames stand in CBOR, and the bounds they are held to (PROTOCOL §7).

A frame is a dataclass whose fields are `Annotated[type, codec]`. Knows no frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import INTEGER_MAX, KIB

RIDS_MAX: Final = 512
"""Rendezvous ids in one SUB and on one connection (PROTOCOL §7 "ids per connection")."""
ITEM_BYTES_MAX: Final = 512 * KIB
"""One mailbox item."""
PAGE_ITEMS_MAX: Final = 1024
"""Items in one answer."""


def _as_it_is(value: Any) -> object:
    return value


@dataclass(frozen=True, slots=True)
class FieldCodec:
    """One field; `read` raises ValueError."""

    read: Callable[[object], Any]
    write: Callable[[Any], object] = _as_it_is


def octets(size: int) -> FieldCodec:
    """Exactly `size` bytes."""
    return FieldCodec(lambda value: _bytes(value, size, size))


def octets_max(maximum: int) -> FieldCodec:
    """At most `maximum` bytes."""
    return FieldCodec(lambda value: _bytes(value, 0, maximum))


def uint(maximum: int) -> FieldCodec:
    """An integer from 0 to `maximum`."""
    return FieldCodec(lambda value: _integer(value, maximum))


def code(kind: type[IntEnum]) -> FieldCodec:
    """A member of `kind`."""
    return FieldCodec(lambda value: kind(_integer(value, 255)), int)


def text(bytes_max: int) -> FieldCodec:
    """ASCII text, carried as bytes."""
    return FieldCodec(lambda value: _bytes(value, 0, bytes_max).decode("ascii"), str.encode)


def _bytes(value: object, minimum: int, maximum: int) -> bytes:
    if not isinstance(value, bytes) or not minimum <= len(value) <= maximum:
        raise ValueError(f"not {minimum} to {maximum} bytes")
    return value


def _integer(value: object, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise ValueError(f"not an integer up to {maximum}")
    return value


def _list(value: object, maximum: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > maximum:
        raise ValueError(f"not a list of at most {maximum}")
    return value


def _read_rid(value: object) -> RendezvousId:
    return RendezvousId(_bytes(value, RendezvousId.SIZE, RendezvousId.SIZE))


def _read_rids(value: object) -> tuple[RendezvousId, ...]:
    return tuple(_read_rid(each) for each in _list(value, RIDS_MAX))


def _read_items(value: object) -> tuple[tuple[int, bytes], ...]:
    pairs = [_list(each, 2) for each in _list(value, PAGE_ITEMS_MAX)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("not a position and an item")
    return tuple(
        (_integer(position, INTEGER_MAX), _bytes(item, 0, ITEM_BYTES_MAX)) for position, item in pairs
    )


UINT: Final = uint(INTEGER_MAX)
FLAG: Final = FieldCodec(lambda value: bool(_integer(value, 1)), int)
RID: Final = FieldCodec(_read_rid, bytes)
RIDS: Final = FieldCodec(_read_rids, lambda rids: [bytes(rid) for rid in rids])
ITEMS: Final = FieldCodec(_read_items, lambda items: [[position, item] for position, item in items])
