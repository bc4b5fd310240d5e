"""The database of before a migration: private, whole or absent, and gone in time (decision 0064)."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.storage import open_store
from sheaf.storage.migrate import Migration, known_migrations
from sheaf.storage.old_copies import copy_before, old_copies, settle
from sheaf.storage.progress import Progress, StartInterrupted
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()
PRESENT = len(known_migrations())
SLOW = Migration(
    PRESENT + 1,
    "slow",
    "CREATE TABLE counted (n INTEGER) STRICT;\n"
    "INSERT INTO counted WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;\n",
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database to copy."""
    with closing(sqlite3.connect(tmp_path / "sheaf.db", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE words (word TEXT)")
        words = ((f"word {number}" * 50,) for number in range(500))
        opened.executemany("INSERT INTO words VALUES (?)", words)
        yield opened


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_nobody_else_can_read_a_copy_at_any_time(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir(mode=0o755)
    modes = set()

    def look() -> int:
        modes.update(path.stat().st_mode & 0o777 for path in (tmp_path / "copies").iterdir())
        return 0

    connection.set_progress_handler(look, 1)
    copy_before(connection, tmp_path / "copies", 7)
    look()
    assert modes == {0o600}
    (copy,) = old_copies(tmp_path / "copies")
    with closing(sqlite3.connect(copy)) as copied:
        assert copied.execute("SELECT count(*) FROM words").fetchone() == (500,)


def test_a_copy_that_is_broken_off_leaves_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    calls = iter(range(100))
    connection.set_progress_handler(lambda: next(calls) > 5, 10)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        copy_before(connection, tmp_path, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["sheaf.db"]


def test_copies_go_when_nothing_is_wrong_and_stay_when_something_is(tmp_path: Path) -> None:
    names = ["before-schema-0002.db", "before-schema-0003.db", "before-schema-0003.db.new"]
    for name in names:
        (tmp_path / name).touch()
    settle(tmp_path, ["envelopes: the row 4 is damaged"])
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    settle(tmp_path, [])
    assert [*tmp_path.iterdir()] == []


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


async def test_an_interrupted_migration_leaves_the_old_database(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    await store.commit(ROWS.beginning())
    await store.close()
    before = contents(tmp_path)
    moves = []

    def on_move(doing: str) -> None:
        moves.append(doing)
        if moves.count(f"bringing the database to schema {SLOW.number} (slow)") > 10:
            progress.interrupt()

    progress = Progress(on_move)
    with pytest.raises(StartInterrupted):
        await open_store(
            tmp_path, clock=SystemClock(), migrations=[*known_migrations(), SLOW], progress=progress
        )
    after = contents(tmp_path)
    after.pop(f"before-schema-{SLOW.number:04}.db")  # whole, and replaced when it is tried again
    assert after == before
    store = await open_store(tmp_path, clock=SystemClock())
    assert await store.spaces() == [ROWS.space()]
    await store.close()


async def test_once_started_nobody_is_told_of_statements(tmp_path: Path) -> None:
    moves: list[str] = []
    store = await open_store(tmp_path, clock=SystemClock(), progress=Progress(moves.append))
    assert moves
    store.started()
    await store.check()
    moves.clear()
    await store.commit(ROWS.beginning())
    assert await store.check() == []
    assert moves == []
    await store.close()


async def test_a_cancelled_opening_does_not_wait_for_its_migration(tmp_path: Path) -> None:
    await (await open_store(tmp_path, clock=SystemClock())).close()
    is_counting = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_move(doing: str) -> None:
        if "(slow)" in doing:
            loop.call_soon_threadsafe(is_counting.set)

    opening = asyncio.ensure_future(
        open_store(
            tmp_path,
            clock=SystemClock(),
            migrations=[*known_migrations(), SLOW],
            progress=Progress(on_move),
        )
    )
    await is_counting.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await (
        await open_store(tmp_path, clock=SystemClock())
    ).close()  # the lock is free, the schema is the old one
