"""Worker processes: ended at the limit, replaced, bounded in number, gone when nobody needs them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sheaf.content_work.forms import ContentFormat, DocType
from sheaf.content_work.task import Action, ContentTask
from sheaf.core.base.errors import Busy, TooMuchWork
from sheaf.core.crdt.replica import EMPTY_UPDATE
from sheaf.worker.pool import WorkerPool
from tests.support.hostile_texts import hostile_text
from tests.support.nodes import until

SMALL = ContentTask(Action.WRITE, DocType.PAGE, ContentFormat.MARKDOWN, EMPTY_UPDATE, b"words")
ENDLESS = ContentTask(
    Action.WRITE, DocType.PAGE, ContentFormat.MARKDOWN, EMPTY_UPDATE, b"a paragraph\n\n" * 400_000
)
"""Takes minutes."""
NEVER_ENDED = ("#", "<a ", "<a href='x", "</a", "<!--", "<!-- >", "<?", "<![CDATA[")
"""What a regular expression or the standard library's parser would search to the end for, each time."""


@asynccontextmanager
async def pool(**limits: float) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(**limits)  # type: ignore[arg-type]  # counts are whole numbers here, too
    try:
        yield made
    finally:
        await made.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_no_process_is_started_before_there_is_work_and_one_is_used_again() -> None:
    async with pool() as workers:
        assert workers.pids == []
        await workers.perform(SMALL)
        (pid,) = workers.pids
        await workers.perform(SMALL)
        assert workers.pids == [pid]


async def test_work_beyond_the_limit_is_ended_and_the_next_task_is_done() -> None:
    async with pool(processes_max=1, limit_s=5) as workers:
        await workers.perform(SMALL)
        (pid,) = workers.pids
        with pytest.raises(TooMuchWork, match="longer than 5 s"):
            await workers.perform(ENDLESS)
        await until(lambda: not is_alive(pid))
        assert await workers.perform(SMALL)
        assert workers.pids != [pid]


async def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    async with pool() as workers:
        await workers.perform(SMALL)
        (pid,) = workers.pids
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await workers.perform(ENDLESS)
        await until(lambda: not is_alive(pid))
        assert workers.pids == []


async def test_tasks_wait_for_a_process_and_beyond_a_number_they_are_refused() -> None:
    async with pool(processes_max=1, waiting_max=2) as workers:
        tasks = [asyncio.ensure_future(workers.perform(SMALL)) for _ in range(4)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [bytes, bytes, bytes, Busy]
        assert len(workers.pids) == 1


async def test_two_tasks_are_done_at_a_time() -> None:
    async with pool(processes_max=2) as workers:
        await asyncio.gather(*(workers.perform(SMALL) for _ in range(6)))
        assert len(workers.pids) == 2


async def test_a_process_without_work_is_ended() -> None:
    async with pool(idle_s=0.01) as workers:
        await workers.perform(SMALL)
        await until(lambda: workers.pids == [])


async def test_a_process_that_was_killed_is_replaced() -> None:
    async with pool(processes_max=1) as workers:
        await workers.perform(SMALL)
        (pid,) = workers.pids
        task = asyncio.ensure_future(workers.perform(ENDLESS))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Busy, match="interrupted"):
            await task
        assert await workers.perform(SMALL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit of address space")
async def test_work_that_needs_too_much_memory_is_refused_and_the_next_task_is_done() -> None:
    async with pool(memory_bytes=300 * 1024**2, limit_s=100) as workers:
        with pytest.raises(TooMuchWork, match="memory"):
            await workers.perform(ENDLESS)
        assert await workers.perform(SMALL)


async def test_closing_ends_the_processes_and_those_who_wait_are_told() -> None:
    async with pool(processes_max=1) as workers:
        await workers.perform(SMALL)
        pids = workers.pids
        tasks = [asyncio.ensure_future(workers.perform(ENDLESS)) for _ in range(2)]
        await asyncio.sleep(0)
        await workers.close()
        assert not any(is_alive(pid) for pid in pids)
        assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [Busy, Busy]


def test_a_worker_does_not_import_the_daemon() -> None:
    code = "import sys, sheaf.worker.process; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = set(answer.stdout.split())
    assert not loaded & {"asyncio", "aiortc", "fastapi", "sqlite3", "zeroconf", "cryptography", "structlog"}


@pytest.mark.parametrize("piece", NEVER_ENDED)
async def test_much_of_what_nothing_ends_is_written_and_read_in_time(piece: str) -> None:
    """Each of these took minutes when every sign made its reader search the rest of the text."""
    text = hostile_text(piece, 300_000).encode()
    async with pool(limit_s=60) as workers:
        for format in (ContentFormat.HTML, ContentFormat.TEXT):
            update = await workers.perform(
                ContentTask(Action.WRITE, DocType.PAGE, format, EMPTY_UPDATE, b"a" + text)
            )
            read = ContentTask(Action.READ, DocType.PAGE, ContentFormat.MARKDOWN, update)
            assert (await workers.perform(read)).startswith(b"a")


_CANCELLED_COMPUTING = """
import asyncio, threading
from sheaf.worker.pool import WorkerPool

async def main():
    workers, has_begun = WorkerPool(), threading.Event()
    def endless():
        has_begun.set()
        threading.Event().wait()
    computing = asyncio.ensure_future(workers.compute(endless))
    await asyncio.to_thread(has_begun.wait)
    computing.cancel()
    await asyncio.wait([computing])
    await workers.close()

asyncio.run(main())
"""


def test_a_computation_that_goes_on_keeps_no_program_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", _CANCELLED_COMPUTING], timeout=30, check=False)
    assert ended.returncode == 0


async def test_a_computation_nobody_waits_for_any_more_counts_until_it_has_ended() -> None:
    async with pool() as workers:
        go_on, order = threading.Event(), list[str]()
        first = asyncio.ensure_future(workers.compute(lambda: (go_on.wait(), order.append("first"))))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(workers.compute(lambda: order.append("second")))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        go_on.set()
        await second
        assert order == ["first", "second"]


async def test_a_thread_that_cannot_be_started_keeps_no_later_computation_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with pool() as workers:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more)
            with pytest.raises(RuntimeError, match="new thread"):
                await workers.compute(lambda: 1)
        async with asyncio.timeout(10):
            assert await workers.compute(lambda: 2) == 2
