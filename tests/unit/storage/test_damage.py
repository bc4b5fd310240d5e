"""Rotten rows are noticed, kept from the reader, reported and repaired; the others are untouched (S7, S8)."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import StorageFailure
from sheaf.ports import Store, WriteBatch
from sheaf.storage import SqliteStore, open_store
from sheaf.storage.damage import DamagedRow, envelope_digest, row_digest
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()
ENVELOPES = 150
DOCUMENTS = 6


def a_bit_of_everything() -> WriteBatch:
    """Rows for every table."""
    return WriteBatch(
        spaces=[ROWS.space()],
        ops=[ROWS.op(number) for number in range(10)],
        epoch_secrets=[ROWS.epoch_secret(number) for number in range(3)],
        logs=[ROWS.log(log, next_seq=ENVELOPES) for log in range(2)],
        envelopes=[
            *(ROWS.envelope(seq, docs=(seq % DOCUMENTS,)) for seq in range(ENVELOPES)),
            *(ROWS.envelope(seq, log=1, is_opened=False) for seq in range(5)),
        ],
        pending=[ROWS.pending(number, doc=number % DOCUMENTS, agent="agent") for number in range(20)],
        snapshots=[ROWS.snapshot(doc, size=3_000) for doc in range(DOCUMENTS)],
        invitations=[ROWS.invitation(number) for number in range(3)],
        peers=[ROWS.peer(number) for number in range(3)],
        claims=[ROWS.claim(number) for number in range(20)],
        quarantine=[ROWS.quarantine(3), ROWS.quarantine(4)],
        settings={f"name{number}": bytes([number]) * 20 for number in range(5)},
    )


async def opened(path: Path) -> SqliteStore:
    """The store in `path`."""
    return await open_store(path, clock=SystemClock())


async def everything(store: Store) -> dict[object, Any]:
    """All that a daemon reads from a store, by a name for each row; what fails to read is absent."""
    space = ROWS.space_id
    reads: list[Callable[[], Awaitable[Any]]] = [
        store.spaces,
        *(
            partial(read, space)
            for read in (
                store.ops,
                store.epoch_secrets,
                store.logs,
                store.unopened,
                store.pending,
                store.invitations,
                store.peers,
                store.claims,
                store.quarantined,
            )
        ),
        *(partial(store.envelopes_of, space, ROWS.doc_id(doc), {}) for doc in range(DOCUMENTS)),
        *(partial(store.pending_of, space, ROWS.doc_id(doc)) for doc in range(DOCUMENTS)),
    ]
    found: dict[object, Any] = {}
    for number, read in enumerate(reads):
        for row in await _or_nothing(read, []):
            found[number, row] = row
    for doc in range(DOCUMENTS):
        found["snapshot", doc] = await _or_nothing(partial(store.snapshot, space, ROWS.doc_id(doc)), None)
    for seq in range(0, ENVELOPES, 10):
        run = await _or_nothing(partial(store.run, space, ROWS.log_id(), seq, 1), None)
        found["run", seq] = (run.envelopes or None) if run else None
    for number in range(5):
        name = f"name{number}"
        found["setting", name] = await _or_nothing(partial(store.setting, name), None)
    return {key: value for key, value in found.items() if value is not None}


async def _or_nothing(read: Callable[[], Awaitable[Any]], nothing: Any) -> Any:
    try:
        return await read()
    except StorageFailure:
        return nothing


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[object, Any]]:
    """A closed database with a bit of everything, and what it holds."""
    path = tmp_path_factory.mktemp("sound")

    async def fill() -> dict[object, Any]:
        store = await opened(path)
        await store.commit(a_bit_of_everything())
        assert await store.check() == []
        content = await everything(store)
        await store.close()
        return content

    return path, asyncio.run(fill())


SPACE_FIRST = {"epoch_secrets", "invitations", "peers", "claims", "quarantine"}
CORRUPTIONS = [
    ("spaces", "state", "'left'"),
    ("ops", "raw", "x'00'"),
    ("epoch_secrets", "secret", "zeroblob(32)"),
    ("logs", "next_seq", "7"),
    ("logs", "state", "substr(state, 2)"),
    ("envelopes", "raw", "substr(raw, 1, 50)"),
    ("envelopes", "documents", "x''"),
    ("envelopes", "documents", "x'0102'"),
    ("envelopes", "env_id", "CAST('damaged' AS BLOB)"),
    ("envelopes", "digest", "zeroblob(16)"),
    ("pending", "content", "x'00'"),
    ("pending", "agent", "'other'"),
    ("pending", "agent", "NULL"),
    ("pending", "hlc_ms", "hlc_ms + 1"),
    ("snapshots", "content", "zeroblob(100)"),
    ("snapshots", "covers", "x''"),
    ("invitations", "role", "'owner'"),
    ("invitations", "is_revoked", "1"),
    ("peers", "addresses", "'not json'"),
    ("claims", "device_id", "zeroblob(32)"),
    ("claims", "device_id", "x'01'"),
    ("quarantine", "reason", "'other'"),
    ("quarantine", "env_id", "zeroblob(32)"),
    ("settings", "value", "x'ff'"),
]


@pytest.mark.parametrize(("table", "column", "value"), CORRUPTIONS)
async def test_s8_a_row_changed_behind_our_back_is_kept_from_the_reader(
    sound: tuple[Path, dict[object, Any]], tmp_path: Path, table: str, column: str, value: str
) -> None:
    source, wanted = sound
    shutil.copytree(source, tmp_path / "data")
    with closing(sqlite3.connect(tmp_path / "data" / "sheaf.db")) as connection:
        columns = [column[0] for column in connection.execute(f"SELECT * FROM {table}").description]
        key = columns[table in SPACE_FIRST]
        changed = connection.execute(
            f"UPDATE {table} SET {column} = {value} WHERE {key} = (SELECT {key} FROM {table} LIMIT 1)"
        )
        assert changed.rowcount == 1
        connection.commit()
    store = await opened(tmp_path / "data")
    found = await everything(store)
    assert found.items() < wanted.items()
    assert len(wanted) - len(found) <= 4, "the others are unaffected"
    assert {row.table for row in store.damaged()} == {table}
    assert any(line.startswith(f"{table}: ") for line in await store.check())
    await store.close()


async def test_a_damaged_envelope_is_repaired_by_committing_it_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    rows = [ROWS.envelope(seq) for seq in range(3)]
    await store.commit(replace_envelopes(ROWS.beginning(), rows))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "sheaf.db")) as connection:
        connection.execute("UPDATE envelopes SET raw = zeroblob(length(raw)) WHERE seq = 1")
        connection.commit()
    store = await opened(tmp_path)
    assert (await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**6)).envelopes == (rows[0].raw,)
    (bad,) = store.damaged()
    assert (bad.log_id, bad.seq, bad.space_id) == (ROWS.log_id(), 1, ROWS.space_id)
    await store.commit(WriteBatch(envelopes=[rows[1]]))
    assert store.damaged() == ()
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == rows
    assert await store.check() == []
    await store.close()


def replace_envelopes(batch: WriteBatch, rows: list[Any]) -> WriteBatch:
    """`batch` with these envelopes."""
    return replace(batch, envelopes=rows)


async def test_an_envelope_missing_from_its_documents_index_is_found_by_the_check(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.commit(replace_envelopes(ROWS.beginning(), [ROWS.envelope(0), ROWS.envelope(1)]))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "sheaf.db")) as connection:
        connection.execute("DELETE FROM envelope_documents WHERE seq = 1")
        connection.commit()
    store = await opened(tmp_path)
    (problem,) = await store.check()
    assert problem.startswith("envelope_documents: ")
    assert "seq 1" in problem
    await store.close()


async def test_commits_go_on_while_a_store_is_checked(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    rows = [ROWS.envelope(seq) for seq in range(3_000)]
    await store.commit(replace_envelopes(ROWS.beginning(), rows))
    checking = asyncio.ensure_future(store.check())
    during = 0
    while not checking.done():
        await store.commit(WriteBatch(settings={"during": bytes([during % 256])}))
        during += 1
    assert await checking == []
    assert during > 3
    await store.close()


# ------------------------------------------------------------------ digests


PENDING = ROWS.pending(1, agent="agent")
ENVELOPE = ROWS.envelope(1, docs=(1, 2))


@pytest.mark.parametrize(
    "change",
    [
        {"pending_id": 2},
        {"doc_id": ROWS.doc_id(9)},
        {"space_id": Rows("other").space_id},
        {"update": PENDING.update + b"\0"},
        {"hlc_ms": 0},
        {"agent": None},
        {"agent": ""},
    ],
)
def test_every_field_of_a_row_is_in_its_digest(change: dict[str, Any]) -> None:
    assert row_digest("pending", replace(PENDING, **change)) != row_digest("pending", PENDING)


def test_the_same_row_in_another_table_has_another_digest() -> None:
    assert row_digest("pending", PENDING) != row_digest("snapshots", PENDING)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2},
        {"is_opened": False},
        {"documents": (ROWS.doc_id(1),)},
        {"documents": (ROWS.doc_id(2), ROWS.doc_id(1))},
        {"raw": ENVELOPE.raw[:-1]},
        {"env_id": ROWS.env_id(2)},
        {"log_id": ROWS.log_id(5)},
        {"space_id": Rows("other").space_id},
    ],
)
def test_every_field_of_an_envelope_is_in_its_digest(change: dict[str, Any]) -> None:
    assert envelope_digest(replace(ENVELOPE, **change)) != envelope_digest(ENVELOPE)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_fields_that_run_together_alike_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    first = replace(ROWS.invitation(), ticket=one[0], role=one[1])
    second = replace(ROWS.invitation(), ticket=other[0], role=other[1])
    assert (row_digest("t", first) == row_digest("t", second)) == (one == other)


def test_a_damaged_row_can_be_named_to_a_person() -> None:
    assert DamagedRow("pending", "17").text == "pending: the row 17 is damaged"
