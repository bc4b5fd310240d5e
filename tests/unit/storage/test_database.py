"""The writer: order, grouping, cancellation, failures, and a write-ahead log that stays small."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from sheaf.core.base.errors import DiskFull, StorageFailure
from sheaf.storage import database as database_module
from sheaf.storage import failures, room
from sheaf.storage.database import WAL_ALARM_BYTES, Database, open_database
from sheaf.storage.migrate import known_migrations
from sheaf.storage.session import Session


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open database."""
    opened = await open_database(tmp_path, migrations=known_migrations())
    yield opened
    await opened.close(lambda: None)


def put(session: Session, name: str, size: int = 1) -> None:
    """Store one setting."""
    session.execute("INSERT INTO settings VALUES (?, ?, x'00')", (name, bytes(size)))


def names(session: Session) -> list[str]:
    """The settings stored."""
    return [name for (name,) in session.rows("SELECT name FROM settings ORDER BY name")]


def raising(error: Exception) -> Callable[[Session], None]:
    """A transaction that does something and then fails."""

    def apply(session: Session) -> None:
        put(session, "half")
        raise error

    return apply


def sqlite_error(code: int, name: str) -> sqlite3.OperationalError:
    """What the sqlite3 module raises for a result code."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


class Gate:
    """Holds the worker thread inside a callable until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()

    def wait(self, _: Session) -> None:
        """Run me on the worker thread."""
        self.reached.set()
        assert self._open.wait(10)

    def open(self) -> None:
        """Let the worker go on."""
        self._open.set()


# ------------------------------------------------------------------ order and grouping


