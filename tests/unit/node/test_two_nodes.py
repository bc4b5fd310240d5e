"""Two and three nodes on one in-memory network: joining, writing, offline, roles, failures."""

from __future__ import annotations

import asyncio

import pycrdt
import pytest

from sheaf.core.base.errors import NotAllowed, NotFound, StorageFailure, UpdateRefused, UsageError
from sheaf.core.base.ids import DocId
from sheaf.core.space.roles import Role
from sheaf.node.node import Node
from sheaf.node.views import CloseCode, ContentFormat, DocType, JoinState, PeerState
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Listener, join, machine, new_text, running, text_of, until


async def test_a_joiner_receives_what_was_written_before_and_after() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="before")
        await join(ann, bob, space)
        assert bob.space(space).name == "Home"
        assert bob.space(space).role is Role.EDITOR
        assert await text_of(bob, doc) == "before"
        await bob.append_content(doc, "after", agent=None)
        await until(lambda: ann.documents(space)[0].updated_ms > 0)
        await _equal(ann, bob, doc, "before\nafter\n")


async def _equal(first: Node, second: Node, doc: DocId, text: str) -> None:
    async def is_equal() -> bool:
        return [await text_of(node, doc) for node in (first, second)] == [text, text]

    await until(is_equal)


async def test_titles_and_places_travel_and_concurrent_ones_both_stay() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        page = await ann.create_document(space, title="Plan", type=DocType.PAGE, parent_id=None)
        child = await ann.create_document(space, title="Child", type=DocType.PAGE, parent_id=page.document_id)
        await until(lambda: len(bob.documents(space)) == 2)
        await lan.cut()
        await until(lambda: not bob.peers() or bob.peers()[0].state is not PeerState.LIVE)
        await ann.update_document(child.document_id, title="Renamed")
        await bob.update_document(child.document_id, parent_id=None)
        lan.mend()
        for node in (ann, bob):
            await until(
                lambda node=node: (
                    (  # type: ignore[misc]
                        node.document(child.document_id).title,
                        node.document(child.document_id).parent_id,
                    )
                    == ("Renamed", None)
                )
            )


async def test_what_is_written_while_apart_meets_when_the_link_is_back() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="middle\n")
        await join(ann, bob, space)
        await lan.cut()
        for number in range(50):
            await ann.append_content(doc, f"ann {number}", agent=None)
            await bob.append_content(doc, f"bob {number}", agent=None)
        assert ann.status().storage.unsent_edits > 0
        lan.mend()

        async def is_equal() -> bool:
            return await text_of(ann, doc) == await text_of(bob, doc)

        await until(lambda: ann.status().storage.unsent_edits == 0)
        await until(is_equal, timeout_s=20)
        lines = (await text_of(ann, doc)).splitlines()
        for who in ("ann", "bob"):
            assert [line for line in lines if line.startswith(who)] == [f"{who} {n}" for n in range(50)]


async def test_a_restarted_node_has_everything_and_opens_a_new_log() -> None:
    lan = MemoryLan()
    anns, bobs = machine(lan, "ann"), machine(lan, "bob")
    async with running(bobs) as (bob,):
        ann = await anns.start()
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space, content="one")
        await until(lambda: bob.documents(space))
        await ann.close()
        again = await anns.start()
        try:
            await again.append_content(doc, "two", agent=None)
            await _equal(again, bob, doc, "one\ntwo\n")
            assert again.metrics()["logs"] == 2
        finally:
            await again.close()


async def test_a_reader_sees_but_cannot_write() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "rita")) as (ann, rita):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="for your eyes")
        await join(ann, rita, space, Role.READER)
        assert await text_of(rita, doc) == "for your eyes"
        with pytest.raises(NotAllowed):
            await rita.append_content(doc, "not mine to write", agent=None)
        handle = await rita.open_document(doc, Listener())
        assert not handle.can_write
        update = pycrdt.Doc()
        update["text"] = pycrdt.Text("x")
        with pytest.raises(NotAllowed):
            await handle.submit(update.get_update())
        with pytest.raises(NotAllowed):
            await rita.create_invitation(space, role=Role.READER, expires_in_s=None, max_uses=1)
        await handle.close()


async def test_an_invitation_is_used_up_and_can_be_withdrawn() -> None:
    lan = MemoryLan()
    everybody = [machine(lan, name) for name in ("ann", "bob", "eve")]
    async with running(*everybody) as (ann, bob, eve):
        space = (await ann.create_space("Home")).space_id
        single = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert single.ticket is not None
        view = await bob.join(single.ticket)
        await until(lambda: bob.join_status(view.join_id).state is JoinState.DONE)
        assert ann.invitations(space) == []

        other = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        await ann.revoke_invitation(space, other.op_id)
        assert other.ticket is not None
        for ticket in (single.ticket, other.ticket):
            attempt = await eve.join(ticket)
            await asyncio.sleep(0)
            await eve.cancel_join(attempt.join_id)
            assert eve.join_status(attempt.join_id).state is JoinState.FAILED
        assert eve.spaces() == []
        assert len(ann.members(space)) == 2


async def test_a_damaged_ticket_is_refused_with_words() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        with pytest.raises(UsageError, match="ticket"):
            await ann.join("sheaf1notaticket")


