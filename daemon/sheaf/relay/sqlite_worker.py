"""One thread, one connection, many requests per transaction: how the relay's SQLite store works.

Requests that come while a transaction is under way go into the next one together (group commit).
Only one connection ever opens the file. Knows no tables of the store.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from sheaf.core.base.limits import MIB
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused

ResultT = TypeVar("ResultT")

GROUP_MAX: Final = 128
"""Requests that share one commit."""
WAITING_BYTES_MAX: Final = 64 * MIB
"""What may wait for the disk; beyond it, clients are asked to slow down."""
_PRIMARY: Final = 0xFF
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_log = structlog.get_logger("sheaf.relay.store")

Job = Callable[[sqlite3.Connection], ResultT]


@dataclass(frozen=True, slots=True)
class _Ticket:
    job: Job[Any]
    after: Callable[[Any], None]
    bytes_held: int
    done: asyncio.Future[Any]


class SqliteWorker:
    """Runs jobs in order, grouped into transactions.

    Invariants:
    1. A job raises `RelayRefused` before it has written anything, or does all of its work.
    2. `run` returns after the commit that covers the job; cancelling the caller changes nothing.
    3. When a group fails, each of its jobs is tried again alone.
    4. Every request is answered, also when it fails by a defect.
    """

    def __init__(self, *, on_rollback: Callable[[sqlite3.Connection], None]) -> None:
        """`on_rollback` is called on the thread: what was counted beside the database is void."""
        self._on_rollback = on_rollback
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sheaf-relay-store")
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[_Ticket] = deque()  # bounded by WAITING_BYTES_MAX and one per connection
        self._waiting_bytes = 0
        self._running: asyncio.Future[list[object]] | None = None
        self._is_closed = False

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Make the connection on the thread. Raises what `connect` raises; the thread has ended then."""
        loop = asyncio.get_running_loop()
        try:
            self._connection = await loop.run_in_executor(self._executor, connect)
        except BaseException:
            self._executor.shutdown(wait=False)
            raise

    async def run(
        self,
        job: Job[ResultT],
        *,
        bytes_held: int = 0,
        after: Callable[[ResultT], None] = lambda _result: None,
    ) -> ResultT:
        """Run `job` in a transaction and return its result once that is committed (2).

        Args:
            bytes_held: the memory this request needs while it waits.
            after: called with the result on the event loop, whether or not anybody waits for it.

        Raises:
            RelayRefused: the job's; FULL (disk), RATE (too much waits), UNAVAILABLE (closed, failed).
        """
        if self._is_closed:
            raise RelayRefused(RefusalCode.UNAVAILABLE)
        if self._waiting and self._waiting_bytes + bytes_held > WAITING_BYTES_MAX:
            raise RelayRefused(RefusalCode.RATE)
        ticket = _Ticket(job, after, bytes_held, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        self._waiting_bytes += bytes_held
        self._start()
        result: ResultT = await ticket.done
        return result

    async def close(self, last: Callable[[sqlite3.Connection], None]) -> None:
        """Finish what waits, then run `last`, then end the thread. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        while self._running is not None:
            await asyncio.wait([self._running])
            await asyncio.sleep(0)  # its callback starts the next group
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, last, connection)
        self._executor.shutdown()

    # ------------------------------------------------------------------ event loop

    def _start(self) -> None:
        if self._running is not None or not self._waiting:
            return
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_MAX))]
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._commit, group)
        running.add_done_callback(lambda done: self._settle(group, done))
        self._running = running

    def _settle(self, group: list[_Ticket], done: asyncio.Future[list[object]]) -> None:
        self._running = None
        self._waiting_bytes -= sum(ticket.bytes_held for ticket in group)
        for ticket, outcome in zip(group, _outcomes(group, done), strict=True):
            if not isinstance(outcome, BaseException):
                _tell(ticket, outcome)
            if ticket.done.done():
                continue
            if isinstance(outcome, BaseException):
                ticket.done.set_exception(outcome)
            else:
                ticket.done.set_result(outcome)
        self._start()

    # ------------------------------------------------------------------ thread

    def _commit(self, group: list[_Ticket]) -> list[object]:
        assert self._connection is not None
        try:
            return self._transact(self._connection, group)
        except Exception as error:  # noqa: BLE001 - a defect too: whoever asked is answered (4)
            if len(group) == 1:
                return [_refusal(error)]
        return [outcome for ticket in group for outcome in self._commit([ticket])]  # (3)

    def _transact(self, connection: sqlite3.Connection, group: list[_Ticket]) -> list[object]:
        outcomes: list[object] = []
        try:
            connection.execute("BEGIN")
            for ticket in group:
                try:
                    outcomes.append(ticket.job(connection))
                except RelayRefused as refusal:
                    outcomes.append(refusal)  # (1)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._on_rollback(connection)
            raise
        return outcomes


def _outcomes(group: list[_Ticket], done: asyncio.Future[list[object]]) -> list[object]:
    try:
        return done.result()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the thread itself failed
        _log.error("store failed", error=repr(error))
        return [RelayRefused(RefusalCode.UNAVAILABLE) for _ in group]


def _tell(ticket: _Ticket, outcome: object) -> None:
    try:
        ticket.after(outcome)
    except Exception:  # noqa: BLE001 - it is committed, and the others are told as well
        _log.exception("what was stored could not be told because of a defect")


def _refusal(error: Exception) -> RelayRefused:
    """What a client hears of a failure; what it is goes to the log."""
    if not isinstance(error, sqlite3.Error):
        _log.error("a request to the store failed by a defect", exc_info=error)
        return RelayRefused(RefusalCode.UNAVAILABLE)
    code = int(getattr(error, "sqlite_errorcode", None) or 0) & _PRIMARY
    _log.error("store failed", error=f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}")
    if code in _BROKEN:
        _log.error(
            "the store is damaged: stop the relay and move its database away; it is a cache, and people's "
            "devices upload again what they still need"
        )
    return RelayRefused(RefusalCode.FULL if code == sqlite3.SQLITE_FULL else RefusalCode.UNAVAILABLE)
