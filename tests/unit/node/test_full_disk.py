"""A disk that takes nothing: what is stored is served, what is new is refused, and all heals by itself."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pycrdt
import pytest

from sheaf.core.base.errors import DiskFull, StorageFailure
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.node import storage_watch
from sheaf.node.events import EventSubscription
from sheaf.node.node import Node
from sheaf.node.space_host import RestoredSpace
from sheaf.node.unit_of_work import Committer
from sheaf.node.views import CloseCode, JoinState
from sheaf.ports import SnapshotRow, WriteBatch
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Listener, Machine, join, machine, new_text, running, text_of, until

FULL = DiskFull("The disk is full: nothing you write now is saved.")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_watch, "RETRY_S", 0.02)
    monkeypatch.setattr(storage_watch, "LOOK_S", 0.02)


def store_of(of: Machine) -> MemoryStore:
    assert isinstance(of.store, MemoryStore)
    return of.store


async def fill(of: Machine, node: Node, doc: DocId) -> None:
    """The disk is full from now on, and the daemon has met it."""
    store_of(of).fail_commits_with = FULL
    with pytest.raises(StorageFailure, match="The disk is full"):
        await node.append_content(doc, "not saved", agent=None)
    await until(lambda: node.storage().state == "read_only")


async def heard(events: EventSubscription, state: str) -> None:
    async for event in events:
        if event.kind == "storage_changed" and event.data["state"] == state:
            return


def update_of(text: str) -> bytes:
    source = pycrdt.Doc()
    source["text"] = pycrdt.Text(text)
    return source.get_update()


def is_open(node: Node) -> bool:
    return all(view.state == "ready" for view in node.spaces())


async def test_lists_stay_and_reading_goes_on_while_the_disk_is_full() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        other = (await ann.create_space("Work")).space_id
        doc = await new_text(ann, space, title="Diary", content="kept")
        await fill(anns, ann, doc)
        await until(lambda: is_open(ann))
        assert [view.name for view in ann.spaces()] == ["Home", "Work"]
        assert [view.title for view in ann.documents(space)] == ["Diary"]
        assert ann.documents(other) == []
        assert await text_of(ann, doc) == "kept"
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        assert len(handle.diff(b"\0")) > 2
        assert listener.ended is None


async def test_the_list_never_lacks_a_space_while_its_commit_fails_and_it_is_read_again() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        seen: list[tuple[str, ...]] = []

        def look() -> bool:
            seen.append(tuple(view.name for view in ann.spaces()))
            return ann.storage().state == "read_only"

        store_of(anns).fail_commits_with = FULL
        with pytest.raises(StorageFailure):
            await ann.append_content(doc, "not saved", agent=None)
        await until(look)
        store_of(anns).fail_commits_with = None

        def is_well() -> bool:
            seen.append(tuple(view.name for view in ann.spaces()))
            return ann.storage().state == "ok"

        await until(is_well)
        assert set(seen) == {("Home",)}


async def test_every_kind_of_change_is_refused_in_words_and_none_shows() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, title="Diary", content="kept")
        await fill(anns, ann, doc)
        await until(lambda: is_open(ann))
        for change in (
            lambda: ann.append_content(doc, "x", agent=None),
            lambda: ann.update_document(doc, title="Other"),
            lambda: ann.create_space("Other"),
            lambda: ann.rename_space(space, "Other"),
            lambda: ann.leave_space(space),
            lambda: ann.update_profile(user_name="Other"),
            lambda: ann.update_profile(share_seen=False),
            lambda: new_text(ann, space),
        ):
            with pytest.raises(StorageFailure, match="The disk is full"):
                await change()  # type: ignore[no-untyped-call]
        assert [view.name for view in ann.spaces()] == ["Home"]
        assert [view.title for view in ann.documents(space)] == ["Diary"]
        assert await text_of(ann, doc) == "kept"
        assert (ann.profile().user_name, ann.profile().share_seen) == ("ann", True)


async def test_all_heals_by_itself_when_there_is_room_and_is_told() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        spaces = [(await ann.create_space(name)).space_id for name in ("Home", "Work")]
        docs = [await new_text(ann, space, content="kept") for space in spaces]
        events = ann.events.subscribe()
        await fill(anns, ann, docs[0])
        await heard(events, "read_only")
        store_of(anns).fail_commits_with = None
        await heard(events, "ok")
        for doc in docs:
            await ann.append_content(doc, "and new", agent=None)
            assert await text_of(ann, doc) == "kept\nand new\n"
    async with running(anns) as (ann,):
        assert [await text_of(ann, doc) for doc in docs] == ["kept\nand new\n"] * 2


async def test_a_tab_with_nothing_new_reads_on_and_one_with_new_words_is_asked_to_come_back() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        await fill(anns, ann, doc)
        await until(lambda: is_open(ann))
        reader, writer = Listener(), Listener()
        reading = await ann.open_document(doc, reader)
        everything = reading.diff(b"\0")
        await reading.submit(everything)  # what a tab answers to the daemon's state vector
        await until(lambda: reader.frames == 1)
        writing = await ann.open_document(doc, writer)
        with pytest.raises(StorageFailure, match="The disk is full"):
            await writing.submit(update_of("new words"))
        assert await text_of(ann, doc) == "kept"
        assert reader.ended is None
        store_of(anns).fail_commits_with = None
        await until(lambda: reader.ended is not None)  # to be opened again, for writing
        assert reader.ended is not None
        assert reader.ended[0] is CloseCode.STORAGE_FAILED
        again = Listener()
        await (await ann.open_document(doc, again)).submit(update_of("new words"))
        await until(lambda: again.frames == 1)
        assert "new words" in await text_of(ann, doc)


async def test_a_deletion_is_something_new_too() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        handle = await ann.open_document(doc, Listener())
        source: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        source.apply_update(handle.diff(b"\0"))
        del source.get("text", type=pycrdt.Text)[0:2]
        await fill(anns, ann, doc)
        await until(lambda: is_open(ann))
        handle = await ann.open_document(doc, Listener())
        with pytest.raises(StorageFailure):
            await handle.submit(source.get_update())
        assert await text_of(ann, doc) == "kept"


async def test_a_start_on_a_full_disk_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
    store = store_of(anns)
    store.fail_commits_with = FULL

    async def no_room() -> int:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(store, "free_bytes", no_room)
        ann = await anns.start()
        assert ann.storage().state == "read_only"
        assert [view.name for view in ann.spaces()] == ["Home"]
        assert await text_of(ann, doc) == "kept"
        with pytest.raises(StorageFailure, match="The disk is full"):
            await ann.append_content(doc, "x", agent=None)
    store.fail_commits_with = None
    await until(lambda: ann.storage().state == "ok")
    await ann.append_content(doc, " and new", agent=None)
    await ann.close()


async def test_little_room_is_said_before_it_is_none() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        assert ann.storage().state == "ok"
        events = ann.events.subscribe()
        store_of(anns).free = 30_000_000
        await heard(events, "low")
        assert "almost full" in (ann.storage().detail or "")
        assert ann.metrics()["storage_free_bytes"] == 30_000_000
        store_of(anns).free = 300_000_000
        await heard(events, "ok")


async def test_the_watchdogs_probe_writes_nothing_and_lives_on_a_full_disk() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        before = store_of(anns).commits
        await ann.probe()
        assert store_of(anns).commits == before
        store_of(anns).fail_commits_with = FULL
        await ann.probe()


async def test_a_peer_gets_what_is_here_from_a_full_disk_and_gives_its_own_later() -> None:
    lan = MemoryLan()
    anns, bobs = machine(lan, "ann"), machine(lan, "bob")
    async with running(anns, bobs) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space, content="first")
        await until(lambda: bob.documents(space))
        store_of(bobs).fail_commits_with = FULL
        await ann.append_content(doc, "from ann", agent=None)
        await until(lambda: bob.storage().state == "read_only")
        await fill(anns, ann, doc)
        store_of(bobs).fail_commits_with = None

        async def has_come() -> bool:
            return "from ann" in await text_of(bob, doc)

        await until(has_come)
        await bob.append_content(doc, "from bob", agent=None)
        assert "from bob" not in await text_of(ann, doc)
        store_of(anns).fail_commits_with = None

        async def is_equal() -> bool:
            return await text_of(ann, doc) == await text_of(bob, doc)

        await until(is_equal)
        assert "from bob" in await text_of(ann, doc)


async def test_what_was_on_its_way_when_another_space_found_the_disk_full_is_not_lost() -> None:
    """A unit that was open when changes were refused is still committed; nothing is added to it."""
    done: list[str] = []
    store = MemoryStore()
    committer = Committer(store=store, prepare=lambda _: None, on_failure=lambda failure: None)
    committer.unit.batch.settings["a"] = b"1"
    committer.after_commit(lambda: done.append("a"))
    committer.refuse(FULL)
    with pytest.raises(DiskFull):
        _ = committer.unit
    running = asyncio.ensure_future(committer.run())
    await committer.flush()
    running.cancel()
    assert (done, await store.setting("a")) == (["a"], b"1")


async def test_a_space_that_is_left_on_a_full_disk_stays() -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space: SpaceId = (await ann.create_space("Home")).space_id
        store_of(anns).fail_commits_with = FULL  # nobody has met it yet
        with pytest.raises(StorageFailure):
            await ann.leave_space(space)
        assert [view.name for view in ann.spaces()] == ["Home"]
        store_of(anns).fail_commits_with = None
        await until(lambda: ann.storage().state == "ok")
        assert ann.space(space).state == "ready"


async def test_who_is_invited_to_a_full_disk_is_told_to_come_back_and_gets_in_then() -> None:
    lan = MemoryLan()
    anns = machine(lan, "ann")
    async with running(anns, machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        invitation = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert invitation.ticket is not None
        await fill(anns, ann, doc)
        join_id = (await bob.join(invitation.ticket)).join_id
        await until(lambda: bob.join_status(join_id).state is JoinState.FAILED)
        assert "cannot save anything now" in str(bob.join_status(join_id).error)
        store_of(anns).fail_commits_with = None
        await until(lambda: ann.storage().state == "ok")
        again = (await bob.join(invitation.ticket)).join_id
        await until(lambda: bob.join_status(again).state is JoinState.DONE)
        assert [view.name for view in bob.spaces()] == ["Home"]


async def test_a_disk_that_comes_and_goes_loses_and_doubles_nothing(seeded_random: random.Random) -> None:
    anns = machine(MemoryLan(), "ann")
    saved: list[str] = []
    async with running(anns) as (ann,):
        spaces = [(await ann.create_space(name)).space_id for name in ("Home", "Work")]
        docs = [await new_text(ann, space) for space in spaces]

        async def write(doc: DocId, name: str) -> None:
            for number in range(60):
                with suppress(StorageFailure):
                    await ann.append_content(doc, f"{name}.{number}", agent=None)
                    saved.append(f"{name}.{number}")
                await asyncio.sleep(seeded_random.random() * 0.01)

        async def come_and_go() -> None:
            while True:
                await asyncio.sleep(seeded_random.random() * 0.03)
                store_of(anns).fail_commits_with = None if store_of(anns).fail_commits_with else FULL

        faults = asyncio.ensure_future(come_and_go())
        await asyncio.gather(*(write(doc, name) for doc, name in zip(docs, "hw", strict=True)))
        faults.cancel()
        store_of(anns).fail_commits_with = None
        await until(lambda: ann.storage().state == "ok" and is_open(ann))
        shown = [await text_of(ann, doc) for doc in docs]
    assert 5 < len(saved) < 120
    assert sorted(" ".join(shown).split()) == sorted(saved)
    async with running(anns) as (ann,):
        assert [await text_of(ann, doc) for doc in docs] == shown


async def test_a_space_that_cannot_be_opened_again_does_not_keep_the_others_read_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        spaces = [(await ann.create_space(name)).space_id for name in ("Home", "Work")]
        docs = [await new_text(ann, space, content="kept") for space in spaces]
        await fill(anns, ann, docs[1])
        await until(lambda: is_open(ann))
        restore = ann._library._restore

        async def defective(space_id: SpaceId) -> RestoredSpace:
            if space_id == spaces[0]:
                raise ValueError("a defect")
            return await restore(space_id)

        monkeypatch.setattr(ann._library, "_restore", defective)
        store_of(anns).fail_commits_with = None
        await until(lambda: ann._library.host(spaces[1]).refusal is None)
        assert ann.storage().state == "failed"
        await ann.append_content(docs[1], "and new", agent=None)
        assert {view.name: view.state for view in ann.spaces()} == {"Home": "unavailable", "Work": "ready"}


async def test_a_document_that_was_being_read_when_its_space_was_renewed_is_open_in_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anns = machine(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        other = await new_text(ann, space)
        await fill(anns, ann, other)
        await until(lambda: is_open(ann))
        snapshot = store_of(anns).snapshot
        is_reading, go_on = asyncio.Event(), asyncio.Event()

        async def slow(space_id: SpaceId, doc_id: DocId) -> SnapshotRow | None:
            if doc_id == doc and not is_reading.is_set():
                is_reading.set()
                await go_on.wait()
            return await snapshot(space_id, doc_id)

        monkeypatch.setattr(store_of(anns), "snapshot", slow)
        listener = Listener()
        opening = asyncio.ensure_future(ann.open_document(doc, listener))
        await is_reading.wait()
        store_of(anns).fail_commits_with = None
        await until(lambda: ann.storage().state == "ok")
        go_on.set()
        handle = await opening
        await ann.append_content(doc, "and new", agent=None)
        assert listener.updates or listener.ended, "the tab shows what is no longer there"
        await handle.submit(update_of("from the tab"))
        await until(lambda: listener.frames == 1)


async def test_a_space_that_fails_while_the_daemon_stops_keeps_no_other_one_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anns = machine(MemoryLan(), "ann")
    store = store_of(anns)
    async with running(anns) as (ann,):
        spaces = [(await ann.create_space(name)).space_id for name in ("Home", "Work", "Club")]
        docs = [await new_text(ann, space) for space in spaces]
        commit, close, is_stopping = store.commit, ann._library.close, asyncio.Event()

        async def defective(batch: WriteBatch) -> None:
            await is_stopping.wait()
            if any(row.space_id == spaces[0] for row in batch.pending):
                raise ValueError("a defect")
            await until(lambda: ann._library.find(spaces[0]) is None)
            await commit(batch)

        async def stop() -> None:
            asyncio.get_running_loop().call_soon(is_stopping.set)
            await close()

        monkeypatch.setattr(store, "commit", defective)
        monkeypatch.setattr(ann._library, "close", stop)
        for doc in docs:
            handle = await ann.open_document(doc, Listener())
            await handle.submit(update_of("last words"))
    monkeypatch.undo()
    async with running(anns) as (ann,):
        assert [await text_of(ann, doc) for doc in docs[1:]] == ["last words"] * 2
