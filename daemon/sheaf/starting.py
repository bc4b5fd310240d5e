"""A start that may take long: it asks for more time while it moves, says what it does, and can be ended.

A migration of a large database takes minutes. The service manager waits as long as it hears
of progress (EXTEND_TIMEOUT_USEC, sd_notify(3)), and SQLite's own calls back are the progress:
a start that hangs is still ended by the manager. Must not know what is started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from sheaf.core.base.errors import SheafError
from sheaf.stop_signals import StopSignals
from sheaf.storage.progress import Progress
from sheaf.task_set import TaskSet
from sheaf.watchdog import Notifier

EXTENSION_S: Final = 60.0
"""How long the manager waits after it last heard of progress."""
SAY_EVERY_S: Final = 5.0

ResultT = TypeVar("ResultT")

_log = structlog.get_logger("sheaf.daemon")


class Start:
    """One start. `progress` goes to whatever works long; its calls come from other threads."""

    def __init__(self, *, notifier: Notifier, now: Callable[[], float], stop: StopSignals) -> None:
        self.progress = Progress(self._moved)
        self._notifier = notifier
        self._now = now
        self._stop = stop
        self._said_s = now()
        notifier.extend_start(EXTENSION_S)

    def _moved(self, doing: str) -> None:
        now = self._now()
        if now - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now
        self._notifier.extend_start(EXTENSION_S, status=doing)
        _log.info("starting", doing=doing or "reading the database")

    async def run(self, starting: Coroutine[Any, Any, ResultT]) -> ResultT | None:
        """Await `starting`; None when the end was asked for before it was through.

        Raises:
            SheafError: what `starting` raises.
        """
        task = asyncio.current_task()
        assert task is not None, "run is awaited by a task"
        tasks = TaskSet("start")
        tasks.spawn(self._end_when_asked(task), "wait for the end")
        try:
            return await starting
        except (asyncio.CancelledError, SheafError):
            if not self.progress.is_interrupted:
                raise
            task.uncancel()
            _log.info("the start was interrupted")
            return None
        finally:
            await tasks.close()

    async def _end_when_asked(self, task: asyncio.Task[Any]) -> None:
        await self._stop.wait()
        self.progress.interrupt()
        task.cancel()

    async def ended_within(self, seconds: float, *, why: str) -> bool:
        """Wait before the start is tried again; True when the end was asked for meanwhile.

        Args:
            why: one line for the service manager, who is asked for patience.
        """
        self._notifier.extend_start(EXTENSION_S, status=why)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_wanted