async def test_waiting_transactions_share_one_fsync(database: Database) -> None:
    gate = Gate()
    held = asyncio.ensure_future(database.read(gate.wait))
    await asyncio.to_thread(gate.reached.wait, 10)
    writes = [asyncio.ensure_future(database.write(partial(put, name=f"{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(held, *writes)
    assert (database.stats.transactions, database.stats.groups) == (100, 1)
    assert len(await database.read(names)) == 100


async def test_a_read_sees_every_write_asked_for_before_it(database: Database) -> None:
    async def write_then_read(name: str) -> None:
        writing = asyncio.ensure_future(database.write(partial(put, name=name)))
        await asyncio.sleep(0)
        assert name in await database.read(names)
        await writing

    await asyncio.gather(*(write_then_read(str(n)) for n in range(50)))


async def test_waiting_writes_go_before_waiting_reads(database: Database) -> None:
    gate, order = Gate(), list[str]()
    held = asyncio.ensure_future(database.read(gate.wait))
    await asyncio.to_thread(gate.reached.wait, 10)
    reading = asyncio.ensure_future(database.read(lambda session: order.append("read")))
    await asyncio.sleep(0)
    writing = asyncio.ensure_future(database.write(lambda session: order.append("write")))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(held, reading, writing)
    assert order == ["write", "read"]


# ------------------------------------------------------------------ cancellation


async def test_cancelled_writes_are_done_whole_or_not_yet_never_by_half(
    database: Database, seeded_random: random.Random
) -> None:
    def pair(session: Session, number: int) -> None:
        put(session, f"a{number:03}")
        put(session, f"b{number:03}")

    for number in range(60):
        writing = asyncio.ensure_future(database.write(partial(pair, number=number)))
        for _ in range(seeded_random.randrange(3)):
            await asyncio.sleep(0)
        writing.cancel()
    await database.write(partial(put, name="last"))
    stored = await database.read(names)
    assert "last" in stored
    for number in range(60):
        assert (f"a{number:03}" in stored) == (f"b{number:03}" in stored)
    assert not await database.read(lambda session: session.connection.in_transaction)


async def test_a_cancelled_read_leaves_the_database_usable(database: Database) -> None:
    reading = asyncio.ensure_future(database.read(names))
    await asyncio.sleep(0)
    reading.cancel()
    await database.write(partial(put, name="a"))
    assert await database.read(names) == ["a"]


# ------------------------------------------------------------------ failures


async def test_a_failed_transaction_leaves_nothing_and_those_before_it_stand(database: Database) -> None:
    gate = Gate()
    held = asyncio.ensure_future(database.read(gate.wait))
    await asyncio.to_thread(gate.reached.wait, 10)
    applied: list[Callable[[Session], None]] = [
        partial(put, name="a"),
        raising(ValueError("a bug")),
        partial(put, name="c"),
    ]
    writes = [asyncio.ensure_future(database.write(each)) for each in applied]
    await asyncio.sleep(0)
    gate.open()
    await held
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], ValueError)
    # `c` may build on what failed: it was asked for before anybody could know.
    assert isinstance(outcomes[2], StorageFailure)
    assert "earlier change" in str(outcomes[2])
    assert await database.read(names) == ["a"]
    await database.write(partial(put, name="c"))
    assert await database.read(names) == ["a", "c"]


async def test_a_full_disk_is_said_in_words_reads_go_on_and_it_recovers(database: Database) -> None:
    await database.write(partial(put, name="before"))
    pages = await database.read(lambda session: session.rows("PRAGMA page_count")[0][0])
    await database.read(lambda session: session.rows(f"PRAGMA max_page_count = {pages}"))
    for _ in range(3):
        with pytest.raises(StorageFailure, match=r"disk is full.*Make room on"):
            await database.write(partial(put, name="big", size=100_000))
    assert await database.read(names) == ["before"]
    await database.read(lambda session: session.rows("PRAGMA max_page_count = 1000000"))
    await database.write(partial(put, name="big", size=100_000))
    assert await database.read(names) == ["before", "big"]


async def test_s6_after_a_failed_fsync_nothing_is_written_any_more(database: Database) -> None:
    await database.write(partial(put, name="before"))
    fsync_failed = sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")
    with pytest.raises(StorageFailure, match="SQLITE_IOERR_FSYNC"):
        await database.write(raising(fsync_failed))
    with pytest.raises(StorageFailure, match="SQLITE_IOERR_FSYNC"):
        await database.write(partial(put, name="after"))
    assert await database.read(names) == ["before"]


async def test_s6_after_a_failed_fsync_a_new_connection_writes_on(database: Database) -> None:
    await database.write(partial(put, name="before"))
    first = await database.read(lambda session: session.connection)
    with pytest.raises(StorageFailure):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")))
    await database.mend()
    await database.write(partial(put, name="later"))
    assert await database.read(lambda session: session.connection) is not first
    assert await database.read(names) == ["before", "later"]


async def test_a_database_that_is_gone_is_not_made_anew_while_a_daemon_runs(
    database: Database, tmp_path: Path
) -> None:
    with pytest.raises(StorageFailure):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")))
    away = tmp_path / "away.db"
    await database.read(lambda session: session.connection.close())  # so that nothing is written at its end
    (tmp_path / "sheaf.db").rename(away)
    with pytest.raises(StorageFailure, match="cannot be opened"):
        await database.mend()
    assert not (tmp_path / "sheaf.db").exists()
    away.rename(tmp_path / "sheaf.db")
    await database.mend()
    await database.write(partial(put, name="after"))


async def test_nothing_is_mended_while_the_disk_still_refuses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> Callable[[Path], None]:
        def try_writing(_folder: Path) -> None:
            raise OSError(number, os.strerror(number))

        return try_writing

    with pytest.raises(StorageFailure):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")))
    for number, sentence in ((errno.EROFS, "Read-only file system"), (errno.EDQUOT, "The disk is full")):
        monkeypatch.setattr(room, "try_writing", refuse(number))
        with pytest.raises(StorageFailure, match=sentence):
            await database.mend()
        with pytest.raises(StorageFailure):
            await database.write(partial(put, name="too early"))
    monkeypatch.setattr(room, "free_bytes", lambda _folder: 100_000)
    with pytest.raises(DiskFull):
        await database.mend()
    assert await database.read(names) == []


async def test_a_malformed_file_is_not_written_to_by_a_new_connection_either(database: Database) -> None:
    with pytest.raises(StorageFailure):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT")))
    with pytest.raises(StorageFailure, match="damaged"):
        await database.mend()
    with pytest.raises(StorageFailure, match="damaged"):
        await database.write(partial(put, name="after"))


async def test_a_used_up_quota_is_a_full_disk(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite calls everything but ENOSPC a disk error."""

    def over_quota(_folder: Path) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(failures, "try_writing", over_quota)
    with pytest.raises(DiskFull, match="The disk is full"):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE")))


async def test_a_refusal_of_the_disk_is_told_and_a_defect_is_not(database: Database) -> None:
    told: list[str] = []
    database.on_refused = lambda failure: told.append(str(failure))
    with pytest.raises(ValueError, match="a bug"):
        await database.write(raising(ValueError("a bug")))
    assert told == []
    with pytest.raises(StorageFailure):
        await database.write(raising(sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL")))
    assert [text.startswith("The disk is full") for text in told] == [True]
    assert "SQLITE" not in told[0]


async def test_an_error_of_a_query_is_a_storage_failure(database: Database) -> None:
    with pytest.raises(StorageFailure, match="no such table"):
        await database.read(lambda session: session.rows("SELECT * FROM nowhere"))


async def test_a_closed_database_refuses_and_ends_its_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    opened = await open_database(tmp_path, migrations=known_migrations())
    writing = asyncio.ensure_future(opened.write(partial(put, name="a")))
    await asyncio.sleep(0)
    released = []
    await asyncio.gather(opened.close(lambda: released.append(1)), opened.close(lambda: released.append(2)))
    await writing
    assert released == [1]
    assert threading.active_count() == before
    with pytest.raises(StorageFailure, match="closed"):
        await opened.write(partial(put, name="b"))
    with pytest.raises(StorageFailure, match="closed"):
        await opened.read(names)
    again = await open_database(tmp_path, migrations=known_migrations())
    assert await again.read(names) == ["a"]
    await again.close(lambda: None)


async def test_cancelled_opening_leaves_no_thread_and_no_hold_on_the_file(tmp_path: Path) -> None:
    before = threading.active_count()
    for turns in range(4):
        opening = asyncio.ensure_future(open_database(tmp_path, migrations=known_migrations()))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)
    gc.collect()
    assert threading.active_count() == before
    opened = await open_database(tmp_path, migrations=known_migrations())
    await opened.close(lambda: None)


# ------------------------------------------------------------------ the write-ahead log


async def test_s13_the_wal_stays_small_under_load_with_reads_between(
    database: Database, tmp_path: Path
) -> None:
    wal = tmp_path / "sheaf.db-wal"
    largest = 0
    for number in range(1_000):
        await database.write(partial(put, name=str(number), size=20_000), payload_bytes=20_000)
        if number % 10 == 0:
            await database.read(names)
            largest = max(largest, wal.stat().st_size)
    assert 0 < largest < WAL_ALARM_BYTES / 4, "20 MB were written"
    assert database.stats.checkpoints >= 4


async def test_the_wal_is_emptied_when_nothing_is_written_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "IDLE_S", 0.01)
    opened = await open_database(tmp_path, migrations=known_migrations())
    await opened.write(partial(put, name="a"))
    assert (tmp_path / "sheaf.db-wal").stat().st_size > 0
    async with asyncio.timeout(5):
        while opened.stats.checkpoints == 0:
            await opened.read(names)
    assert (tmp_path / "sheaf.db-wal").stat().st_size == 0
    await opened.close(lambda: None)


async def test_closing_empties_and_removes_the_wal(tmp_path: Path) -> None:
    opened = await open_database(tmp_path, migrations=known_migrations())
    await opened.write(partial(put, name="a"))
    await opened.close(lambda: None)
    assert os.listdir(tmp_path) == ["sheaf.db"]


async def test_a_stream_left_early_closes_its_cursor(database: Database) -> None:
    """An open cursor would keep every checkpoint from finishing."""
    for number in range(100):
        await database.write(partial(put, name=str(number), size=5_000))

    def first_only(session: Session) -> str:
        stream = session.stream("SELECT name FROM settings")
        try:
            return str(next(stream)[0])
        finally:
            stream.close()

    await database.read(first_only)
    ((busy, frames, moved),) = await database.read(
        lambda session: session.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    )
    assert (busy, frames, moved) == (0, 0, 0)


async def test_the_durability_settings_are_in_force(database: Database) -> None:
    def pragma(session: Session, name: str) -> object:
        return session.rows(f"PRAGMA {name}")[0][0]

    wanted = {"synchronous": 2, "journal_mode": "wal", "locking_mode": "exclusive", "foreign_keys": 1}
    found = {name: await database.read(partial(pragma, name=name)) for name in wanted}
    assert found == wanted
