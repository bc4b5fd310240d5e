"""Whether the disk takes what is written: noticed when it refuses, tried again until it does.

While it does not, spaces are served from what is stored (docs/decisions/0062-full-disk.md). Must
not know what a space is; `Library` closes and renews them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from sheaf.core.base.errors import DiskFull, StorageFailure
from sheaf.core.base.limits import MIB
from sheaf.node.events import EventBus
from sheaf.ports import Store

RETRY_S: Final = 2.0
"""How long to wait before a disk that refused is tried again."""
LOOK_S: Final = 5.0
"""How often the room on the disk is looked at while all is well."""
LOW_BYTES: Final = 50 * MIB
"""With less than this left people are warned."""

logger = structlog.get_logger("sheaf.storage")


class StorageWatch:
    """The state of the disk. `start`, then `run` in a task.

    Args:
        on_refused: called at once when the disk has refused a change.
        on_mended: awaited when it takes changes again.
    """

    def __init__(
        self,
        *,
        store: Store,
        events: EventBus,
        on_refused: Callable[[StorageFailure], None],
        on_mended: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._events = events
        self._on_refused = on_refused
        self._on_mended = on_mended
        self._trouble = asyncio.Event()
        self._told: tuple[str, str | None] = ("ok", None)
        self._healing: StorageFailure | None = None
        """What the disk refused with, until everybody is told that it does so no more."""
        self.refusal: StorageFailure | None = None
        """Why nothing can be written now; None when writing works."""
        self.unreadable: Callable[[], str | None] = lambda: None
        """Why something cannot even be read; set by who reads."""
        self.mended: Callable[[], None] = lambda: None
        """Called after `on_mended`; set by who has something to do again then."""
        self.free_bytes: int | None = None
        """Room on the disk when it was last looked at; None when unknown."""

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen to the store, and see whether there is room to begin with."""
        self._store.watch(self._refused)
        await self._look()

    async def run(self) -> None:
        """Look and try for ever. Cancel to stop."""
        while True:
            if self.refusal is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._trouble.wait()
            if self.refusal is None:
                await self._look()
            else:
                await asyncio.sleep(RETRY_S)
                await self._try_again()

    # ------------------------------------------------------------------ what is found

    def _refused(self, failure: StorageFailure) -> None:
        if self.refusal is not None:
            return
        logger.error("the disk takes nothing now; what is stored can be read", reason=str(failure))
        self.refusal = failure
        self._trouble.set()
        self._on_refused(failure)
        self.tell()

    async def _look(self) -> None:
        try:
            self.free_bytes = await self._store.free_bytes()
        except DiskFull as failure:
            self.free_bytes = 0
            self._refused(failure)
        except StorageFailure as failure:
            logger.warning("the room on the disk is unknown", reason=str(failure))
        self.tell()

    async def _try_again(self) -> None:
        try:
            await self._store.mend()
            self.free_bytes = await self._store.free_bytes()
        except StorageFailure as failure:
            self.refusal = failure  # another reason, perhaps
        else:
            self._healing, self.refusal = self.refusal, None
            self._trouble.clear()
            try:
                await self._on_mended()
            finally:
                self._healing = None
            self.mended()
            logger.info("the disk takes changes again")
        self.tell()

    # ------------------------------------------------------------------ what is said

    def state(self) -> tuple[str, str | None]:
        """'ok', 'low', 'read_only' or 'failed', and a sentence about it."""
        if (unreadable := self.unreadable()) is not None:
            return "failed", unreadable
        if (refusal := self.refusal or self._healing) is not None:
            return "read_only", str(refusal)
        if self.free_bytes is not None and self.free_bytes < LOW_BYTES:
            return (
                "low",
                "The disk is almost full. Make room soon: on a full disk nothing you write is saved.",
            )
        return "ok", None

    def tell(self) -> None:
        """Publish the state if it is another than last time."""
        if (state := self.state()) != self._told:
            self._told = state
            self._events.publish("storage_changed", state=state[0], detail=state[1])
