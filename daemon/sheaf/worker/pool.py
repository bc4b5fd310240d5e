"""The daemon's side of content work: processes that are started when needed and ended when not.

Invariants:
1. At most `processes_max` processes; each does one task at a time.
2. At most `waiting_max` tasks wait for one; more are refused at once.
3. A task that is not done after `limit_s`, and one whose caller gave up, takes its process with it.
4. A process that had nothing to do for `idle_s` is ended, and so are all when the daemon ends: by
   `close`, or because the pipe they read from is closed with the daemon.

Must not know documents: a task is bytes in, bytes out. Decision 0074.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from sheaf.content_work.task import ContentTask, ResultT
from sheaf.core.base.errors import Busy, TooMuchWork, UsageError
from sheaf.task_set import TaskSet
from sheaf.threads import in_daemon_thread
from sheaf.worker.messages import HEAD, Answer, encode_request

PROCESSES_MAX: Final = 2
WAITING_MAX: Final = 16
LIMIT_S: Final = 20.0
"""Wall-clock time of one task: 456 KB of Markdown take one to two seconds."""
IDLE_S: Final = 30.0
MEMORY_BYTES: Final = 2 * 1024**3
"""Address space of a process; where the system does not keep such limits there is none."""
_PIPE_BYTES: Final = 1024 * 1024

logger = structlog.get_logger("sheaf.worker")


@dataclass(slots=True, eq=False)
class _Worker:
    process: Process
    retirement: asyncio.TimerHandle | None = None


class WorkerPool:
    """A `ContentWorker` made of processes.

    Args:
        limit_s: see invariant 3.
        idle_s: see invariant 4.
        memory_bytes: how much address space one process may have.
    """

    def __init__(
        self,
        *,
        processes_max: int = PROCESSES_MAX,
        waiting_max: int = WAITING_MAX,
        limit_s: float = LIMIT_S,
        idle_s: float = IDLE_S,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._limit_s = limit_s
        self._idle_s = idle_s
        self._memory_bytes = memory_bytes
        self._processes_max = processes_max
        self._waiting_max = waiting_max
        self._waiting = 0
        self._places = asyncio.Semaphore(processes_max)
        self._computing = asyncio.Semaphore(1)
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._tasks = TaskSet("content workers")
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """The processes there are now."""
        return [worker.process.pid for worker in self._workers]

    async def perform(self, task: ContentTask) -> bytes:
        """See `ContentWorker`."""
        if self._waiting >= self._waiting_max:
            raise Busy("Sheaf is busy with other documents. Nothing was changed; try again in a moment.")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            self._require_open()
            return await self._perform(task)
        finally:
            self._places.release()

    async def compute(self, call: Callable[[], ResultT]) -> ResultT:
        """See `ContentWorker`: in a thread; one at a time, so that the loop competes with one only.

        A thread whose caller gave up counts until it has ended; a stop does not wait for it.
        """
        await self._computing.acquire()
        return await in_daemon_thread(call, name="sheaf-compute", when_ended=self._computing.release)

    async def close(self) -> None:
        """End every process; whoever waits for one is told. Idempotent."""
        self._is_closed = True
        for worker in tuple(self._workers):
            self._end(worker)
        for _ in range(self._processes_max):  # until nobody is starting one
            await self._places.acquire()
        for _ in range(self._processes_max):
            self._places.release()
        await self._tasks.drain(self._limit_s)
        await self._tasks.close()

    async def _perform(self, task: ContentTask) -> bytes:
        worker = await self._take()
        is_well = False
        try:
            self._require_open()
            async with asyncio.timeout(self._limit_s):
                kind, content = await _exchange(worker.process, task)
            is_well = True
        except TimeoutError:
            logger.warning("content work took too long and was ended", bytes=task.size_bytes)
            raise TooMuchWork(
                f"This content takes longer than {self._limit_s:.0f} s to work through and was given up. "
                "Nothing was changed. Try it in smaller pieces, or as another format."
            ) from None
        except (OSError, asyncio.IncompleteReadError) as error:
            logger.error("a content worker ended in the middle of its work", bytes=task.size_bytes)
            raise Busy("The work on this content was interrupted. Nothing was changed; try again.") from error
        finally:
            if is_well and not self._is_closed:
                self._give_back(worker)
            else:
                self._end(worker)
        return self._result(kind, content, task)

    def _require_open(self) -> None:
        if self._is_closed:
            raise Busy("Sheaf is stopping.")

    def _result(self, kind: int, content: bytes, task: ContentTask) -> bytes:
        if kind == Answer.DONE:
            return content
        if kind == Answer.REFUSED:
            raise UsageError(content.decode())
        if kind == Answer.TOO_BIG:
            logger.warning("content work needed too much memory", bytes=task.size_bytes)
            raise TooMuchWork(
                "This content takes too much memory to work through. Nothing was changed. "
                "Try it in smaller pieces, or as another format."
            )
        raise RuntimeError(f"content work failed: {content.decode()}")

    async def _take(self) -> _Worker:
        """An idle process that is alive, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.retirement is not None:
                worker.retirement.cancel()
            if worker.process.returncode is None:
                return worker
            self._end(worker)
        return await self._start()

    async def _start(self) -> _Worker:
        # -P: a folder that happens to be the working directory must not be imported from.
        limits = (str(self._limit_s), str(self._memory_bytes))
        command = (sys.executable, "-P", "-m", "sheaf.worker.process", *limits)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, limit=_PIPE_BYTES, start_new_session=True
            )
        except OSError as error:
            logger.error("no content worker can be started", reason=str(error))
            raise Busy(
                f"No process can be started for this work ({error.strerror}). Nothing was changed; try again."
            ) from error
        worker = _Worker(process)
        self._workers.add(worker)
        return worker

    def _give_back(self, worker: _Worker) -> None:
        self._idle.append(worker)
        worker.retirement = asyncio.get_running_loop().call_later(self._idle_s, self._end, worker)

    def _end(self, worker: _Worker) -> None:
        """Kill a process, which has nothing to lose, and wait for its end in the background."""
        if worker.retirement is not None:
            worker.retirement.cancel()
        if worker in self._idle:
            self._idle.remove(worker)
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
        self._tasks.spawn(_reap(worker.process), "end of a process")


async def _exchange(process: Process, task: ContentTask) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines((encode_request(task), task.state, task.text))
    await process.stdin.drain()
    kind, length = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
    return kind, await process.stdout.readexactly(length)


async def _reap(process: Process) -> None:
    """Wait for the end of a process that was killed, and of its pipes."""
    assert process.stdin is not None
    process.stdin.close()
    await process.communicate()
    with contextlib.suppress(OSError):
        await process.stdin.wait_closed()
