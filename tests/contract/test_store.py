"""The contract of ports.Store, for SQLite and for memory alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.ports import Store, StoredRun, WriteBatch
from sheaf.storage import open_store
from tests.support.memory_store import MemoryStore
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()
OTHER = Rows("other")


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with the beginnings of two spaces."""
    opened: Store = MemoryStore() if request.param == "memory" else await _sqlite(tmp_path)
    await opened.commit(ROWS.beginning(logs=2))
    await opened.commit(OTHER.beginning())
    yield opened
    await opened.close()


async def _sqlite(path: Path) -> Store:
    return await open_store(path, clock=SystemClock())


# ------------------------------------------------------------------ what is put is read back


async def test_spaces_are_kept_in_the_order_they_came_and_change_state(store: Store) -> None:
    await store.commit(WriteBatch(spaces=[ROWS.space("left")]))
    assert await store.spaces() == [ROWS.space("left"), OTHER.space()]


async def test_ops_keep_their_order_and_a_known_op_is_left_alone(store: Store) -> None:
    first, second, third = ROWS.op(1), ROWS.op(2), ROWS.op(3)
    await store.commit(WriteBatch(ops=[third, first]))
    await store.commit(WriteBatch(ops=[first, second, OTHER.op(9)]))
    assert await store.ops(ROWS.space_id) == [third, first, second]


async def test_epoch_secrets_are_upserted_per_space(store: Store) -> None:
    await store.commit(WriteBatch(epoch_secrets=[ROWS.epoch_secret(1), OTHER.epoch_secret(1)]))
    changed = ROWS.epoch_secret(1, b"\1" * 32)
    await store.commit(WriteBatch(epoch_secrets=[changed, ROWS.epoch_secret(2)]))
    assert set(await store.epoch_secrets(ROWS.space_id)) == {changed, ROWS.epoch_secret(2)}
    assert await store.epoch_secrets(OTHER.space_id) == [OTHER.epoch_secret(1)]


async def test_logs_move_their_heads(store: Store) -> None:
    await store.commit(WriteBatch(logs=[ROWS.log(1, next_seq=5)]))
    assert await store.logs(ROWS.space_id) == [ROWS.log(0), ROWS.log(1, next_seq=5)]


async def test_invitations_peers_claims_and_settings_are_upserted(store: Store) -> None:
    await store.commit(
        WriteBatch(
            invitations=[ROWS.invitation(1), ROWS.invitation(2, expires_ms=7)],
            peers=[ROWS.peer(1), OTHER.peer(1)],
            claims=[ROWS.claim(7, 1), ROWS.claim(2**53 - 1, 2)],
            settings={"port": b"7411", "theme": b"dark"},
        )
    )
    revoked = ROWS.invitation(1, is_revoked=True)
    moved = ROWS.peer(1, ("10.0.0.1:1", "[fe80::1]:2"))
    await store.commit(
        WriteBatch(invitations=[revoked], peers=[moved], claims=[ROWS.claim(7, 3)], settings={"port": b""})
    )
    assert await store.invitations(ROWS.space_id) == [revoked, ROWS.invitation(2, expires_ms=7)]
    assert await store.peers(ROWS.space_id) == [moved]
    assert await store.claims(ROWS.space_id) == [ROWS.claim(7, 3), ROWS.claim(2**53 - 1, 2)]
    assert await store.setting("port") == b""
    assert await store.setting("theme") == b"dark"
    assert await store.setting("unset") is None


# ------------------------------------------------------------------ pending and snapshots


async def test_pending_edits_come_back_oldest_first_until_they_are_done(store: Store) -> None:
    rows = [ROWS.pending(3, doc=1, agent="Ägent"), ROWS.pending(1), ROWS.pending(2)]
    await store.commit(WriteBatch(pending=[*rows, OTHER.pending(4)]))
    assert await store.pending(ROWS.space_id) == [rows[1], rows[2], rows[0]]
    assert await store.pending_of(ROWS.space_id, ROWS.doc_id(0)) == [rows[1], rows[2]]
    await store.commit(WriteBatch(pending_done=[1, 3, 99]))
    assert await store.pending(ROWS.space_id) == [rows[2]]
    assert await store.pending(OTHER.space_id) == [OTHER.pending(4)]


