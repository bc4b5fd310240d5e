"""What a start that takes long says meanwhile, and how it is told to end.

SQLite calls back while a statement works (sqlite.org/c3ref/progress_handler.html). So "it
moves" is said only when work is done: a statement that waits for a dead disk says nothing.
Knows neither service managers nor signals.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from sheaf.core.base.errors import StorageFailure

STEPS: Final = 10_000
"""Virtual machine instructions between two calls: about 1,000 rows, well below a millisecond."""


class StartInterrupted(StorageFailure):
    """Somebody asked for the end while the database was opened; it is as it was before."""


def _nobody_listens(_doing: str) -> None:
    """Where nobody waits for the start."""


class Progress:
    """Handed to whatever opens the database; `interrupt` may be called from any thread, and in a signal.

    Args:
        on_move: called often, on the thread that works, with what is being done ("" when it is
            nothing special). It has to be quick and must not raise.
    """

    def __init__(self, on_move: Callable[[str], None] = _nobody_listens) -> None:
        self._on_move = on_move
        self._interrupted = threading.Event()
        self._doing = ""

    def begin(self, doing: str) -> None:
        """Something new is done now. Raises StartInterrupted."""
        self._doing = doing
        if self._move():
            raise StartInterrupted(f"The start was interrupted ({doing}). Nothing was changed.")

    def interrupt(self) -> None:
        """End what is done, at the next chance."""
        self._interrupted.set()

    @property
    def is_interrupted(self) -> bool:
        """True once `interrupt` was called."""
        return self._interrupted.is_set()

    def watch(self, connection: sqlite3.Connection) -> None:
        """Follow every statement of `connection`; an interrupted one fails with SQLITE_INTERRUPT."""
        connection.set_progress_handler(self._move, STEPS)

    def _move(self) -> bool:
        self._on_move(self._doing)
        return self._interrupted.is_set()


def stop_watching(connection: sqlite3.Connection) -> None:
    """The start is over: statements are nobody's business any more."""
    connection.set_progress_handler(None, STEPS)
