"""A start that may take long: it asks for more time while it moves, says what it does, and can be ended.

A migration of a large database takes minutes. The service manager waits as long as it hears
of progress (EXTEND_TIMEOUT_USEC, sd_notify(3)), and SQLite's own calls back are the progress:
a start that hangs is still ended by the manager. Must not know what is started.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from sheaf.core.base.errors import SheafError
from sheaf.storage.progress import Progress
from sheaf.watchdog import Notifier

EXTENSION_S: Final = 60.0
"""How long the manager waits after it last heard of progress."""
SAY_EVERY_S: Final = 5.0
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ResultT = TypeVar("ResultT")

_log = structlog.get_logger("sheaf.daemon")


class Start:
    """One start. `progress` goes to whatever works long; its calls come from other threads."""

    def __init__(self, *, notifier: Notifier, now: Callable[[], float]) -> None:
        self.progress = Progress(self._moved)
        self._notifier = notifier
        self._now = now
        self._said_s = now()
        self._is_ended = False
        notifier.extend_start(EXTENSION_S)

    def _moved(self, doing: str) -> None:
        now = self._now()
        if now - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now
        self._notifier.extend_start(EXTENSION_S, doing)
        _log.info("starting", doing=doing or "reading the database")

    async def run(self, starting: Coroutine[Any, Any, ResultT]) -> ResultT | None:
        """Await `starting`; None when SIGINT, SIGTERM or SIGHUP ended it before.

        Raises:
            SheafError: what `starting` raises.
        """
        task = asyncio.current_task()
        assert task is not None, "run is awaited by a task"
        loop = asyncio.get_running_loop()

        def end() -> None:
            if not self._is_ended:
                self._is_ended = True
                self.progress.interrupt()
                task.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, end)
        try:
            return await starting
        except (asyncio.CancelledError, SheafError):
            if not self._is_ended:
                raise
            task.uncancel()
            _log.info("the start was interrupted")
            return None
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
