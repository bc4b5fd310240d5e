"""No flipped bit is handed out, or takes a row away, without anybody being told (FAULTS S7)."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.storage import open_store
from tests.support import rotten_database as rotten
from tests.support.store_rows import SystemClock

PROCESSES: Final = 2
EVERY: Final = 97
"""How many bits the everyday walk goes on at a time; a prime, so that all columns get their turn."""
HEADER_BYTES: Final = 100

NEVER_READ: Final = {("envelopes", "before")}
"""Columns whose content nobody is handed."""
ONLY_IN_PAGES: Final = {("ops", "ord")}
"""Rows are read in this order. SQL moves a changed row to another place, which no flipped bit does."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound database."""
    path = tmp_path_factory.mktemp("sound") / "small.db"
    rotten.make_database(path)
    return path


def faults_of_share(path: Path, share: int, shares: int) -> list[str]:
    """Walk one share of the bits, in a copy."""
    copy = path.with_name(f"share-{share}.db")
    copy.write_bytes(path.read_bytes())
    walk = rotten.Walk(copy)
    return walk.faults([*walk.flips()][share::shares])


def test_s7_a_walk_over_all_pages_finds_no_bit_that_is_handed_out(database: Path) -> None:
    assert faults_of_share(database, 0, EVERY) == []


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_s7_no_bit_of_a_small_database_is_handed_out_unnoticed(database: Path) -> None:
    """Every bit of the file, once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        shares = [pool.submit(faults_of_share, database, share, PROCESSES) for share in range(PROCESSES)]
        assert [fault for share in shares for fault in share.result()] == []


def test_the_walk_flips_every_bit_once(database: Path) -> None:
    walk = rotten.Walk(database)
    flipped = [(at, mask) for flip in walk.flips() for at, mask in flip.items()]
    assert len(flipped) == len(set(flipped)) == len(walk.image) * 8


def columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every column of every table."""
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        yield from ((table, column) for _, column, *_ in connection.execute(f"PRAGMA table_info({table})"))


def rotten_values(value: object) -> list[Any]:
    """`value` with one bit flipped, at either end."""
    if isinstance(value, int):
        return [value ^ 1, value ^ 1 << 33]
    content = value if isinstance(value, bytes) else str(value).encode()
    first = bytes([content[0] ^ 1]) + content[1:]
    last = content[:-1] + bytes([content[-1] ^ 4])
    return [each if isinstance(value, bytes) else each.decode() for each in (first, last)]


def flipped_rows(connection: sqlite3.Connection, table: str, column: str) -> Iterator[None]:
    """Flip a bit of a column of one row, indexes included, so that SQLite finds nothing wrong with it."""
    names = [name for of, name in columns(connection) if of == table]
    row = connection.execute(f"SELECT * FROM {table} WHERE {column} IS NOT NULL").fetchone()
    where = " AND ".join(f"{name} IS ?" for name in names)
    for rotten_value in rotten_values(row[names.index(column)]):
        connection.execute("BEGIN")
        try:
            changed = connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {where}", (rotten_value, *row)
            )
            assert changed.rowcount == 1
            yield
        except sqlite3.IntegrityError:  # another row has that key already
            continue
        finally:
            connection.execute("ROLLBACK")


def test_s7_a_flipped_bit_in_any_column_of_any_table_is_noticed(database: Path) -> None:
    judge = rotten.sound_judge(database)
    faults, unread = [], set()
    with closing(rotten.open_database(database)) as connection:
        for table, column in set(columns(connection)) - ONLY_IN_PAGES:
            outcomes = []
            for _ in flipped_rows(connection, table, column):
                outcomes.append(judge.sees_a_difference(connection))
                fault = rotten.fault_of(connection, judge)
                if fault is not None:
                    faults.append(f"{table}.{column}: {fault}")
            assert outcomes, f"{table}.{column} was not flipped"
            if not any(outcomes):
                unread.add((table, column))
    assert faults == []
    assert unread == NEVER_READ


def test_s7_a_flipped_bit_in_the_file_header_is_refused_or_harmless(database: Path, tmp_path: Path) -> None:
    """Through the whole store, because SQLite and the migrations look at the header as well."""
    wanted = read_by_a_store(database.read_bytes(), tmp_path / "sound")
    for at in range(HEADER_BYTES):
        image = bytearray(database.read_bytes())
        image[at] ^= 1 << at % 8
        found = read_by_a_store(bytes(image), tmp_path / str(at))
        assert found in (None, wanted), f"byte {at}"


def read_by_a_store(image: bytes, folder: Path) -> Sequence[object] | None:
    """What a store reads from a database file, or None when it refuses."""
    folder.mkdir()
    (folder / "sheaf.db").write_bytes(image)
    try:
        return asyncio.run(_read(folder))
    except StorageFailure:
        return None


async def _read(folder: Path) -> Sequence[object]:
    space_id, documents = rotten.ROWS.space_id, [rotten.ROWS.doc_id(doc) for doc in range(2)]
    store = await open_store(folder, clock=SystemClock())
    try:
        return [
            await store.spaces(),
            await store.ops(space_id),
            await store.pending(space_id),
            *[await store.envelopes_of(space_id, doc_id, {}) for doc_id in documents],
        ]
    finally:
        await store.close()
