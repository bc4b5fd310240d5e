"""What a tab brought too early counts as saved when it is, and never before."""

from __future__ import annotations

import asyncio

import pycrdt
import pytest

from sheaf.core.base.ids import DeviceId, LogId
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.replica import merge_updates
from sheaf.node.document_actor import Delivery
from sheaf.node.views import CloseCode
from tests.support.memory_network import MemoryLan
from tests.support.nodes import Listener, machine, new_text, running, text_of

LONG = "x" * 3_000_000
"""A dozen pieces."""


def typed(doc: pycrdt.Doc[pycrdt.Text], words: str) -> bytes:
    before = doc.get_state()
    text = doc.get("text", type=pycrdt.Text)
    text.insert(len(str(text).encode()), words)
    return doc.get_update(before)


async def test_words_that_wait_when_their_writer_becomes_a_reader_are_not_called_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(machine(MemoryLan(), "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        host = ann._library.host(space)
        one: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=1)
        two: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=2)
        first = typed(one, "first ")
        two.apply_update(first)
        second = typed(two, "second ")
        listener = Listener()
        waiting, other = await ann.open_document(doc, listener), await ann.open_document(doc, Listener())
        await waiting.submit(second)
        await other.submit(first)
        with monkeypatch.context() as patch:
            patch.setattr(host, "can_write", lambda: False)
            await host.flush()
        three: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=3)
        await waiting.submit(typed(three, "third "))
        await host.flush()
        assert "second" not in await text_of(ann, doc)
        assert listener.frames == 0
        assert listener.ended is not None, "the tab is not told to come again, so that nothing asks for it"
        assert listener.ended[0] is CloseCode.TOO_SLOW


async def test_words_count_as_saved_only_when_their_last_piece_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else the tab waits for comes while what it brought goes in piece by piece."""
    async with running(machine(MemoryLan(), "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        host = ann._library.host(space)
        one: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=1)
        first = typed(one, "first ")
        two: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=2)
        two.apply_update(first)
        foreign: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=9)
        theirs = typed(foreign, "theirs ")
        host.claims._owners[9] = DeviceId(bytes(32))
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        actor = host.documents.find(doc)
        assert actor is not None
        saved_early: list[int] = []

        def committed(frames: int, state_vector: bytes) -> None:
            if frames and actor.replica.clock_of(2) < len(LONG):
                saved_early.append(frames)

        monkeypatch.setattr(listener, "committed", committed)
        await handle.submit(typed(two, LONG))  # waits for `first`
        bringing = asyncio.ensure_future(handle.submit(merge_updates([first, theirs])))
        while not actor.replica.clock_of(2):  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(0)
        summary = inspect_update(theirs)
        actor.deliver(Delivery(theirs, summary, LogId(bytes(16)), 0, refused=lambda _: None))
        await bringing
        await host.flush()
        assert saved_early == []
        assert actor.replica.clock_of(2) == len(LONG)
