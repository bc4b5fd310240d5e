"""Tasks that belong to an adapter end with it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sheaf import task_set
from sheaf.task_set import TaskSet


async def test_closing_ends_every_task_and_waits_for_it() -> None:
    tasks = TaskSet("test")
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    for number in range(3):
        tasks.spawn(work(number), "work")
    await asyncio.sleep(0)
    await tasks.close()
    await tasks.close()
    assert sorted(ended) == [0, 1, 2]


async def test_nothing_starts_after_closing() -> None:
    tasks = TaskSet("test")
    await tasks.close()
    started: list[bool] = []

    async def work() -> None:
        started.append(True)

    tasks.spawn(work(), "late")
    await asyncio.sleep(0)
    assert not started


async def test_a_failure_is_logged_once_and_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskSet("test")
    is_done = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("broken")

    async def go_on() -> None:
        await asyncio.sleep(0)
        is_done.set()

    with caplog.at_level(logging.ERROR):
        tasks.spawn(fail(), "failing")
        tasks.spawn(go_on(), "going on")
        await asyncio.wait_for(is_done.wait(), 5)
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "background task failed task=test: failing error=RuntimeError('broken')"
    ]
    await tasks.close()


async def test_a_task_may_close_the_set_it_belongs_to() -> None:
    tasks = TaskSet("test")
    is_done = asyncio.Event()

    async def last() -> None:
        await tasks.close()
        is_done.set()

    tasks.spawn(last(), "last")
    await asyncio.wait_for(is_done.wait(), 5)


async def test_draining_gives_up_after_its_time() -> None:
    tasks = TaskSet("test")
    tasks.spawn(asyncio.Event().wait(), "for ever")  # type: ignore[arg-type]  # the result is of no interest
    await tasks.drain(0.01)
    await tasks.close()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_set, "CANCEL_AGAIN_S", 0.01)
    swallowed = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)
                if len(swallowed) == 3:
                    raise

    tasks = TaskSet("test")
    tasks.spawn(deaf(), "deaf")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.close()
    assert len(swallowed) == 3
