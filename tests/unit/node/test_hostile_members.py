"""Members who break the rules: the daemon stays up, keeps them out, and says so."""

from __future__ import annotations

import pycrdt

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.protocol.presence import AwarenessEntry, encode_awareness
from sheaf.core.space.payload import PayloadItem, PayloadKind
from sheaf.node.node import Node
from sheaf.node.space_rows import envelope_row, log_rows
from tests.support.memory_network import MemoryLan
from tests.support.nodes import Listener, join, machine, new_text, running, text_of, until


def seal_raw(node: Node, space_id: SpaceId, doc_id: DocId, update: bytes) -> None:
    """What a member with a changed program can do: seal bytes its own daemon would refuse."""
    host = node._library.host(space_id)
    unit = host._committer.unit
    result = host._sealer._writer.seal([PayloadItem(doc_id, PayloadKind.UPDATE, update)], hlc_ms=1)
    unit.batch.logs.extend(log_rows(space_id, result.log_states))
    unit.batch.envelopes.extend(envelope_row(space_id, envelope) for envelope in result.envelopes)
    host._fresh.extend(result.envelopes)


def nested(levels: int) -> bytes:
    """An update whose one item holds an array nested `levels` deep."""
    value = b"\x75\x01" * levels + b"\x7e"
    return b"\x01\x01\x05\x00\x08\x01\x04text\x01" + value + b"\x00"


async def test_a_hostile_update_is_quarantined_and_everything_else_goes_on() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "mal")) as (ann, mal):
        space = (await ann.create_space("Home")).space_id
        await join(ann, mal, space)
        doc, other = await new_text(ann, space, content="safe"), await new_text(ann, space, "Other")
        events = ann.events.subscribe()
        seal_raw(mal, space, doc, nested(15_000))
        store = ann._library.host(space)._store
        async for event in events:
            if event.kind == "quarantined":
                break
        await ann._library.host(space).flush()
        assert [row.reason for row in await store.quarantined(space)] != []
        assert await text_of(ann, doc) == "safe"
        await until(lambda: len(mal.documents(space)) == 2)
        await mal.append_content(other, "an honest word", agent=None)

        async def has_come() -> bool:
            return "honest" in await text_of(ann, other)

        await until(has_come)
        events.close()


async def test_writing_in_another_devices_name_is_held_from_tabs_and_refused_from_peers() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "mal")) as (ann, mal):
        space = (await ann.create_space("Home")).space_id
        await join(ann, mal, space)
        doc = await new_text(ann, space)
        tab = pycrdt.Doc(client_id=77)
        text = tab.get("text", type=pycrdt.Text)
        text.insert(0, "ann's words")
        handle = await ann.open_document(doc, Listener())
        await handle.submit(tab.get_update())
        await until(lambda: mal.documents(space))

        async def has_come() -> bool:
            return await text_of(mal, doc) == "ann's words"

        await until(has_come)
        text.insert(0, "not by ann: ")
        forged = tab.get_update()
        listener = Listener()
        elsewhere = await mal.open_document(doc, listener)
        await elsewhere.submit(forged)  # held, until ann's own envelope brings it
        await mal._library.host(space).flush()
        assert await text_of(mal, doc) == "ann's words"
        assert listener.ended is None
        seal_raw(mal, space, doc, forged)
        store = ann._library.host(space)._store
        events = ann.events.subscribe()
        async for event in events:
            if event.kind == "quarantined":
                break
        await ann._library.host(space).flush()
        assert len(await store.quarantined(space)) == 1
        assert await text_of(ann, doc) == "ann's words"
        events.close()


async def test_presence_reaches_the_other_machine_and_ends_with_the_tab() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        await join(ann, bob, space)
        here, there = Listener(), Listener()
        one, two = await ann.open_document(doc, here), await bob.open_document(doc, there)
        one.awareness(encode_awareness([AwarenessEntry(7, 1, '{"user":{"name":"Ann"}}')]))
        await until(lambda: there.presence)
        assert b"Ann" in there.presence[-1]
        assert b"Ann" in here.presence[-1]
        await one.close()
        await until(lambda: len(there.presence) == 2)
        assert b"null" in there.presence[-1]
        await two.close()


async def test_who_opens_a_page_is_told_who_has_it_open_elsewhere_though_nobody_moves() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        await join(ann, bob, space)
        await until(lambda: bob.documents(space))
        here, there, early = Listener(), Listener(), Listener()
        handles = [await ann.open_document(doc, here), await bob.open_document(doc, early)]
        handles[0].awareness(encode_awareness([AwarenessEntry(7, 1, '{"user":{"name":"Ann"}}')]))
        await until(lambda: early.presence)  # it came, and is forgotten with the page
        await handles[1].close()
        late = await bob.open_document(doc, there)
        late.awareness(encode_awareness([AwarenessEntry(8, 1, '{"user":{"name":"Bob"}}')]))
        await until(lambda: any(b"Ann" in data for data in there.presence))
        await until(lambda: any(b"Bob" in data for data in here.presence))
        await handles[0].close()
        await late.close()


async def test_nobody_can_take_the_client_id_that_a_tabs_presence_shows_before_its_first_word() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "mal")) as (ann, mal):
        space = (await ann.create_space("Home")).space_id
        await join(ann, mal, space)
        doc, other = await new_text(ann, space), await new_text(ann, space, "Other")
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        handle.awareness(encode_awareness([AwarenessEntry(77, 1, '{"user":{"name":"Ann"}}')]))
        squat = pycrdt.Doc(client_id=77)
        squat.get("text", type=pycrdt.Text).insert(0, "mine now")
        events = ann.events.subscribe()
        seal_raw(mal, space, other, squat.get_update())
        async for event in events:
            if event.kind == "quarantined":
                break
        tab = pycrdt.Doc(client_id=77)
        tab.get("text", type=pycrdt.Text).insert(0, "ann's words")
        await handle.submit(tab.get_update())
        await until(lambda: listener.frames == 1)
        assert await text_of(ann, doc) == "ann's words"
        assert await text_of(ann, other) == ""
        events.close()
        await handle.close()
