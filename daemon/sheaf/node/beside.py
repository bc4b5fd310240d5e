"""What may take long is done beside the event loop; what is small is done at once (decision 0074).

Tabs, peers and the watchdog wait while the loop is busy, so only work whose cost is bounded by
its size may stay on it. Must not know processes or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sheaf.content_work.forms import DocType
from sheaf.content_work.task import Action, ContentTask, ContentWorker, perform
from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update
from sheaf.core.crdt.replica import Survey, survey_updates
from sheaf.core.crdt.update_runs import BACKLOG_LIMITS, TakenApart, take_apart

PAGE_BYTES_MAX: Final = 2 * 1024
"""A task up to this size is done on the loop; the worst page of this size takes some 15 ms (measured)."""
TEXT_BYTES_MAX: Final = 8 * 1024
"""The same for text documents, which are only compared…"""
TEXT_READ_BYTES_MAX: Final = 256 * 1024
"""…and for reading them, which is native code throughout."""
UPDATE_BYTES_MAX: Final = 64 * 1024
"""An update up to this size is inspected on the loop; 64 KiB take up to 10 ms."""

T = TypeVar("T")


class Beside:
    """Chooses where work is done."""

    def __init__(self, worker: ContentWorker) -> None:
        self._worker = worker

    async def perform(self, task: ContentTask) -> bytes:
        """See `content_work.task.perform`. Raises TooMuchWork, Busy, too."""
        if task.size_bytes <= _small_enough(task):
            return perform(task)
        return await self._worker.perform(task)

    async def inspect(self, update: bytes) -> UpdateSummary:
        """See `inspect_update`."""
        return await self._of_bytes(len(update), lambda: inspect_update(update))

    async def survey(self, updates: Sequence[bytes], *, own_states: int = 0) -> Survey:
        """See `survey_updates`."""
        size_bytes = sum(map(len, updates))
        return await self._of_bytes(size_bytes, lambda: survey_updates(updates, own_states=own_states))

    async def take_apart(self, update: bytes) -> TakenApart:
        """See `take_apart`. Raises UpdateRefused: malformed, or there is too much in it."""
        return await self._of_bytes(len(update), lambda: _inspect_and_take_apart(update))

    async def has_holes(self, update: bytes) -> bool:
        """Whether a well-formed update leaves out structs between those it brings."""
        return await self._of_bytes(len(update), lambda: _has_holes(update))

    async def _of_bytes(self, size_bytes: int, work: Callable[[], T]) -> T:
        if size_bytes <= UPDATE_BYTES_MAX:
            return work()
        return await self._worker.compute(work)


def _inspect_and_take_apart(update: bytes) -> TakenApart:
    inspect_update(update, limits=BACKLOG_LIMITS)
    return take_apart(update)


def _has_holes(update: bytes) -> bool:
    try:
        return inspect_update(update, limits=BACKLOG_LIMITS).has_holes
    except UpdateRefused:
        return False


def _small_enough(task: ContentTask) -> int:
    if task.type is DocType.PAGE:
        return PAGE_BYTES_MAX
    return TEXT_READ_BYTES_MAX if task.action is Action.READ else TEXT_BYTES_MAX
