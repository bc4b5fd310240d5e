"""A `ContentWorker` that does everything at once: for tests in virtual time and without processes."""

from __future__ import annotations

from sheaf.content_work.task import ContentTask, perform
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update


class InlineWorker:
    """Works where it is called."""

    async def perform(self, task: ContentTask) -> bytes:
        """See `ContentWorker`."""
        return perform(task)

    async def inspect(self, update: bytes) -> UpdateSummary:
        """See `ContentWorker`."""
        return inspect_update(update)
