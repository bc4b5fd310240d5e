"""A space that was left is unknown at once; its rows are deleted in quiet moments, in small steps."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.ports import WriteBatch
from sheaf.storage import SqliteStore, open_store
from sheaf.storage import database as database_module
from sheaf.storage.spaces import PURGE_ROWS
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()
OTHER = Rows("other")
TABLES = (
    "spaces",
    "documents",
    "logs",
    "envelopes",
    "envelope_documents",
    "snapshots",
    "pending",
    "ops",
    "epoch_secrets",
)


async def filled(path: Path, envelopes: int) -> SqliteStore:
    """A store with one large and one small space."""
    store = await open_store(path, clock=SystemClock())
    for rows, count in ((ROWS, envelopes), (OTHER, 1)):
        batch = rows.beginning()
        batch.envelopes = [rows.envelope(seq, docs=(seq % 7, 8)) for seq in range(count)]
        batch.snapshots = [rows.snapshot(doc) for doc in range(3)]
        batch.ops = [rows.op(1)]
        batch.epoch_secrets = [rows.epoch_secret()]
        batch.pending = [rows.pending(1 if rows is ROWS else 2)]
        await store.commit(batch)
    return store


def counts(path: Path) -> dict[str, int]:
    """Rows per table of a closed store."""
    with closing(sqlite3.connect(path / "sheaf.db")) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


ONLY_THE_OTHER = {
    "spaces": 1,
    "documents": 4,
    "logs": 1,
    "envelopes": 1,
    "envelope_documents": 2,
    "snapshots": 3,
    "pending": 1,
    "ops": 1,
    "epoch_secrets": 1,
}


async def until_tidy(store: SqliteStore) -> None:
    """Wait for a quiet moment in which everything was tidied."""
    before = store.stats.tidied
    async with asyncio.timeout(20):
        while store.stats.tidied == before:
            await store.spaces()


async def test_the_rows_of_a_forgotten_space_go_while_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await filled(tmp_path, envelopes=2 * PURGE_ROWS + 100)
    monkeypatch.setattr(database_module, "IDLE_S", 0.01)
    await store.commit(WriteBatch(forget_spaces=[ROWS.space_id]))
    assert await store.spaces() == [OTHER.space()]
    assert await store.epoch_secrets(ROWS.space_id) == []
    before = store.stats.transactions
    await until_tidy(store)
    assert store.stats.transactions - before > 5, "it went in steps"
    assert await store.check() == []
    await store.close()
    assert counts(tmp_path) == ONLY_THE_OTHER


async def test_what_a_crash_left_of_a_forgotten_space_is_deleted_after_the_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await filled(tmp_path, envelopes=50)
    await store.commit(WriteBatch(forget_spaces=[ROWS.space_id]))
    await store.close()
    assert counts(tmp_path)["envelopes"] == 51
    monkeypatch.setattr(database_module, "IDLE_S", 0.01)
    again = await open_store(tmp_path, clock=SystemClock())
    assert await again.check() == []
    await until_tidy(again)
    await again.close()
    assert counts(tmp_path) == ONLY_THE_OTHER


async def test_a_space_can_be_joined_again_while_its_old_rows_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await filled(tmp_path, envelopes=50)
    await store.commit(WriteBatch(forget_spaces=[ROWS.space_id]))
    anew = ROWS.beginning()
    anew.envelopes = [ROWS.envelope(0)]
    monkeypatch.setattr(database_module, "IDLE_S", 0.01)
    await store.commit(anew)
    await until_tidy(store)
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == [ROWS.envelope(0)]
    assert await store.check() == []
    await store.close()
    assert counts(tmp_path)["envelopes"] == 2