async def test_an_edit_that_is_pending_and_done_in_one_batch_leaves_no_trace(store: Store) -> None:
    await store.commit(WriteBatch(pending=[ROWS.pending(1)], pending_done=[1], envelopes=[ROWS.envelope(0)]))
    assert await store.pending(ROWS.space_id) == []


async def test_a_snapshot_is_replaced(store: Store) -> None:
    assert await store.snapshot(ROWS.space_id, ROWS.doc_id()) is None
    for version in (1, 2):
        await store.commit(WriteBatch(snapshots=[ROWS.snapshot(version=version)]))
    assert await store.snapshot(ROWS.space_id, ROWS.doc_id()) == ROWS.snapshot(version=2)
    assert await store.snapshot(OTHER.space_id, ROWS.doc_id()) is None


async def test_of_several_times_of_change_the_last_one_given_stays(store: Store) -> None:
    await store.commit(WriteBatch(touched=[ROWS.touched(0, 5), ROWS.touched(1, 9), OTHER.touched(0, 1)]))
    await store.commit(WriteBatch(touched=[ROWS.touched(0, 7), ROWS.touched(1, 2)]))
    assert set(await store.touched(ROWS.space_id)) == {ROWS.touched(0, 7), ROWS.touched(1, 2)}
    assert await store.touched(OTHER.space_id) == [OTHER.touched(0, 1)]


# ------------------------------------------------------------------ runs


async def test_a_run_holds_consecutive_envelopes_up_to_the_byte_limit(store: Store) -> None:
    rows = [ROWS.envelope(seq, size=100) for seq in range(10)]
    await store.commit(WriteBatch(envelopes=rows))
    run = await store.run(ROWS.space_id, ROWS.log_id(), 2, 350)
    assert run == StoredRun(ROWS.log_id(), 2, tuple(row.raw for row in rows[2:5]))
    assert (await store.run(ROWS.space_id, ROWS.log_id(), 2, 300)).envelopes == run.envelopes
    assert len((await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**6)).envelopes) == 10


async def test_a_run_holds_one_envelope_however_small_the_limit(store: Store) -> None:
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(0), ROWS.envelope(1)]))
    assert (await store.run(ROWS.space_id, ROWS.log_id(), 0, 1)).envelopes == (ROWS.envelope(0).raw,)


async def test_a_run_beyond_the_head_or_of_an_unknown_log_is_empty(store: Store) -> None:
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(0)]))
    assert (await store.run(ROWS.space_id, ROWS.log_id(), 1, 1000)).envelopes == ()
    assert (await store.run(ROWS.space_id, ROWS.log_id(9), 0, 1000)).envelopes == ()
    assert (await store.run(OTHER.space_id, ROWS.log_id(), 0, 1000)).envelopes == ()


async def test_a_run_ends_at_a_gap(store: Store) -> None:
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(seq) for seq in (0, 1, 3)]))
    assert len((await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**6)).envelopes) == 2


async def test_of_a_fork_the_first_stored_branch_is_sent_and_both_are_kept(store: Store) -> None:
    first = [ROWS.envelope(0), ROWS.envelope(1, branch=1)]
    await store.commit(WriteBatch(envelopes=first))
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(1, branch=0), ROWS.envelope(2)]))
    run = await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**6)
    assert run.envelopes == (*(row.raw for row in first), ROWS.envelope(2).raw)
    assert len(await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {})) == 4


async def test_a_known_envelope_is_left_alone(store: Store) -> None:
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(0)]))
    again = ROWS.envelope(0, docs=(1, 2))
    await store.commit(WriteBatch(envelopes=[again, again]))
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(0), {}) == [ROWS.envelope(0)]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(1), {}) == []


# ------------------------------------------------------------------ envelopes of a document


async def test_a_documents_envelopes_come_in_the_order_they_were_stored(store: Store) -> None:
    a, b = ROWS.envelope(0, log=1, docs=(0, 1)), ROWS.envelope(0, docs=(0,))
    c, d = ROWS.envelope(1, docs=(1,)), ROWS.envelope(1, log=1, docs=(1, 0))
    await store.commit(WriteBatch(envelopes=[a, b]))
    await store.commit(WriteBatch(envelopes=[c, d]))
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(0), {}) == [a, b, d]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(1), {}) == [a, c, d]
    assert await store.envelopes_of(OTHER.space_id, ROWS.doc_id(0), {}) == []


