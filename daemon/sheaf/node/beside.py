"""What may take long is done beside the event loop; what is small is done at once (decision 0074).

Tabs, peers and the watchdog wait while the loop is busy, so only work whose cost is bounded by
its size may stay on it. Must not know processes or threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sheaf.content_work.forms import DocType
from sheaf.content_work.task import Action, ContentTask, ContentWorker, perform
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update
from sheaf.core.crdt.replica import Survey, survey_updates

PAGE_BYTES_MAX: Final = 2 * 1024
"""A task up to this size is done on the loop; the worst page of this size takes some 15 ms (measured)."""
TEXT_BYTES_MAX: Final = 8 * 1024
"""The same for text documents, which are only compared…"""
TEXT_READ_BYTES_MAX: Final = 256 * 1024
"""…and for reading them, which is native code throughout."""
UPDATE_BYTES_MAX: Final = 64 * 1024
"""An update up to this size is inspected on the loop; 64 KiB take up to 10 ms."""


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
        if len(update) <= UPDATE_BYTES_MAX:
            return inspect_update(update)
        return await self._worker.compute(lambda: inspect_update(update))

    async def survey(self, updates: Sequence[bytes]) -> Survey:
        """See `survey_updates`."""
        if sum(map(len, updates)) <= UPDATE_BYTES_MAX:
            return survey_updates(updates)
        return await self._worker.compute(lambda: survey_updates(updates))


def _small_enough(task: ContentTask) -> int:
    if task.type is DocType.PAGE:
        return PAGE_BYTES_MAX
    return TEXT_READ_BYTES_MAX if task.action is Action.READ else TEXT_BYTES_MAX
