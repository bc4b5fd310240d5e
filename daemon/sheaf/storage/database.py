"""One connection, one thread, transactions in the order they were asked for (PROTOCOL §10).

Reads share the writing connection. A second one would bring SQLite's WAL-reset bug within
reach and rule out exclusive locking; long reads are cut into slices by their
callers instead, and waiting transactions go before each slice. Knows no tables.
See docs/decisions/0010-storage.md.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import structlog

from sheaf.core.base.errors import StorageFailure, file_failure
from sheaf.core.base.limits import MIB
from sheaf.failpoints import failpoint
from sheaf.storage.connection import connect, reconnect
from sheaf.storage.damage import DamageLog
from sheaf.storage.failures import DATABASE_ERRORS, is_fatal, is_malformed, is_the_disks, storage_failure
from sheaf.storage.migrate import Migration
from sheaf.storage.progress import Progress, StartInterrupted, stop_watching
from sheaf.storage.room import look, require_room
from sheaf.storage.session import Session
from sheaf.storage.worker import Worker

ResultT = TypeVar("ResultT")

DATABASE_NAME: Final = "sheaf.db"
GROUP_MAX: Final = 256
"""Transactions that share one fsync."""
CHECKPOINT_GROUPS: Final = 256
"""Fsyncs between checkpoints under load; about 1,500 WAL frames when typing."""
CHECKPOINT_BYTES: Final = 4 * MIB
"""Payload between checkpoints under load."""
IDLE_S: Final = 5.0
"""After this long without a write the WAL is moved into the database and emptied."""
TIDY_BYTES: Final = 1 * MIB
"""What one step of tidying counts for in the WAL."""
WAL_ALARM_BYTES: Final = 64 * MIB

Tidy = Callable[[Session], bool]
OnRefused = Callable[[StorageFailure], None]

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Ticket:
    """A transaction waiting its turn. `generation` tells whether its asker could know of a failure."""

    apply: Callable[[Session], None]
    payload_bytes: int
    generation: int
    done: asyncio.Future[None]
    is_tidying: bool = False


@dataclass(slots=True)
class DatabaseStats:
    """Counters since opening, for /metrics."""

    transactions: int = 0
    groups: int = 0
    failures: int = 0
    checkpoints: int = 0
    tidied: int = 0
    """Quiet moments in which all tidying was done."""
    wal_bytes: int = 0

    def numbers(self) -> dict[str, float]:
        """Each by its name; those that only rise end in `_total`."""
        return {
            "transactions_total": self.transactions,
            "commits_total": self.groups,
            "failures_total": self.failures,
            "checkpoints_total": self.checkpoints,
            "tidied_total": self.tidied,
            "wal_bytes": self.wal_bytes,
        }


class Database:
    """The database of one data directory. Make it with `open_database`.

    Invariants:
    1. Only the worker thread touches the connection; a transaction begins and ends inside
       one callable there, whatever happens to whoever asked for it.
    2. Transactions reach the disk in the order of `write`. When one fails, so does every one
       asked for before that failure could be known: what is stored is always a prefix.
    3. `write` returns after the fsync that covers it.
    4. No cursor outlives its callable.
    5. After a failed fsync nothing is written on this connection any more (FAULTS S6); `mend`
       makes a new one. In a malformed file nothing is written at all.
    """

    def __init__(self, *, path: Path, worker: Worker, tidy: Tidy, loop: asyncio.AbstractEventLoop) -> None:
        self.damage = DamageLog()
        self.stats = DatabaseStats()
        self._path = path
        self._wal_path = path.with_name(path.name + "-wal")
        self._worker = worker
        self._tidy = tidy
        self._has_more_to_tidy = False
        self._loop = loop
        self._session: Session | None = None
        self._waiting: deque[_Ticket] = deque()  # bounded: each entry is a caller that waits
        self._generation = 0
        self._failed_generation = -1
        self._broken: StorageFailure | None = None
        self._is_malformed = False
        self._refusal: StorageFailure | None = None
        """What the disk said to the transactions that are reported next."""
        self.on_refused: OnRefused = _nobody
        """Called on the event loop when the disk refused a transaction, before its asker hears of it."""
        self._groups_since = 0
        self._bytes_since = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._stopped: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ asking (event loop)

    async def write(self, apply: Callable[[Session], None], *, payload_bytes: int = 0) -> None:
        """Run `apply` in a transaction of its own and return once it is on the disk.

        Cancelling the caller changes nothing: the transaction takes its turn.

        Raises:
            StorageFailure: closed, or the disk refused; nothing of it is stored then.
        """
        if not self._worker.is_open:
            raise StorageFailure("Sheaf's database is closed, so this was not saved.")
        ticket = _Ticket(apply, payload_bytes, self._generation, self._loop.create_future())
        self._waiting.append(ticket)
        self._worker.post(self._flush)
        await ticket.done

    async def read(self, query: Callable[[Session], ResultT]) -> ResultT:
        """Run `query` after everything asked for so far. It must be short (a few ms).

        Raises:
            StorageFailure: closed, damaged or unreadable.
        """

        def job(connection: sqlite3.Connection) -> ResultT:
            self._flush(connection)
            return query(self._session_of(connection))

        try:
            return await self._worker.call(job)
        except DATABASE_ERRORS as error:
            raise storage_failure(error, self._path.parent) from error

    async def mend(self) -> None:
        """Find out, by one, whether the disk takes transactions again; on a new connection if need be.

        Raises:
            StorageFailure: it does not; nothing has changed.
        """
        await self._worker.call(self._mend)

    async def free_bytes(self) -> int | None:
        """Room on the disk of the data directory; None when the system does not say.

        Raises:
            DiskFull: so little that the next change may find none.
        """
        return await self._worker.call(lambda _: look(self._path.parent))

    def started(self) -> None:
        """The start is over; what is done is told to nobody any more."""
        self._worker.post(stop_watching)

    async def close(self, after: Callable[[], None]) -> None:
        """Finish what was asked for, empty the WAL, close; then run `after`. Idempotent."""
        if self._stopped is None:
            if self._idle_timer is not None:
                self._idle_timer.cancel()

            def last(connection: sqlite3.Connection) -> None:
                try:
                    while self._waiting:
                        self._flush(connection)
                    self._checkpoint(connection, "TRUNCATE")
                    connection.close()
                finally:
                    after()

            self.started()
            self._stopped = self._worker.finish(last)
        await asyncio.shield(self._stopped)
        self._worker.join()

    # ------------------------------------------------------------------ doing (worker thread)

    def _session_of(self, connection: sqlite3.Connection) -> Session:
        if self._session is None:
            self._session = Session(connection=connection, damage=self.damage)
        return self._session

    def _flush(self, connection: sqlite3.Connection) -> None:
        """Commit everything that waits, in one transaction if that goes well."""
        tickets = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_MAX))]
        if not tickets:
            return
        session = self._session_of(connection)
        error = self._transact(session, tickets)
        if error is None or len(tickets) == 1:
            outcomes: list[Exception | None] = [error] * len(tickets)
        else:
            outcomes = [self._transact(session, [ticket]) for ticket in tickets]
        refusal, self._refusal = self._refusal, None
        self._report(tickets, outcomes, refusal)
        self._bytes_since += sum(ticket.payload_bytes for ticket in tickets)
        self._groups_since += 1
        if self._groups_since >= CHECKPOINT_GROUPS or self._bytes_since >= CHECKPOINT_BYTES:
            self._checkpoint(connection, "PASSIVE")

    def _transact(self, session: Session, tickets: Sequence[_Ticket]) -> Exception | None:
        """One transaction for `tickets`; the error that undid it, or None."""
        if self._broken is not None:
            self._refusal = self._broken
            return self._broken
        if len(tickets) == 1 and tickets[0].generation <= self._failed_generation:
            return StorageFailure("An earlier change could not be saved, so this one was not either.")
        try:
            session.execute("BEGIN IMMEDIATE")
            for ticket in tickets:
                if ticket.generation <= self._failed_generation:
                    raise StorageFailure("An earlier change could not be saved.")
                ticket.apply(session)
            failpoint("before-commit")
            session.execute("COMMIT")
            failpoint("after-commit")
        except Exception as error:  # noqa: BLE001 - whatever it is, its asker must hear of it
            self._undo(session)
            failure = self._judge(error)
            if len(tickets) == 1:
                self._failed_generation = tickets[0].generation
                self.stats.failures += 1
            return failure
        self.stats.transactions += len(tickets)
        self.stats.groups += 1
        return None

    def _undo(self, session: Session) -> None:
        session.forget_keys()
        if session.connection.in_transaction:
            try:
                session.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._broken = StorageFailure(f"The database is stuck, so nothing is saved. [{error}]")

    def _judge(self, error: Exception) -> Exception:
        if not isinstance(error, DATABASE_ERRORS):
            return error
        failure = storage_failure(error, self._path.parent)
        if is_the_disks(error):
            self._refusal = failure
        if is_fatal(error):
            self._broken = failure
            self._is_malformed = is_malformed(error)
        return failure

    def _mend(self, connection: sqlite3.Connection) -> None:
        folder = self._path.parent
        require_room(folder)
        try:
            if self._broken is not None:
                connection = self._connect_again(self._broken)
            self._prove(self._session_of(connection))
        except DATABASE_ERRORS as error:
            raise storage_failure(error, folder) from error
        except OSError as error:
            raise file_failure(f"{self._path} cannot be opened again", error) from error

    def _connect_again(self, broken: StorageFailure) -> sqlite3.Connection:
        if self._is_malformed:
            raise broken
        self._session = None
        connection = self._worker.connect_again(lambda: reconnect(self._path))
        self._broken = None
        return connection

    def _prove(self, session: Session) -> None:
        """A transaction that writes a page and changes nothing."""
        row = session.row("PRAGMA user_version")
        assert row is not None, "a pragma answers"
        try:
            session.execute("BEGIN IMMEDIATE")
            session.execute(f"PRAGMA user_version = {row[0]}")
            session.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(session)
            raise self._judge(error) from error

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> None:
        """Move the WAL into the database. A full disk leaves it for the next time."""
        self._groups_since = self._bytes_since = 0
        failpoint("before-checkpoint")
        try:
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            _log.warning("checkpoint failed", error=str(error))
        self.stats.checkpoints += 1
        self.stats.wal_bytes = _size_of(self._wal_path)
        if self.stats.wal_bytes > WAL_ALARM_BYTES:
            _log.error("write-ahead log too large", wal_bytes=self.stats.wal_bytes)

    # ------------------------------------------------------------------ answering (event loop)

    def _report(
        self,
        tickets: Sequence[_Ticket],
        outcomes: Sequence[Exception | None],
        refusal: StorageFailure | None,
    ) -> None:
        """Send the outcomes to the loop. It may be gone at the end of a program; then nobody waits."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, tickets, outcomes, refusal)

    def _settle(
        self,
        tickets: Sequence[_Ticket],
        outcomes: Sequence[Exception | None],
        refusal: StorageFailure | None,
    ) -> None:
        if refusal is not None:
            self.on_refused(refusal)
        if any(outcomes):
            self._generation += 1
        for ticket, error in zip(tickets, outcomes, strict=True):
            if ticket.done.done():
                continue
            if error is None:
                ticket.done.set_result(None)
            else:
                ticket.done.set_exception(error)
        if not all(ticket.is_tidying for ticket in tickets):
            self.arm_idle_timer()

    def arm_idle_timer(self) -> None:
        """Tidy up when nothing is written for a while."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._stopped is None:
            self._idle_timer = self._loop.call_later(IDLE_S, self._idle)

    def _idle(self) -> None:
        """Tidy in steps, each a transaction of its own, then empty the WAL."""

        def step(session: Session) -> None:
            self._has_more_to_tidy = self._tidy(session)

        done: asyncio.Future[None] = self._loop.create_future()
        done.add_done_callback(self._tidied)
        self._waiting.append(_Ticket(step, TIDY_BYTES, self._generation, done, is_tidying=True))
        self._worker.post(self._flush)

    def _tidied(self, done: asyncio.Future[None]) -> None:
        if self._stopped is not None or done.cancelled():
            return
        if error := done.exception():
            _log.warning("tidying failed", error=str(error))
        elif self._has_more_to_tidy:
            self._idle()
            return
        else:
            self.stats.tidied += 1
        self._worker.post(lambda connection: self._checkpoint(connection, "TRUNCATE"))


async def open_database(
    data_dir: Path,
    *,
    migrations: Sequence[Migration],
    tidy: Tidy = lambda session: False,
    progress: Progress | None = None,
) -> Database:
    """Open (or make) `<data_dir>/sheaf.db`, whose lock the caller holds.

    Args:
        tidy: one step of work for quiet moments, in a transaction; True when there is more.
        progress: told what is done, until `Database.started`.

    Raises:
        StorageFailure: newer schema, not a database, unreadable, no write-ahead log here.
        StartInterrupted: by `progress`; the database is as it was.
    """
    path = data_dir / DATABASE_NAME
    progress = progress or Progress()
    worker = Worker(connector=lambda: connect(path, migrations, progress), interrupt=progress.interrupt)
    try:
        await worker.open()
    except DATABASE_ERRORS as error:
        if progress.is_interrupted:
            raise StartInterrupted("The start was interrupted. The database is as it was.") from error
        raise storage_failure(error, data_dir) from error
    except OSError as error:
        raise file_failure(f"{path} cannot be opened", error) from error
    database = Database(path=path, worker=worker, tidy=tidy, loop=asyncio.get_running_loop())
    database.arm_idle_timer()
    return database


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _nobody(_failure: StorageFailure) -> None:
    return None
