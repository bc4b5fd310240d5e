"""Documents whose history has holes, poison or a bad snapshot: what is sound stays readable."""

from __future__ import annotations

from collections.abc import Sequence

import pycrdt
import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import INDEX_DOC_ID, DocId, LogId, SpaceId
from sheaf.core.base.limits import KIB, UPDATE_BYTES_MAX
from sheaf.core.crdt.replica import Replica, ReplicaPoisoned
from sheaf.node.document_loading import encode_covers
from sheaf.node.node import Node
from sheaf.ports import EnvelopeRow, SnapshotRow, WriteBatch
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Listener, join, machine, new_text, running, text_of, until
from tests.unit.node.test_hostile_members import nested, seal_raw


def three_updates() -> list[bytes]:
    source = pycrdt.Doc(client_id=901)
    text = source.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = source.observe(lambda event: updates.append(event.update))
    for word in ("one ", "two ", "three "):
        text.insert(len(str(text)), word)
    source.unobserve(subscription)
    return updates


def _envelopes(node: Node, space: SpaceId) -> int:
    return sum(node._library.host(space).durable.values())


@pytest.mark.parametrize("is_open", [True, False])
async def test_words_that_come_before_what_they_build_on_are_not_lost(is_open: bool) -> None:
    lan = MemoryLan()
    anns = machine(lan, "ann")
    async with running(anns, machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space)
        await until(lambda: bob.documents(space))
        host = ann._library.host(space)
        handle = await ann.open_document(doc, Listener()) if is_open else None
        one, two, three = three_updates()
        for update in (one, three):
            before = _envelopes(ann, space)
            seal_raw(bob, space, doc, update)
            await until(lambda before=before: _envelopes(ann, space) > before)  # type: ignore[misc]
        assert await text_of(ann, doc) == "one "
        if handle is not None:
            actor = host.documents.find(doc)
            assert actor is not None
            actor.edits_since_snapshot = 500
            await handle.close()  # with a snapshot, which must not cover the third
        before = _envelopes(ann, space)
        seal_raw(bob, space, doc, two)
        await until(lambda: _envelopes(ann, space) > before)
        assert await text_of(ann, doc) == "one two three "
        assert await host._store.quarantined(space) == []


async def test_a_snapshot_that_cannot_be_read_costs_nothing() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="from the log")
        host = ann._library.host(space)
        host.seal_now()
        await host.flush()
        covers = encode_covers(dict(host.durable))
        bad = SnapshotRow(space, doc, b"\x01\x01\xff\xff\xff\xff\x0f\x00", covers)
        await host._store.commit(WriteBatch(snapshots=[bad]))
        assert await text_of(ann, doc) == "from the log"


async def test_a_snapshot_larger_than_any_update_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        host = ann._library.host(space)
        handle = await ann.open_document(doc, Listener())
        for _ in range(2):
            source: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
            source.get("text", type=pycrdt.Text).insert(0, "x" * (UPDATE_BYTES_MAX - KIB))
            await handle.submit(source.get_update())
        host.seal_now()
        await host.flush()
        actor = host.documents.find(doc)
        assert actor is not None
        actor.edits_since_snapshot = 500
        await handle.close()
        await host.flush()
        read = host._store.envelopes_of
        asked: list[dict[LogId, int]] = []

        async def note(space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]) -> Sequence[EnvelopeRow]:
            asked.append(after)
            return await read(space_id, doc_id, after)

        monkeypatch.setattr(host._store, "envelopes_of", note)
        assert len(await text_of(ann, doc)) == 2 * (UPDATE_BYTES_MAX - KIB)
        assert [bool(after) for after in asked] == [True], "the whole log was read beside the snapshot"


async def test_an_update_that_breaks_native_code_is_left_out_and_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space, content="sound words")
        await until(lambda: bob.documents(space))
        poison = three_updates()[0]
        before = _envelopes(ann, space)
        seal_raw(bob, space, doc, poison)
        await until(lambda: _envelopes(ann, space) > before)
        apply = Replica._apply_one

        def breaks(replica: Replica, update: bytes) -> None:
            if update == poison:
                raise RuntimeError("native code failed")
            apply(replica, update)

        monkeypatch.setattr(Replica, "_apply_one", breaks)
        assert await text_of(ann, doc) == "sound words"


async def test_what_follows_a_refused_update_in_parts_is_read_again_like_it_was_shown() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "mal")) as (ann, mal):
        space = (await ann.create_space("Home")).space_id
        await join(ann, mal, space)
        doc = await new_text(ann, space)
        await until(lambda: mal.documents(space))
        handle = await ann.open_document(doc, Listener())
        big = nested(300_000)
        assert len(big) > 256 * 1024
        for update in (big, three_updates()[0]):
            before = _envelopes(ann, space)
            seal_raw(mal, space, doc, update)
            await until(lambda before=before: _envelopes(ann, space) > before)  # type: ignore[misc]
        host = ann._library.host(space)
        assert len(await host._store.quarantined(space)) == 1
        assert await text_of(ann, doc) == "one "
        await ann.append_content(doc, "honest", agent=None)
        await handle.close()
        assert host.documents.find(doc) is None
        assert "honest" in await text_of(ann, doc)


async def test_a_space_whose_history_is_damaged_does_not_keep_the_others_from_opening() -> None:
    anns = machine(MemoryLan(), "ann")
    assert isinstance(anns.store, MemoryStore)
    async with running(anns) as (ann,):
        damaged = (await ann.create_space("Damaged")).space_id
        sound = (await ann.create_space("Sound")).space_id
        doc = await new_text(ann, sound, content="still here")
        [first, *_] = [key for key in anns.store._ops if key[0] == damaged]
    del anns.store._ops[first]
    async with running(anns) as (ann,):
        assert {view.space_id: view.state for view in ann.spaces()} == {
            sound: "ready",
            damaged: "unavailable",
        }
        assert await text_of(ann, doc) == "still here"
        assert ann.status().storage.state == "failed"
        with pytest.raises(StorageFailure):
            ann.space(damaged)


async def test_a_poisoned_index_is_read_again() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="still here")
        host = ann._library.host(space)
        index = host.documents.find(INDEX_DOC_ID)
        assert index is not None
        index.replica._poison("native code failed")
        host.poisoned(INDEX_DOC_ID, ReplicaPoisoned("native code failed"))

        await until(lambda: host.documents.find(INDEX_DOC_ID))
        assert await text_of(ann, doc) == "still here"
        await ann.update_document(doc, title="Renamed")
        assert ann.document(doc).title == "Renamed"


async def test_reading_sealed_envelopes_again_happens_once_at_a_time() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        host = ann._library.host(space)
        await until(lambda: not host._is_reopening)
        reads = 0
        unopened = anns.store.unopened

        async def count(space_id: SpaceId) -> Sequence[EnvelopeRow]:
            nonlocal reads
            reads += 1
            return await unopened(space_id)

        anns.store.unopened = count  # type: ignore[method-assign]  # to count
        for _ in range(50):
            host.reopen_wanted()
        await until(lambda: reads and not host._is_reopening)
        assert reads == 2  # the one under way, and one for all that asked meanwhile
