"""The contract of a ContentWorker, for processes and for the one that works where it is called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sheaf.content_work.forms import ContentFormat, DocType
from sheaf.content_work.task import Action, ContentTask, ContentWorker
from sheaf.core.base.errors import UpdateRefused, UsageError
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.replica import EMPTY_UPDATE
from sheaf.worker.pool import WorkerPool
from tests.support.inline_worker import InlineWorker


@pytest.fixture(params=["inline", "processes"])
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[ContentWorker]:
    """A worker that has not worked yet."""
    if request.param == "inline":
        yield InlineWorker()
        return
    pool = WorkerPool()
    yield pool
    await pool.close()


def task(action: Action, *, state: bytes = EMPTY_UPDATE, text: str = "", **others: object) -> ContentTask:
    fields: dict[str, object] = {"type": DocType.PAGE, "format": ContentFormat.MARKDOWN, **others}
    return ContentTask(action=action, state=state, text=text.encode(), **fields)  # type: ignore[arg-type]  # checked by the dataclass


async def test_what_is_written_can_be_read(worker: ContentWorker) -> None:
    update = await worker.perform(task(Action.WRITE, text="# Größe\n\nwords\n", client_id=7))
    assert set(inspect_update(update).clients) == {7}
    assert await worker.perform(task(Action.READ, state=update)) == "# Größe\n\nwords\n".encode()


async def test_writing_what_is_there_changes_nothing(worker: ContentWorker) -> None:
    update = await worker.perform(task(Action.WRITE, text="words\n", client_id=7))
    assert await worker.perform(task(Action.WRITE, state=update, text="words\n", client_id=8)) == b""


async def test_a_client_goes_on_where_it_stopped(worker: ContentWorker) -> None:
    first = await worker.perform(task(Action.WRITE, text="one", type=DocType.TEXT, client_id=7))
    second = await worker.perform(
        task(Action.APPEND, state=first, text="two", type=DocType.TEXT, client_id=7)
    )
    assert inspect_update(second).clients[7].start == inspect_update(first).clients[7].end


async def test_what_cannot_be_written_is_the_callers_fault(worker: ContentWorker) -> None:
    with pytest.raises(UsageError, match="not json"):
        await worker.perform(task(Action.WRITE, text="{}", format=ContentFormat.JSON))


async def test_a_function_is_computed_and_raises_what_it_raises(worker: ContentWorker) -> None:
    assert (await worker.compute(lambda: inspect_update(EMPTY_UPDATE))).is_empty
    with pytest.raises(UpdateRefused):
        await worker.compute(lambda: inspect_update(b"\x01"))
