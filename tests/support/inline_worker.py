"""A `ContentWorker` that does everything at once: for tests in virtual time and without processes."""

from __future__ import annotations

from collections.abc import Callable

from sheaf.content_work.task import ContentTask, ResultT, perform


class InlineWorker:
    """Works where it is called."""

    async def perform(self, task: ContentTask) -> bytes:
        """See `ContentWorker`."""
        return perform(task)

    async def compute(self, call: Callable[[], ResultT]) -> ResultT:
        """See `ContentWorker`."""
        return call()
