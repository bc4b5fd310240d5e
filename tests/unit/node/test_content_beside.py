"""Content work beside the event loop: what others type meanwhile stays, and nothing is half done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pycrdt
import pytest

from sheaf.content_work.task import Action, ContentTask, ResultT, perform
from sheaf.core.base.errors import Busy, NotAllowed, TooMuchWork
from sheaf.core.base.ids import DocId
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.space.roles import Role
from sheaf.node.node import Node
from sheaf.node.open_documents import BORROWERS_MAX
from sheaf.node.views import ContentFormat, DocType
from tests.support.memory_network import MemoryLan
from tests.support.nodes import Listener, join, machine, new_text, running, text_of, until

LONG = "".join(f"line {number} of a long text\n" for number in range(1000))


@dataclass
class SlowWorker:
    """Does nothing before it is told to go on; remembers what it was given."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[ContentTask] = field(default_factory=list)
    fails_with: Exception | None = None

    async def perform(self, task: ContentTask) -> bytes:
        """See `ContentWorker`."""
        self.tasks.append(task)
        await self.go_on.wait()
        if self.fails_with is not None:
            raise self.fails_with
        return perform(task)

    async def compute(self, call: Callable[[], ResultT]) -> ResultT:
        """See `ContentWorker`."""
        await asyncio.sleep(0)
        return call()


async def write(node: Node, doc: DocId, text: str) -> None:
    await node.write_content(doc, ContentFormat.TEXT, text.encode(), agent=None)


async def test_words_typed_while_a_text_is_compared_are_neither_lost_nor_doubled() -> None:
    slow = SlowWorker()
    home = machine(MemoryLan(), "ann")
    home.worker = slow
    async with running(home) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="begin\n")
        listener = Listener()
        handle = await ann.open_document(doc, listener)
        tab: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        tab.apply_update(await ann.read_content(doc, ContentFormat.YJS))
        writing = asyncio.ensure_future(write(ann, doc, "begin\n" + LONG))
        await until(lambda: slow.tasks)
        for number in range(30):
            before = tab.get_state()
            tab.get("text", type=pycrdt.Text).insert(0, f"typed{number} ")
            await handle.submit(tab.get_update(before))
        slow.go_on.set()
        await writing
        words = Counter((await text_of(ann, doc)).split())
        expected = Counter(("begin\n" + LONG).split()) + Counter(f"typed{number}" for number in range(30))
        assert words == expected
        await handle.close()


async def test_two_writers_of_one_document_take_turns_and_nothing_is_doubled() -> None:
    slow = SlowWorker()
    home = machine(MemoryLan(), "ann")
    home.worker = slow
    async with running(home) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="begin\n")
        writers = [asyncio.ensure_future(write(ann, doc, "begin\n" + LONG)) for _ in range(3)]
        await until(lambda: slow.tasks)
        assert len(slow.tasks) == 1
        slow.go_on.set()
        await asyncio.gather(*writers)
        assert await text_of(ann, doc) == "begin\n" + LONG
        assert len({task.client_id for task in slow.tasks}) == 1


async def test_a_document_that_a_tab_has_open_gets_one_client_id_however_often_it_is_written() -> None:
    async with running(machine(MemoryLan(), "ann")) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space)
        handle = await ann.open_document(doc, Listener())
        for number in range(5):
            await ann.append_content(doc, f"line {number}", agent=None)
        clients = inspect_update(await ann.read_content(doc, ContentFormat.YJS)).clients
        assert len(clients) == 1
        await handle.close()


async def test_work_that_is_given_up_changes_nothing_and_the_next_write_is_done() -> None:
    slow = SlowWorker(fails_with=TooMuchWork("longer than 20 s"))
    slow.go_on.set()
    home = machine(MemoryLan(), "ann")
    home.worker = slow
    async with running(home) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="begin\n")
        with pytest.raises(TooMuchWork):
            await write(ann, doc, LONG)
        assert await text_of(ann, doc) == "begin\n"
        slow.fails_with = None
        await write(ann, doc, LONG)
        assert await text_of(ann, doc) == LONG


async def test_who_may_only_read_is_refused_before_any_work() -> None:
    lan = MemoryLan()
    reader = machine(lan, "rita")
    reader.worker = slow = SlowWorker()
    async with running(machine(lan, "ann"), reader) as (ann, rita):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="begin\n")
        await join(ann, rita, space, role=Role.READER)
        with pytest.raises(NotAllowed):
            await write(rita, doc, LONG)
        assert not [task for task in slow.tasks if task.action is not Action.READ]


async def test_a_request_beyond_the_bound_of_a_document_is_refused() -> None:
    slow = SlowWorker()
    home = machine(MemoryLan(), "ann")
    home.worker = slow
    async with running(home) as (ann,):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="begin\n")
        waiting = [asyncio.ensure_future(write(ann, doc, LONG)) for _ in range(BORROWERS_MAX)]
        await until(lambda: slow.tasks)
        with pytest.raises(Busy):
            await write(ann, doc, LONG)
        slow.go_on.set()
        await asyncio.gather(*waiting)
        assert await text_of(ann, doc) == LONG


async def test_a_peers_edit_that_comes_while_a_page_is_compared_stays() -> None:
    lan = MemoryLan()
    home = machine(lan, "ann")
    home.worker = slow = SlowWorker()
    async with running(home, machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        page = (await ann.create_document(space, title="P", type=DocType.PAGE, parent_id=None)).document_id
        slow.go_on.set()
        before = "".join(f"paragraph {number} of many\n\n" for number in range(200))
        await ann.write_content(page, ContentFormat.MARKDOWN, before.encode(), agent=None)
        await join(ann, bob, space)
        slow.go_on.clear()
        done = len(slow.tasks)
        after = before.replace("paragraph 7 of", "paragraph 7 (seven) of")
        writing = asyncio.ensure_future(
            ann.write_content(page, ContentFormat.MARKDOWN, after.encode(), agent=None)
        )
        await until(lambda: len(slow.tasks) > done)
        listener = Listener()
        handle = await ann.open_document(page, listener)
        await bob.append_content(page, "from bob", agent=None)
        await until(lambda: listener.updates)
        slow.go_on.set()
        await writing
        await handle.close()
        markdown = (await ann.read_content(page, ContentFormat.MARKDOWN)).decode()
        assert Counter(markdown.split()) == Counter((after + "from bob").split())