async def test_envelopes_below_the_given_sequence_are_left_out_per_log(store: Store) -> None:
    rows = [ROWS.envelope(seq, log=log) for seq in range(4) for log in (0, 1)]
    await store.commit(WriteBatch(envelopes=rows))
    after = {ROWS.log_id(0): 2, ROWS.log_id(7): 5}
    found = await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), after)
    assert found == [row for row in rows if row.log_id == ROWS.log_id(1) or row.seq >= 2]


async def test_many_and_large_envelopes_of_a_document_are_all_returned(store: Store) -> None:
    rows = [ROWS.envelope(seq, size=200_000 if seq % 7 == 0 else 20) for seq in range(120)]
    more = [ROWS.envelope(seq, log=1, size=1) for seq in range(2_500)]
    await store.commit(WriteBatch(envelopes=[*rows, *more]))
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == [*rows, *more]


async def test_quarantined_envelopes_stay_out_until_they_are_released(store: Store) -> None:
    rows = [ROWS.envelope(seq) for seq in range(3)]
    await store.commit(WriteBatch(envelopes=rows, quarantine=[ROWS.quarantine(1)]))
    assert await store.quarantined(ROWS.space_id) == [ROWS.quarantine(1)]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == [rows[0], rows[2]]
    assert len((await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**6)).envelopes) == 3
    await store.commit(WriteBatch(quarantine=[ROWS.quarantine(1, reason="")]))
    assert await store.quarantined(ROWS.space_id) == []
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == rows


async def test_sealed_envelopes_wait_until_they_are_opened(store: Store) -> None:
    sealed = [ROWS.envelope(seq, is_opened=False) for seq in range(2)]
    await store.commit(WriteBatch(envelopes=[*sealed, ROWS.envelope(2)]))
    assert await store.unopened(ROWS.space_id) == sealed
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(), {}) == [ROWS.envelope(2)]
    opened = ROWS.envelope(0, docs=(0, 5))
    await store.commit(WriteBatch(opened=[opened]))
    assert await store.unopened(ROWS.space_id) == [sealed[1]]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(5), {}) == [opened]
    assert await store.envelopes_of(ROWS.space_id, ROWS.doc_id(0), {}) == [opened, ROWS.envelope(2)]


# ------------------------------------------------------------------ transactions


async def test_a_batch_with_a_mistake_stores_nothing_and_the_next_one_works(store: Store) -> None:
    wrong = WriteBatch(ops=[ROWS.op(1)], settings={"a": b"1"}, envelopes=[Rows("unknown").envelope(0)])
    with pytest.raises(AssertionError):
        await store.commit(wrong)
    assert await store.ops(ROWS.space_id) == []
    assert await store.setting("a") is None
    await store.commit(WriteBatch(ops=[ROWS.op(1)]))
    assert await store.ops(ROWS.space_id) == [ROWS.op(1)]


async def test_commits_take_effect_in_the_order_they_were_asked_for(store: Store) -> None:
    await asyncio.gather(*(store.commit(WriteBatch(ops=[ROWS.op(number)])) for number in range(200)))
    assert await store.ops(ROWS.space_id) == [ROWS.op(number) for number in range(200)]


async def test_a_cancelled_commit_is_stored_whole(store: Store) -> None:
    batch = WriteBatch(ops=[ROWS.op(1)], pending=[ROWS.pending(1)], settings={"a": b"1"})
    asking = asyncio.ensure_future(store.commit(batch))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await store.commit(WriteBatch(ops=[ROWS.op(2)]))
    assert await store.ops(ROWS.space_id) == [ROWS.op(1), ROWS.op(2)]
    assert await store.pending(ROWS.space_id) == [ROWS.pending(1)]
    assert await store.setting("a") == b"1"


async def test_an_empty_batch_is_fine(store: Store) -> None:
    await store.commit(WriteBatch())


