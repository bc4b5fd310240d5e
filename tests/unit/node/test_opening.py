"""Opening documents while other things happen: no words lost, one actor per document, no opening stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pycrdt
import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.ports import EnvelopeRow
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Listener, Machine, MemoryKeyStore, new_text, running, text_of, until


class GatedStore(MemoryStore):
    """Reads of a document's envelopes wait at a gate, before or after they have looked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.reading = 0
        self.fail_reads_with: BaseException | None = None

    async def envelopes_of(
        self, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int]
    ) -> Sequence[EnvelopeRow]:
        rows = await super().envelopes_of(space_id, doc_id, after)
        self.reading += 1
        await self.gate.wait()
        self.reading -= 1
        if self.fail_reads_with is not None:
            raise self.fail_reads_with
        return rows

    def hold(self) -> None:
        """From now on reads wait, having seen what is stored now."""
        self.gate.clear()


def gated(lan: MemoryLan, name: str) -> tuple[Machine, GatedStore]:
    store = GatedStore()
    return Machine(name, lan.port(), store, MemoryKeyStore()), store


def typed(text: str, client_id: int = 77) -> bytes:
    tab = pycrdt.Doc(client_id=client_id)
    tab.get("text", type=pycrdt.Text).insert(0, text)
    return tab.get_update()


async def test_words_sealed_while_their_document_is_read_are_in_it() -> None:
    ann_machine, store = gated(MemoryLan(), "ann")
    async with running(ann_machine) as [ann]:
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="typed offline")
        host = ann._library.host(space)
        assert host.unsent_count > 0
        store.hold()
        reading = asyncio.create_task(text_of(ann, doc))
        await until(lambda: store.reading)
        host.seal_now()  # somebody connects
        await host.flush()
        assert host.unsent_count == 0
        store.gate.set()
        assert await reading == "typed offline"


async def test_two_that_open_a_document_at_once_share_it() -> None:
    ann_machine, store = gated(MemoryLan(), "ann")
    async with running(ann_machine) as [ann]:
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        store.hold()
        reading = asyncio.create_task(text_of(ann, doc))
        await until(lambda: store.reading)
        opening = asyncio.create_task(ann.open_document(doc, Listener()))
        await asyncio.sleep(0)
        store.gate.set()
        assert await reading == ""
        first = await opening
        shown = Listener()
        second = await ann.open_document(doc, shown)
        await first.submit(typed("for both"))
        await ann._library.host(space).flush()
        assert len(shown.updates) == 1
        assert await text_of(ann, doc) == "for both"
        await first.close()
        await second.close()
        assert ann._library.host(space).documents.find(doc) is None


async def test_a_tab_that_leaves_while_its_document_loads_does_not_block_the_next() -> None:
    ann_machine, store = gated(MemoryLan(), "ann")
    async with running(ann_machine) as [ann]:
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="still here")
        store.hold()
        impatient = asyncio.create_task(ann.open_document(doc, Listener()))
        await until(lambda: store.reading)
        waiting = asyncio.create_task(text_of(ann, doc))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        store.gate.set()
        async with asyncio.timeout(2):
            assert await waiting == "still here"
            assert await text_of(ann, doc) == "still here"


@pytest.mark.parametrize("failure", [StorageFailure("the disk is gone"), RuntimeError("a bug")])
async def test_a_failed_loading_is_told_and_tried_again_by_the_next(failure: Exception) -> None:
    ann_machine, store = gated(MemoryLan(), "ann")
    async with running(ann_machine) as [ann]:
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="still here")
        store.fail_reads_with = failure
        store.hold()
        tries = [asyncio.create_task(text_of(ann, doc)) for _ in range(2)]
        await until(lambda: store.reading)
        store.gate.set()
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(failure), type(failure)]
        store.fail_reads_with = None
        async with asyncio.timeout(2):
            assert await text_of(ann, doc) == "still here"
