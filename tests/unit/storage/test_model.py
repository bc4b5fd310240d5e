"""Any sequence of batches leaves SQLite and memory with the same content."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.ids import LogId
from sheaf.ports import Store, WriteBatch
from sheaf.storage import open_store
from tests.support.memory_store import MemoryStore
from tests.support.store_rows import Rows, SystemClock

SPACES = (Rows("a"), Rows("b"))
LOGS = 2
DOCS = 3

space = st.sampled_from(SPACES)
small = st.integers(0, 6)
docs = st.lists(st.integers(0, DOCS - 1), unique=True, max_size=DOCS).map(tuple)

envelope = st.builds(
    lambda rows, seq, log, docs, branch, is_opened: rows.envelope(
        seq, log=log, docs=docs, branch=branch, is_opened=is_opened
    ),
    space,
    small,
    st.integers(0, LOGS - 1),
    docs,
    st.integers(0, 1),
    st.booleans(),
)
batch = st.builds(
    WriteBatch,
    ops=st.lists(st.builds(Rows.op, space, small), max_size=3),
    epoch_secrets=st.lists(st.builds(Rows.epoch_secret, space, small), max_size=2),
    logs=st.lists(st.builds(Rows.log, space, st.integers(0, LOGS - 1), small), max_size=2),
    envelopes=st.lists(envelope, max_size=5),
    opened=st.lists(envelope, max_size=2),
    pending=st.lists(st.builds(Rows.pending, space, small, st.integers(0, DOCS - 1)), max_size=3),
    pending_done=st.lists(small, max_size=2),
    snapshots=st.lists(st.builds(Rows.snapshot, space, st.integers(0, DOCS - 1), small), max_size=2),
    invitations=st.lists(st.builds(Rows.invitation, space, small), max_size=2),
    peers=st.lists(st.builds(Rows.peer, space, small), max_size=2),
    claims=st.lists(st.builds(Rows.claim, space, small, small), max_size=2),
    quarantine=st.lists(
        st.builds(
            lambda rows, seq, reason: rows.quarantine(seq, reason=reason),
            space,
            small,
            st.sampled_from(["", "x", "y"]),
        ),
        max_size=2,
    ),
    touched=st.lists(st.builds(Rows.touched, space, st.integers(0, DOCS - 1), st.integers(1, 9)), max_size=2),
    settings=st.dictionaries(st.sampled_from("abc"), st.binary(max_size=4), max_size=2),
    forget_spaces=st.lists(space.map(lambda rows: rows.space_id), max_size=1),
)


def with_beginnings(wanted: WriteBatch) -> WriteBatch:
    """The spaces and logs that the rows of a batch need."""
    beginnings = [rows.beginning(LOGS) for rows in SPACES]
    wanted.spaces = [row for each in beginnings for row in each.spaces]
    wanted.logs = [row for each in beginnings for row in each.logs] + wanted.logs
    return wanted


async def content(store: Store) -> list[object]:
    """Everything that can be read."""
    found: list[object] = [list(await store.spaces()), [await store.setting(name) for name in "abc"]]
    for rows in SPACES:
        space_id = rows.space_id
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
        ):
            found.append(list(await read(space_id)))
        found.append(set(await store.touched(space_id)))
        for log in range(LOGS):
            found.append(await store.run(space_id, rows.log_id(log), 1, 250))
        for doc in range(DOCS):
            after: dict[LogId, int] = {rows.log_id(0): 2}
            found.append(list(await store.envelopes_of(space_id, rows.doc_id(doc), after)))
            found.append(list(await store.pending_of(space_id, rows.doc_id(doc))))
            found.append(await store.snapshot(space_id, rows.doc_id(doc)))
    return found


async def play(batches: list[WriteBatch], path: Path) -> None:
    """The same batches to both; compare after each restart."""
    memory = MemoryStore()
    sqlite = await open_store(path, clock=SystemClock())
    for wanted in batches:
        await memory.commit(wanted)
        await sqlite.commit(wanted)
    assert await content(sqlite) == await content(memory)
    assert await sqlite.check() == []
    await sqlite.close()
    again = await open_store(path, clock=SystemClock())
    assert await content(again) == await content(memory)
    await again.close()


@settings(max_examples=40)
@given(st.lists(batch.map(with_beginnings), max_size=5))
def test_sqlite_and_memory_hold_the_same_after_any_batches(batches: list[WriteBatch]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(batches, Path(folder)))