async def test_receipts_and_mailboxes_are_upserted_per_space(store: Store) -> None:
    near, far = ROWS.mailbox("ws://near"), ROWS.mailbox("ws://far")
    await store.commit(WriteBatch(receipts=[ROWS.receipt(2), OTHER.receipt(1)], mailboxes=[near, far]))
    newer, filled = ROWS.receipt(2, version=2), ROWS.mailbox("ws://far", version=2)
    await store.commit(WriteBatch(receipts=[newer], mailboxes=[filled, OTHER.mailbox()]))
    assert await store.receipts(ROWS.space_id) == [newer]
    assert await store.receipts(OTHER.space_id) == [OTHER.receipt(1)]
    assert await store.mailboxes(ROWS.space_id) == [filled, near]


async def test_a_document_is_known_by_the_logs_that_touch_it(store: Store) -> None:
    rows = [
        ROWS.envelope(1),
        ROWS.envelope(2, docs=(1,)),
        ROWS.envelope(4, docs=(0, 1)),
        ROWS.envelope(5, is_opened=False),
        ROWS.envelope(7, log=1),
        ROWS.envelope(7, log=1, branch=1),
    ]
    await store.commit(WriteBatch(envelopes=rows))
    first, second = ROWS.log_id(0), ROWS.log_id(1)
    assert await store.document_frontier(ROWS.space_id, ROWS.doc_id(0)) == {first: 5, second: 8}
    assert await store.document_frontier(ROWS.space_id, ROWS.doc_id(1)) == {first: 5}
    assert await store.document_frontier(ROWS.space_id, ROWS.doc_id(9)) == {}
    asked = [(first, 1), (first, 2), (first, 5), (second, 0), (ROWS.log_id(8), 0)]
    assert await store.document_counts(ROWS.space_id, ROWS.doc_id(0), asked) == [2, 1, 0, 1, 0]


async def test_a_forgotten_space_leaves_no_row_and_the_others_untouched(store: Store) -> None:
    for rows in (ROWS, OTHER):
        offset = 0 if rows is ROWS else 100
        await store.commit(
            WriteBatch(
                ops=[rows.op(1)],
                epoch_secrets=[rows.epoch_secret()],
                envelopes=[rows.envelope(0), rows.envelope(1, is_opened=False)],
                pending=[rows.pending(offset + 1)],
                snapshots=[rows.snapshot()],
                invitations=[rows.invitation()],
                peers=[rows.peer()],
                claims=[rows.claim(1)],
                quarantine=[rows.quarantine(0)],
                touched=[rows.touched(0, 5)],
                receipts=[rows.receipt()],
                mailboxes=[rows.mailbox()],
            )
        )
    await store.commit(WriteBatch(forget_spaces=[ROWS.space_id, Rows("never").space_id]))
    assert await store.spaces() == [OTHER.space()]
    assert await _row_counts(store, ROWS) == [0] * 14
    assert await _row_counts(store, OTHER) == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    await store.commit(ROWS.beginning())
    assert (await store.run(ROWS.space_id, ROWS.log_id(), 0, 100)).envelopes == ()


async def _row_counts(store: Store, rows: Rows) -> list[int]:
    space_id, doc_id = rows.space_id, rows.doc_id()
    return [
        len(await store.ops(space_id)),
        len(await store.epoch_secrets(space_id)),
        len(await store.logs(space_id)),
        len((await store.run(space_id, rows.log_id(), 0, 10**6)).envelopes),
        len(await store.unopened(space_id)),
        len(await store.pending_of(space_id, doc_id)),
        int(await store.snapshot(space_id, doc_id) is not None),
        len(await store.invitations(space_id)),
        len(await store.peers(space_id)),
        len(await store.claims(space_id)),
        len(await store.quarantined(space_id)),
        len(await store.touched(space_id)),
        len(await store.receipts(space_id)),
        len(await store.mailboxes(space_id)),
    ]


async def test_a_sound_store_has_nothing_to_report(store: Store) -> None:
    await store.commit(WriteBatch(envelopes=[ROWS.envelope(0)], snapshots=[ROWS.snapshot()]))
    assert await store.check() == []


async def test_a_closed_store_refuses_with_a_storage_failure(store: Store) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StorageFailure):
        await store.commit(WriteBatch(ops=[ROWS.op(1)]))
    with pytest.raises(StorageFailure):
        await store.ops(ROWS.space_id)
