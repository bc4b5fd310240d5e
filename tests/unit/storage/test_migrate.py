"""Schemas only move forwards, whole, and never under a program that does not know them (S10, S11)."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import StorageFailure
from sheaf.failpoints import EXIT_CODE
from sheaf.ports import WriteBatch
from sheaf.storage import SqliteStore, open_store
from sheaf.storage.migrate import Migration, known_migrations, statements
from tests.support.repository import ROOT
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()
PRESENT = len(known_migrations())
LATER = Migration(
    PRESENT + 1,
    "colours",
    "-- what a later release might do\n"
    "CREATE TABLE colours (colour INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;\n"
    "INSERT INTO colours (name)\n  VALUES ('red; green');\n"
    "ALTER TABLE spaces ADD COLUMN colour INTEGER;\n",
)
NEWER = [*known_migrations(), LATER]


async def opened(path: Path, migrations: list[Migration] | None = None) -> SqliteStore:
    """The store in `path`."""
    return await open_store(path, clock=SystemClock(), migrations=migrations)


async def made(path: Path) -> None:
    """A database of the present schema with a row in it."""
    store = await opened(path)
    await store.commit(ROWS.beginning())
    await store.close()


def schema_of(path: Path) -> tuple[int, set[str]]:
    """The version and the tables, looked at by another connection once the store is closed."""
    with closing(sqlite3.connect(path / "sheaf.db")) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    return version, tables


def contents(path: Path) -> dict[str, bytes]:
    """All files of a data directory but the lock."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock"}


async def test_a_new_database_gets_the_present_schema(tmp_path: Path) -> None:
    await made(tmp_path)
    version, tables = schema_of(tmp_path)
    assert version == len(known_migrations())
    assert {"spaces", "envelopes", "pending", "snapshots"} <= tables
    assert contents(tmp_path).keys() == {"sheaf.db"}


async def test_an_older_database_is_brought_forward_and_copied_first(tmp_path: Path) -> None:
    await made(tmp_path)
    store = await opened(tmp_path, NEWER)
    assert await store.spaces() == [ROWS.space()]
    await store.close()
    assert schema_of(tmp_path)[0] == PRESENT + 1
    copy = tmp_path / f"before-schema-{PRESENT + 1:04}.db"
    assert copy.stat().st_mode & 0o777 == 0o600
    (tmp_path / "old").mkdir()
    shutil.copy(copy, tmp_path / "old" / "sheaf.db")
    assert schema_of(tmp_path / "old")[0] == PRESENT
    old = await opened(tmp_path / "old")
    assert await old.spaces() == [ROWS.space()]
    await old.close()


async def test_s10_a_newer_schema_is_refused_byte_for_byte(tmp_path: Path) -> None:
    await made(tmp_path)
    await (await opened(tmp_path, NEWER)).close()
    before = contents(tmp_path)
    with pytest.raises(
        StorageFailure, match=rf"newer Sheaf \(schema {PRESENT + 1}; this one knows {PRESENT}\)"
    ):
        await opened(tmp_path)
    assert contents(tmp_path) == before
    await (await opened(tmp_path, NEWER)).close()  # and the lock was given back


async def test_s10_a_newer_schema_that_is_only_in_the_wal_is_refused_too(tmp_path: Path) -> None:
    await made(tmp_path)
    assert run_migration(tmp_path, "migration-after-commit") == EXIT_CODE
    before = contents(tmp_path)
    assert before["sheaf.db-wal"], "the newer version is not in the database file yet"
    assert int.from_bytes(before["sheaf.db"][60:64], "big") == PRESENT
    with pytest.raises(StorageFailure, match="newer Sheaf"):
        await opened(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "place", ["migration-copy", "migration-midway:1", "migration-midway:3", "migration-before-commit"]
)
async def test_s11_a_migration_killed_midway_leaves_the_old_schema(tmp_path: Path, place: str) -> None:
    await made(tmp_path)
    assert run_migration(tmp_path, place) == EXIT_CODE
    store = await opened(tmp_path)  # the older program still can
    assert await store.spaces() == [ROWS.space()]
    assert await store.check() == []
    await store.close()
    version, tables = schema_of(tmp_path)
    assert (version, "colours" in tables) == (PRESENT, False)
    await (await opened(tmp_path, NEWER)).close()
    version, tables = schema_of(tmp_path)
    assert (version, "colours" in tables) == (PRESENT + 1, True)


async def test_s11_a_migration_killed_after_its_commit_is_done(tmp_path: Path) -> None:
    await made(tmp_path)
    assert run_migration(tmp_path, "migration-after-commit") == EXIT_CODE
    await (await opened(tmp_path, NEWER)).close()
    version, tables = schema_of(tmp_path)
    assert (version, "colours" in tables) == (PRESENT + 1, True)


@pytest.mark.parametrize("place", ["migration-midway:4", "migration-before-commit", "migration-after-commit"])
async def test_s11_the_first_start_killed_midway_starts_again(tmp_path: Path, place: str) -> None:
    assert run_migration(tmp_path, place) == EXIT_CODE
    await made(tmp_path)
    assert schema_of(tmp_path)[0] == PRESENT


def run_migration(path: Path, place: str) -> int:
    """Open the store with the newer schema in a process that dies at `place`."""
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.unit.storage import test_migrate as t\n"
        "asyncio.run(t.opened(Path(sys.argv[1]), t.NEWER if sys.argv[2] == 'newer' else None))"
    )
    kind = "newer" if (path / "sheaf.db").exists() else "present"
    return subprocess.run(
        [sys.executable, "-c", program, str(path), kind],
        cwd=ROOT,
        env={"SHEAF_FAILPOINT": place, "PYTHONPATH": str(ROOT)},
        timeout=30,
        check=False,
    ).returncode


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    await made(tmp_path)
    sql = "CREATE TABLE colours (colour INTEGER);\nINSERT INTO nowhere VALUES (1);\n"
    wrong = Migration(PRESENT + 1, "wrong", sql)
    with pytest.raises(StorageFailure, match="no such table"):
        await opened(tmp_path, [*known_migrations(), wrong])
    store = await opened(tmp_path)
    await store.commit(WriteBatch(ops=[ROWS.op(1)]))
    await store.close()
    version, tables = schema_of(tmp_path)
    assert (version, "colours" in tables) == (PRESENT, False)


async def test_somebody_elses_database_is_refused_untouched(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "sheaf.db")) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    before = contents(tmp_path)
    with pytest.raises(StorageFailure, match="not a Sheaf database"):
        await opened(tmp_path)
    assert contents(tmp_path) == before


async def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "sheaf.db").write_bytes(b"Dear diary, " * 1000)
    before = contents(tmp_path)
    with pytest.raises(StorageFailure, match="not a Sheaf database"):
        await opened(tmp_path)
    assert contents(tmp_path) == before


def test_statements_are_split_at_their_ends_and_not_inside_text() -> None:
    assert len(list(statements(LATER.sql))) == 3
    assert list(statements("-- only a remark\n")) == []
    with pytest.raises(ValueError, match="unfinished statement: SELECT 1"):
        list(statements("SELECT 1\n"))


@given(st.text(max_size=60))
def test_splitting_loses_no_statement_text(text: str) -> None:
    try:
        pieces = list(statements(text))
    except ValueError:
        return
    kept = "".join(pieces)
    assert text.startswith(kept)
    assert all(line.lstrip().startswith("--") or not line.strip() for line in text[len(kept) :].splitlines())
