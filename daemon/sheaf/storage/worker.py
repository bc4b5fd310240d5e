"""The one thread that touches SQLite: aiosqlite's worker, handed whole callables.

aiosqlite offers single statements, between which another task's statements or a
cancellation may fall. Here a unit of work is one callable that runs on the
worker thread from BEGIN to COMMIT. Knows neither tables nor transactions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import aiosqlite

from sheaf.core.base.errors import StorageFailure

ResultT = TypeVar("ResultT")
JOIN_S_MAX: Final = 5.0


class Worker(aiosqlite.Connection):
    """A connection that runs callables in the order they were given.

    The thread is a daemon thread: a connection somebody forgot must not keep the process
    alive, and SQLite survives an end at any instant.
    """

    def __init__(
        self, *, connector: Callable[[], sqlite3.Connection], interrupt: Callable[[], None] = lambda: None
    ) -> None:
        """`interrupt` makes a connector that works long give up; called when `open` is cancelled."""
        super().__init__(self._keep, iter_chunk_size=64)
        self._open_database = connector
        self._interrupt = interrupt
        self._thread.name = "sheaf-storage"
        self._thread.daemon = True

    @property
    def is_open(self) -> bool:
        """True from the end of opening until `finish`."""
        return self._running and self._connection is not None

    async def open(self) -> None:
        """Start the thread and run the connector there. Failed or cancelled, nothing stays open.

        (Awaiting an aiosqlite connection does the same, but leaks it when cancelled.)
        """
        self._thread.start()
        future: asyncio.Future[sqlite3.Connection] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, self._keep))
        try:
            await future
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._interrupt()
            self.stop()
            self.join()
            raise

    def _keep(self) -> sqlite3.Connection:
        """Kept on the thread itself, so that `stop` always finds what there is to close."""
        self._connection = self._open_database()
        return self._connection

    def _run(self, job: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """On the thread: with the connection there is then, which may not be that of the asking."""
        return job(self._conn)

    def connect_again(self, connector: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """On the thread: close the connection and let `connector` make a new one.

        When that fails the closed one stays in its place; whoever uses it gets a `ProgrammingError`.
        """
        self._conn.close()
        self._connection = connector()
        return self._connection

    def post(self, job: Callable[[sqlite3.Connection], object]) -> None:
        """Run `job` on the thread; it must not raise. Dropped when closed."""
        if self.is_open:
            self._tx.put_nowait((None, partial(self._run, job)))

    async def call(self, job: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Run `job` on the thread and return its result. Cancelling the caller does not stop it.

        Raises:
            StorageFailure: closed; and whatever `job` raises.
        """
        if not self.is_open:
            raise StorageFailure("Sheaf's database is closed.")
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(self._run, job)))
        return await future

    def finish(self, last: Callable[[sqlite3.Connection], object]) -> asyncio.Future[None]:
        """Refuse further work, run what is queued, then `last`, then end the thread."""
        self.post(last)
        stopped = self.stop()
        assert stopped is not None, "finish is called on the event loop"
        return stopped

    def join(self) -> None:
        """Wait until the thread has ended; call it once the future of `finish` is done."""
        if self._thread.is_alive():
            self._thread.join(JOIN_S_MAX)
