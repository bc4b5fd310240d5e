"""What the table modules are given on the worker thread: connection, surrogate keys, damage.

Identifiers of 16 and 32 bytes are stored once, in `spaces`, `logs` and `documents`; all
other rows carry integers. The mapping is cached and dropped whenever a transaction is
rolled back, because it may then name rows that never came to be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Final

from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.storage.damage import DamagedRow, DamageLog, RowT, document_digest

KEYS_CACHED_MAX: Final = 8_192
"""When full the cache starts anew; a miss costs one index look-up."""

Row = tuple[Any, ...]


class Session:
    """The database as one callable sees it. Used on the worker thread only."""

    def __init__(self, *, connection: sqlite3.Connection, damage: DamageLog) -> None:
        self.connection = connection
        self.damage = damage
        self._spaces: dict[SpaceId, int] = {}
        self._logs: dict[tuple[int, LogId], int] = {}
        self._documents: dict[tuple[int, DocId], int] = {}

    def forget_keys(self) -> None:
        """After a rollback or a deletion: cached keys may no longer exist."""
        self._spaces.clear()
        self._logs.clear()
        self._documents.clear()

    # ------------------------------------------------------------------ statements

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """One statement whose cursor needs no fetching (INSERT, DELETE…)."""
        return self.connection.execute(sql, parameters)

    def execute_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """The same statement for many rows."""
        self.connection.executemany(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows at once; an open cursor would hold the WAL."""
        return self.connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """The first row, or None."""
        cursor = self.connection.execute(sql, parameters)
        try:
            first: Row | None = cursor.fetchone()
            return first
        finally:
            cursor.close()

    def sound_rows(
        self, table: str, space_id: SpaceId, sql: str, build: Callable[..., RowT], *parameters: object
    ) -> list[RowT]:
        """The rows of one space that match their digests; the others are noted as damaged.

        `sql` takes the space's key first; its last column is the digest, the first one names
        the row in messages, and `build` makes a row from all but the digest.
        """
        found = []
        for *columns, digest in self.rows(sql, (self.find_space(space_id), *parameters)):
            row = self.damage.sound(table, columns[0], partial(build, *columns), digest, space_id)
            if row is not None:
                found.append(row)
        return found

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Generator[Row, None, None]:
        """Rows one by one; the cursor is closed however the loop ends. Use with `closing`."""
        cursor = self.connection.execute(sql, parameters)
        try:
            yield from cursor
        finally:
            cursor.close()

    # ------------------------------------------------------------------ surrogate keys

    def find_space(self, space_id: SpaceId) -> int | None:
        """The key of a space, or None when it is not stored."""
        key = self._spaces.get(space_id)
        if key is None:
            key = self._look_up("spaces", "space", "space_id = ?", (space_id,))
            if key is not None:
                _remember(self._spaces, space_id, key)
        return key

    def space(self, space_id: SpaceId) -> int:
        """The key of a space that the caller has stored before, or in the same batch."""
        key = self.find_space(space_id)
        assert key is not None, f"space {space_id} is not stored: put its SpaceRow first"
        return key

    def find_log(self, space_id: SpaceId, log_id: LogId) -> int | None:
        """The key of a log, or None when it is not stored."""
        space = self.find_space(space_id)
        if space is None:
            return None
        key = self._logs.get((space, log_id))
        if key is None:
            key = self._look_up("logs", "log", "space = ? AND log_id = ?", (space, log_id))
            if key is not None:
                _remember(self._logs, (space, log_id), key)
        return key

    def log(self, space_id: SpaceId, log_id: LogId) -> int:
        """The key of a log that the caller has stored before, or in the same batch."""
        key = self.find_log(space_id, log_id)
        assert key is not None, f"log {log_id} is not stored: put its LogRow first"
        return key

    def find_document(self, space_id: SpaceId, doc_id: DocId) -> int | None:
        """The key of a document, or None when no row mentions it."""
        space = self.find_space(space_id)
        if space is None:
            return None
        key = self._documents.get((space, doc_id))
        if key is None:
            key = self._look_up("documents", "doc", "space = ? AND doc_id = ?", (space, doc_id))
            if key is not None:
                _remember(self._documents, (space, doc_id), key)
        return key

    def document(self, space_id: SpaceId, doc_id: DocId) -> int:
        """The key of a document; given out at its first mention."""
        key = self.find_document(space_id, doc_id)
        if key is None:
            space = self.space(space_id)
            row = self.row(
                "INSERT INTO documents (space, doc_id, digest) VALUES (?, ?, ?) RETURNING doc",
                (space, doc_id, document_digest(space_id, doc_id, 0)),
            )
            assert row is not None, "INSERT … RETURNING gives its row"
            key = _remember(self._documents, (space, doc_id), row[0])
        return key

    def _look_up(self, table: str, key: str, where: str, values: Sequence[object]) -> int | None:
        """The key that the index names, if the row under it agrees; else what the table itself says.

        A flipped bit in an index may name somebody else's row, and a key is all that other rows carry.
        """
        row = self.row(f"SELECT {key} FROM {table} WHERE {where}", values)
        if row is None:
            return None
        agreeing = f"SELECT {key} FROM {table} NOT INDEXED WHERE {where}"
        confirmed = self.row(f"{agreeing} AND {key} = ?", (*values, row[0]))
        if confirmed is None:
            self.damage.note(DamagedRow(table, f"{row[0]} (in an index)"))
            confirmed = self.row(agreeing, values)
        return None if confirmed is None else int(confirmed[0])


def goes_on(before: tuple[int, ...], after: tuple[Any, ...]) -> bool:
    """Whether a walk along an index went forwards. In a damaged one it may go in circles, for ever."""
    return all(isinstance(each, int) for each in after) and after > before


def _remember(cache: dict[Any, int], key: object, value: int) -> int:
    if len(cache) >= KEYS_CACHED_MAX:
        cache.clear()
    cache[key] = value
    return value
