"""Reading a decoded map field by field, refusing whatever does not fit.

    fields = Fields(decode(raw, bytes_max=…), "invite")
    public = fields.octets(0, size=32)
    expires = fields.uint_or_none(4)
    fields.done()

Every decoder of the core reads through this, so every one of them is total: a whole
value or `WireError`. Knows shapes only; meaning is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import Id
from sheaf.core.wire.cbor import Value

IdT = TypeVar("IdT", bound=Id)
T = TypeVar("T")


class Fields:
    """One map whose fields are taken out one at a time; `done()` refuses leftovers.

    Args:
        value: what `cbor.decode` returned.
        what: the message's name, for error texts.
    """

    __slots__ = ("_fields", "_what")

    def __init__(self, value: Value, what: str) -> None:
        if not isinstance(value, dict):
            raise WireError(f"{what}: not a map")
        self._fields = dict(value)
        self._what = what

    def take(self, key: int) -> Value:
        """The field `key`, whatever its type; a missing one is refused."""
        if key not in self._fields:
            raise WireError(f"{self._what}: field {key} is missing")
        return self._fields.pop(key)

    def has(self, key: int) -> bool:
        """True while field `key` is present and not taken yet."""
        return key in self._fields

    def uint(self, key: int, maximum: int | None = None) -> int:
        """A non-negative integer, at most `maximum`."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(key)
        if maximum is not None and value > maximum:
            raise self._wrong(key)
        return value

    def uint_or_none(self, key: int) -> int | None:
        """A non-negative integer, or None when the field is absent."""
        return self.uint(key) if self.has(key) else None

    def flag(self, key: int) -> bool:
        """A boolean."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self._wrong(key)
        return value

    def octets(self, key: int, *, size: int | None = None, maximum: int | None = None) -> bytes:
        """A byte string of exactly `size` or at most `maximum` bytes."""
        return _checked_bytes(self.take(key), size, maximum, self._wrong(key))

    def octets_or_none(
        self, key: int, *, size: int | None = None, maximum: int | None = None
    ) -> bytes | None:
        """Like `octets`, or None when the field is absent."""
        return self.octets(key, size=size, maximum=maximum) if self.has(key) else None

    def text(self, key: int, *, bytes_max: int) -> str:
        """A text of at most `bytes_max` UTF-8 bytes without control characters."""
        value = self.take(key)
        if not isinstance(value, str) or len(value.encode("utf-8")) > bytes_max or not is_printable(value):
            raise self._wrong(key)
        return value

    def id(self, key: int, kind: type[IdT]) -> IdT:
        """An identifier of the type `kind`."""
        return kind(self.octets(key, size=kind.SIZE))

    def id_or_none(self, key: int, kind: type[IdT]) -> IdT | None:
        """An identifier, or None when the field is absent."""
        return self.id(key, kind) if self.has(key) else None

    def array(self, key: int, *, maximum: int) -> list[Value]:
        """An array of at most `maximum` values."""
        value = self.take(key)
        if not isinstance(value, list) or len(value) > maximum:
            raise self._wrong(key)
        return value

    def octets_list(
        self, key: int, *, maximum: int, size: int | None = None, item_max: int | None = None
    ) -> list[bytes]:
        """An array of byte strings."""
        wrong = self._wrong(key)
        return [_checked_bytes(item, size, item_max, wrong) for item in self.array(key, maximum=maximum)]

    def id_list(self, key: int, kind: type[IdT], *, maximum: int, is_sorted: bool = False) -> tuple[IdT, ...]:
        """An array of identifiers; with `is_sorted` strictly ascending (so also unique)."""
        ids = tuple(kind(item) for item in self.octets_list(key, maximum=maximum, size=kind.SIZE))
        if is_sorted and any(a >= b for a, b in pairwise(ids)):
            raise self._wrong(key)
        return ids

    def pairs(
        self, key: int, first: Callable[[Value], T], second: Callable[[Value], int | bytes], *, maximum: int
    ) -> tuple[tuple[T, int | bytes], ...]:
        """An array of two-element arrays, each element read by the given function."""
        found = []
        for item in self.array(key, maximum=maximum):
            if not isinstance(item, list) or len(item) != 2:
                raise self._wrong(key)
            found.append((first(item[0]), second(item[1])))
        return tuple(found)

    def done(self) -> None:
        """Refuse fields nobody asked for."""
        if self._fields:
            raise WireError(f"{self._what}: unknown field {min(self._fields)}")

    def _wrong(self, key: int) -> WireError:
        return WireError(f"{self._what}: field {key} has a wrong type, size or value")


def as_bytes(value: Value, size: int | None = None, maximum: int | None = None) -> bytes:
    """`value` as a byte string of exactly `size` or at most `maximum` bytes."""
    return _checked_bytes(value, size, maximum, WireError("expected a byte string of another size"))


def as_uint(value: Value) -> int:
    """`value` as a non-negative integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WireError("expected a non-negative integer")
    return value


def is_printable(text: str) -> bool:
    """False when `text` holds C0/C1 control characters (they would garble terminals and lists)."""
    return not any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in text)


def _checked_bytes(value: Value, size: int | None, maximum: int | None, wrong: WireError) -> bytes:
    if not isinstance(value, bytes):
        raise wrong
    if (size is not None and len(value) != size) or (maximum is not None and len(value) > maximum):
        raise wrong
    return value
