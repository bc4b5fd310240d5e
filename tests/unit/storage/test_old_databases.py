"""Databases of earlier schemas stay readable, and verified, after their migration (S10)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sheaf.ports import WriteBatch
from sheaf.storage import SqliteStore, open_store
from sheaf.storage.migrate import known_migrations
from tests.support.repository import ROOT
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows("old")
SCHEMA_2 = ROOT / "tests" / "vectors" / "database-schema-2.sql"
"""Rows of `ROWS`; envelopes 1 and 2 are kept out, and envelope 2 is damaged."""


async def migrated(path: Path) -> SqliteStore:
    """The database of schema 2, opened by this program."""
    with closing(sqlite3.connect(path / "sheaf.db")) as connection:
        connection.executescript(SCHEMA_2.read_text("utf-8"))
    return await open_store(path, clock=SystemClock())


async def test_rows_of_schema_2_are_read_and_verified(tmp_path: Path) -> None:
    store = await migrated(tmp_path)
    space_id = ROWS.space_id
    assert await store.spaces() == [ROWS.space()]
    assert await store.pending(space_id) == [ROWS.pending(1, agent="agent")]
    assert await store.snapshot(space_id, ROWS.doc_id()) == ROWS.snapshot(0, size=60)
    assert await store.touched(space_id) == [ROWS.touched(0, 1_700_000_000_000)]
    assert await store.setting("name") == b"value"
    assert store.damaged() == ()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "sheaf.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(known_migrations()),)


async def test_envelopes_that_schema_2_kept_out_stay_out_and_can_be_let_in(tmp_path: Path) -> None:
    store = await migrated(tmp_path)
    read = [ROWS.envelope(seq, size=30) for seq in range(2)]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == read[:1]
    await store.commit(WriteBatch(quarantine=[ROWS.quarantine(1, reason="")]))
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == read
    await store.close()


async def test_an_envelope_that_was_damaged_before_is_not_made_good_by_the_migration(tmp_path: Path) -> None:
    store = await migrated(tmp_path)
    problems = await store.check()
    assert [row.seq for row in store.damaged()] == [2]
    assert [problem for problem in problems if not problem.startswith("envelopes: ")] == []
    await store.close()


async def test_an_envelope_is_kept_out_although_its_entry_in_the_quarantine_is_gone(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    rows = [ROWS.envelope(seq) for seq in range(2)]
    await store.commit(ROWS.beginning())
    await store.commit(WriteBatch(envelopes=rows, quarantine=[ROWS.quarantine(1)]))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "sheaf.db")) as connection:
        connection.execute("DELETE FROM quarantine")
        connection.commit()
    store = await open_store(tmp_path, clock=SystemClock())
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == rows[:1]
    (problem,) = await store.check()
    assert problem.startswith("quarantine: ")
    assert "seq 1" in problem
    await store.close()
