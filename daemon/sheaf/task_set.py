"""Owns the background tasks of one adapter, so that closing it ends every one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

CANCEL_AGAIN_S: Final = 1.0
"""A task that has not ended by then is cancelled again: libraries (nats-py) swallow a cancellation."""

_log = logging.getLogger(__name__)


class TaskSet:
    """Tasks that belong to somebody.

    Invariants:
    1. No task outlives `close()`.
    2. A task that fails is logged once; it takes nothing else with it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` in the background; after `close()` it is dropped unstarted."""
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Cancel what runs and wait for its end. Idempotent."""
        self._is_closed = True
        current = asyncio.current_task()
        while remaining := [task for task in self._tasks if task is not current]:
            for task in remaining:
                task.cancel()
            ended, _ = await asyncio.wait(remaining, timeout=CANCEL_AGAIN_S)
            self._tasks.difference_update(ended)

    async def drain(self, timeout_s: float) -> None:
        """Let running tasks end by themselves for at most `timeout_s`."""
        current = asyncio.current_task()
        if remaining := [task for task in self._tasks if task is not current]:
            await asyncio.wait(remaining, timeout=timeout_s)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task failed task=%s error=%r", task.get_name(), error, exc_info=error)