async def test_three_nodes_agree_whoever_writes() -> None:
    lan = MemoryLan()
    everybody = [machine(lan, name) for name in ("ann", "bob", "cid")]
    async with running(*everybody) as (ann, bob, cid):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        await join(ann, bob, space)
        await join(ann, cid, space)
        for number, node in enumerate((ann, bob, cid) * 3):
            await node.append_content(doc, f"line {number}", agent=None)

        async def is_equal() -> bool:
            texts = {await text_of(node, doc) for node in (ann, bob, cid)}
            return len(texts) == 1 and len(texts.pop().splitlines()) == 9

        await until(is_equal)
        assert {view.state for view in bob.peers()} == {PeerState.LIVE}


async def test_a_tab_is_acknowledged_after_the_commit_and_the_others_are_shown() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        first, second = Listener(), Listener()
        one, two = await ann.open_document(doc, first), await ann.open_document(doc, second)
        source = pycrdt.Doc()
        source["text"] = pycrdt.Text("hello")
        await one.submit(source.get_update())
        await until(lambda: first.frames == 1)
        assert first.updates == []
        assert len(second.updates) == 1
        await two.submit(source.get_update())  # an echo: nothing new, still acknowledged
        await until(lambda: second.frames == 1)
        assert first.updates == []
        for handle in (one, two):
            await handle.close()


async def test_an_update_that_came_too_early_waits_for_what_it_builds_on() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        source = pycrdt.Doc()
        text = source.get("text", type=pycrdt.Text)
        updates: list[bytes] = []
        subscription = source.observe(lambda event: updates.append(event.update))
        text.insert(0, "first")
        text.insert(5, " second")
        await handle.submit(updates[1])
        assert len(listener.asked) == 1
        assert listener.frames == 0
        await handle.submit(source.get_update(listener.asked[0]))
        await until(lambda: listener.frames == 2)
        assert await text_of(ann, doc) == "first second"
        source.unobserve(subscription)
        await handle.close()


async def test_a_waiting_update_is_not_counted_as_saved_when_a_later_one_is() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        source = pycrdt.Doc()
        text = source.get("text", type=pycrdt.Text)
        updates: list[bytes] = []
        subscription = source.observe(lambda event: updates.append(event.update))
        text.insert(0, "first")
        text.insert(5, " second")
        unrelated = pycrdt.Doc()
        unrelated["text"] = pycrdt.Text("other words")
        await handle.submit(updates[1])
        await handle.submit(unrelated.get_update())
        await ann._library.host(space).flush()
        assert listener.frames == 0  # frame 1 is in memory only
        await handle.submit(source.get_update())
        await until(lambda: listener.frames == 3)
        source.unobserve(subscription)
        await handle.close()


async def test_a_hostile_update_is_refused_and_changes_nothing() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="safe")
        handle = await ann.open_document(doc, Listener())
        with pytest.raises(UpdateRefused):
            await handle.submit(b"\x01\x01\xff\xff\xff\xff\x0f\x00" + b"\x00" * 20)
        assert await text_of(ann, doc) == "safe"
        await handle.close()


async def test_a_failing_disk_closes_the_tabs_and_the_space_comes_back() -> None:
    lan = MemoryLan()
    anns = machine(lan, "ann")
    assert isinstance(anns.store, MemoryStore)
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="kept")
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        anns.store.fail_commits_with = StorageFailure("the disk is full")
        source = pycrdt.Doc()
        source["text"] = pycrdt.Text("lost on purpose")
        await handle.submit(source.get_update())
        await until(lambda: listener.ended is not None)
        assert listener.ended is not None
        assert listener.ended[0] is CloseCode.STORAGE_FAILED
        assert listener.frames == 0
        assert ann.status().storage.state == "read_only"
        anns.store.fail_commits_with = None
        await until(lambda: ann.status().storage.state == "ok")
        assert await text_of(ann, doc) == "kept"


async def test_leaving_forgets_the_space_and_its_documents() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="gone soon")
        listener = Listener()
        await ann.open_document(doc, listener)
        await ann.leave_space(space)
        assert listener.ended is not None
        assert listener.ended[0] is CloseCode.GONE
        assert ann.spaces() == []
        with pytest.raises(NotFound):
            ann.document(doc)


async def test_markdown_written_to_a_page_reads_back() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        page = await ann.create_document(space, title="Page", type=DocType.PAGE, parent_id=None)
        source = "# Title\n\nSome **bold** words.\n\n- one\n- two\n"
        await ann.write_content(page.document_id, ContentFormat.MARKDOWN, source.encode(), agent=None)
        assert (await ann.read_content(page.document_id, ContentFormat.MARKDOWN)).decode() == source


async def test_a_new_name_reaches_the_other_members() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        await bob.update_profile(user_name="Robert")
        await until(lambda: "Robert" in {member.name for member in ann.members(space)})


async def test_a_connection_lost_before_the_greeting_is_tried_again() -> None:
    lan = MemoryLan()
    anns, bobs = machine(lan, "ann"), machine(lan, "bob")
    async with running(anns, bobs) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        await lan.cut()
        await until(lambda: all(peer.state is not PeerState.LIVE for peer in ann.peers() + bob.peers()))
        lan.is_mute = 1  # the next channel carries nothing and breaks
        lan.mend()
        await until(lambda: bob.peers()[0].state is PeerState.LIVE)
        assert lan.is_mute == 0
