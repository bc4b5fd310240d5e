"""Row digests and the list of rows that failed theirs (FAULTS S7, S8).

`PRAGMA integrity_check` misses nine flipped bits in ten, so every row carries
a BLAKE2b-16 over its meaning: the real identifiers, not the surrogate keys it is stored
under. It guards against rot, not against people, so it is not keyed. A row that fails is
left where it is, kept from the reader, and noted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

import structlog

from sheaf.core.base.ids import DocId, EnvId, LogId, SpaceId

if TYPE_CHECKING:
    from sheaf.ports import EnvelopeRow

DIGEST_BYTES: Final = 16
DAMAGED_MAX: Final = 10_000
"""Kept in memory; further ones are only logged. `check()` finds them all."""

UNREADABLE: Final = (ValueError, TypeError, OverflowError, StructError)
"""What making a row from damaged columns may raise."""

_LENGTH = Struct(">cQ")
_ENVELOPE = Struct(">QIB")
_DOCUMENT = Struct(">q")
_log = structlog.get_logger(__name__)


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


RowT = TypeVar("RowT", bound=_Dataclass)


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A stored row whose content does not match its digest. `table` and `key` are for people."""

    table: str
    key: str
    space_id: SpaceId | None = None
    log_id: LogId | None = None
    seq: int | None = None
    """Set for envelopes: ask a peer for (log_id, seq) and commit it again, which repairs it."""
    doc_id: DocId | None = None

    @property
    def text(self) -> str:
        """One line for `check` and the log."""
        return f"{self.table}: the row {self.key} is damaged"


def row_digest(table: str, row: _Dataclass) -> bytes:
    """The digest (16 bytes) of all fields of a row of `ports`, bound to its table."""
    hasher = blake2b(digest_size=DIGEST_BYTES, person=table.encode()[:16])
    for name in _field_names(type(row)):
        _feed(hasher.update, getattr(row, name))
    return hasher.digest()


def value_digest(table: str, *values: object) -> bytes:
    """The digest (16 bytes) of a row that has no class in `ports`."""
    hasher = blake2b(digest_size=DIGEST_BYTES, person=table.encode()[:16])
    for value in values:
        _feed(hasher.update, value)
    return hasher.digest()


def envelope_digest(row: EnvelopeRow, *, is_quarantined: bool = False) -> bytes:
    """`row_digest` for the one table where microseconds count: a single pass over one buffer.

    Args:
        is_quarantined: kept out of its documents; before schema 3 no digest said so.
    """
    flags = row.is_opened + 2 * is_quarantined
    head = _ENVELOPE.pack(row.seq, len(row.documents), flags)
    content = b"".join((head, row.space_id, row.log_id, row.env_id, *row.documents, row.raw))
    return blake2b(content, digest_size=DIGEST_BYTES, person=b"envelopes").digest()


def document_digest(space_id: bytes, doc_id: bytes, updated_ms: int) -> bytes:
    """The digest (16 bytes) of a row of `documents`; there may be ten thousand of them."""
    content = b"".join((space_id, doc_id, _DOCUMENT.pack(updated_ms)))
    return blake2b(content, digest_size=DIGEST_BYTES, person=b"documents").digest()


class DamageLog:
    """What was found damaged since the store was opened. Filled on the worker thread."""

    def __init__(self) -> None:
        self._rows: dict[DamagedRow, None] = {}

    def note(self, row: DamagedRow) -> None:
        """Remember and log a damaged row, once."""
        if row in self._rows:
            return
        _log.error("row damaged", table=row.table, key=row.key)
        if len(self._rows) < DAMAGED_MAX:
            self._rows[row] = None

    def forget_envelope(self, log_id: LogId, seq: int) -> None:
        """A sound copy was stored again."""
        for row in [known for known in self._rows if known.log_id == log_id and known.seq == seq]:
            del self._rows[row]

    def rows(self) -> tuple[DamagedRow, ...]:
        """All known damaged rows, in the order they were found."""
        return tuple(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def sound(
        self, table: str, key: object, build: Callable[[], RowT], digest: object, space_id: SpaceId | None
    ) -> RowT | None:
        """The row that `build` makes if it matches `digest`; else note the damage and return None.

        `build` may fail: damaged columns need not be identifiers any more.
        """
        try:
            row = build()
            if row_digest(table, row) == digest:
                return row
        except UNREADABLE:
            pass
        self.note(DamagedRow(table, _key_text(key), space_id))
        return None


def _key_text(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)


def envelope_damage(space_id: SpaceId, log_id: object, seq: int, env_id: object) -> DamagedRow:
    """The note for a bad envelope row; its identifiers may be damaged themselves."""
    log = LogId(log_id) if isinstance(log_id, bytes) and len(log_id) == LogId.SIZE else None
    shown = EnvId(env_id).short if isinstance(env_id, bytes) and len(env_id) == EnvId.SIZE else "?"
    return DamagedRow("envelopes", f"{log.short if log else '?'} seq {seq} {shown}", space_id, log, seq)


@lru_cache(maxsize=64)
def _field_names(kind: type[_Dataclass]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _feed(update: Callable[[bytes], None], value: object) -> None:
    """Hash one value unambiguously: a letter for its type, its length, its bytes."""
    match value:
        case bytes():
            kind, content = b"b", value
        case bool() | int():
            kind, content = b"i", b"%d" % value
        case str():
            kind, content = b"s", value.encode("utf-8", "surrogateescape")
        case None:
            kind, content = b"n", b""
        case tuple():
            update(_LENGTH.pack(b"t", len(value)))
            _feed_all(update, value)
            return
        case _:
            raise TypeError(f"no digest for {type(value).__name__}")
    update(_LENGTH.pack(kind, len(content)))
    update(content)


def _feed_all(update: Callable[[bytes], None], values: Iterable[object]) -> None:
    for value in values:
        _feed(update, value)
