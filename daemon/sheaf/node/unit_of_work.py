"""The one way anything of a space becomes durable: units of work, committed in order.

Whoever changes the in-memory space adds rows to the *open* unit and says what to do
once it is durable. While one unit is being committed the next one fills, so under load
many edits share one fsync and none waits for a timer. Nothing is announced (to a tab,
to a peer, to the screen) before its unit is on disk.

Invariants:
1. Units are committed in the order they were opened, one at a time.
2. `done` callbacks run after the commit, in the order they were added, on the event loop.
3. After a failed commit no later unit is committed: the owner throws its memory away.
4. Nobody waits for ever: whatever ends `run` fails those who wait, and those who come later.
5. After `refuse` no unit is opened any more; what was added before is still committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from sheaf.core.base.errors import StorageFailure
from sheaf.ports import Store, WriteBatch

Callback = Callable[[], None]

logger = structlog.get_logger("sheaf.commits")


class Defect(StorageFailure):
    """Not the disk but Sheaf itself kept something from being saved."""


@dataclass(slots=True)
class UnitOfWork:
    """Rows to write together, and what to do afterwards."""

    batch: WriteBatch = field(default_factory=WriteBatch)
    done: list[Callback] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing to write and nobody to tell."""
        return not self.done and not self.waiters and self.batch.is_empty


class Committer:
    """Commits the units of one space.

    Args:
        store: where to.
        prepare: called with each unit just before it is committed, to add what is best
            decided late (sealing).
        on_failure: told once when a commit failed; the committer has stopped then.
    """

    def __init__(
        self,
        *,
        store: Store,
        prepare: Callable[[UnitOfWork], None],
        on_failure: Callable[[StorageFailure], None],
    ) -> None:
        self._store = store
        self._prepare = prepare
        self._on_failure = on_failure
        self._open = UnitOfWork()
        self._in_flight: UnitOfWork | None = None
        self._wakeup = asyncio.Event()
        self._failure: StorageFailure | None = None
        self._refusal: StorageFailure | None = None

    @property
    def refusal(self) -> StorageFailure | None:
        """Why nothing more is taken, for the failure or for `refuse`; None when changes are welcome."""
        return self._failure or self._refusal

    def refuse(self, refusal: StorageFailure) -> None:
        """The disk takes nothing now: open no unit any more, for good."""
        self._refusal = refusal

    @property
    def unit(self) -> UnitOfWork:
        """The open unit; it will be committed soon.

        Raises:
            StorageFailure: an earlier commit failed, or the disk takes nothing now.
        """
        if (refusal := self.refusal) is not None:
            raise refusal
        self._wakeup.set()
        return self._open

    def after_commit(self, callback: Callback) -> None:
        """Run `callback` when everything added so far is durable (at once if it already is)."""
        if self._failure is not None:
            return
        if not self._open.is_empty:
            self._open.done.append(callback)
        elif self._in_flight is not None:
            self._in_flight.done.append(callback)
        else:
            callback()

    async def flush(self) -> None:
        """Wait until everything added so far is durable.

        Raises:
            StorageFailure: it never will be.
        """
        if self._failure is not None:
            raise self._failure
        target = self._open if not self._open.is_empty else self._in_flight
        if target is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        target.waiters.append(waiter)
        self._wakeup.set()
        await waiter

    async def run(self) -> None:
        """Commit units for ever; ends when a commit failed. Cancel to stop (flush first)."""
        try:
            while self._failure is None:
                await self._wakeup.wait()
                self._wakeup.clear()
                await self._commit_next()
        except StorageFailure as failure:
            self._stop(failure)
            self._on_failure(failure)
        except Exception as error:  # memory and disk may disagree now: as bad as a failing disk
            logger.exception("a unit of work could not be prepared or committed")
            defect = Defect(f"A defect of Sheaf kept this from being saved: {error!r}")
            self._stop(defect)
            self._on_failure(defect)
        finally:
            self._stop(StorageFailure("The space was closed before this was saved."))

    async def _commit_next(self) -> None:
        self._prepare(self._open)
        if self._open.is_empty:
            return
        unit, self._open = self._open, UnitOfWork()
        self._in_flight = unit
        if not unit.batch.is_empty:
            await self._store.commit(unit.batch)
        for callback in unit.done:
            self._call(callback)
        for waiter in unit.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._in_flight = None

    def _call(self, callback: Callback) -> None:
        """What is durable is durable: who cannot be told must not keep the others from hearing it."""
        try:
            callback()
        except Exception:
            logger.exception("somebody could not be told of a commit")

    def _stop(self, failure: StorageFailure) -> None:
        """Nothing is committed any more; whoever waits is told."""
        if self._failure is not None:
            return
        self._failure = failure
        in_flight = [] if self._in_flight is None else self._in_flight.waiters
        for waiter in in_flight + self._open.waiters:
            if not waiter.done():
                waiter.set_exception(failure)
        self._in_flight = None
