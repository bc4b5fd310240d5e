"""All mailboxes of this device: a worker for each space on each relay its owners set (PROTOCOL §7).

Starts and ends workers as spaces, preferences and relays come and go, keeps their figures, and says
that delivery changed, twice a second at most. Must not know HTTP, SQL or sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from sheaf.core.base.errors import StorageFailure, WireError
from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.node.driver import WakeTimer
from sheaf.node.events import EventBus
from sheaf.node.library import Library
from sheaf.node.mailbox_memory import MailboxMemory
from sheaf.node.mailbox_words import RelayWarning
from sheaf.node.mailbox_worker import MailboxWorker
from sheaf.node.relay_book import public_urls
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, Relay, RelayPool, Store
from sheaf.task_set import TaskSet

TELL_AFTER_S: Final = 0.5
LAST_UPLOAD_S: Final = 2.0
"""So long stopping waits for relays."""

logger = structlog.get_logger("sheaf.mailbox")

_COUNTS: Final = (
    "mailbox_items_put_total",
    "mailbox_bytes_put_total",
    "mailbox_items_read_total",
    "mailbox_items_skipped_total",
    "mailbox_runs_refused_total",
    "mailbox_compactions_total",
    "mailbox_lost_total",
    "mailbox_rolled_back_total",
)


@dataclass(slots=True)
class _Running:
    """A worker, its task, and what it was made for."""

    worker: MailboxWorker
    tasks: TaskSet
    host: SpaceHost
    relay: Relay


class Mailboxes:
    """See the module. `refresh` after anything changed; `run` in a task."""

    def __init__(
        self,
        *,
        own: DeviceId,
        library: Library,
        pool: RelayPool | None,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
    ) -> None:
        self._own = own
        self._library = library
        self._pool = pool
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._running: dict[tuple[SpaceId, str], _Running] = {}
        self._due = asyncio.Event()
        self._changed: set[SpaceId] = set()
        self._timer = WakeTimer(clock=clock, on_wake=self._tell)
        self._counts = dict.fromkeys(_COUNTS, 0.0)

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Keep the right workers running. Cancel to stop, then `close`."""
        if self._pool is not None:
            self._pool.on_change(self._relays_changed)
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._settle()
            except StorageFailure as failure:  # told again when the space is open again
                logger.error("mailboxes could not be opened", reason=str(failure))
            except Exception:  # one defect must not end delivery in all spaces
                logger.exception("mailboxes could not be opened because of a defect")

    async def close(self) -> None:
        """Let every worker upload what waits, if it can do so soon, and end it."""
        self._timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_UPLOAD_S), asyncio.TaskGroup() as group:
                for running in self._running.values():
                    group.create_task(running.worker.hurry())
        for running in self._running.values():
            await running.tasks.close()
        self._running.clear()

    def refresh(self) -> None:
        """A space came, went or changed."""
        self._due.set()

    def _relays_changed(self) -> None:
        self._due.set()
        for (space_id, _), running in self._running.items():
            running.worker.poke()
            self._note(space_id)

    def _wanted(self) -> dict[tuple[SpaceId, str], tuple[SpaceHost, Relay]]:
        wanted: dict[tuple[SpaceId, str], tuple[SpaceHost, Relay]] = {}
        for host in self._library.hosts():
            for url in public_urls(host.space.preferences().relay_urls) if self._pool is not None else ():
                relay = self._pool.relay(url) if self._pool is not None else None
                if relay is not None and host.role is not None:
                    wanted[host.space_id, url] = (host, relay)
        return wanted

    async def _settle(self) -> None:
        for host in self._library.hosts():
            host.delivery.on_news = lambda space_id=host.space_id: self._news(space_id)  # type: ignore[misc]
        wanted = self._wanted()
        for key, running in list(self._running.items()):
            if wanted.get(key) != (running.host, running.relay):
                del self._running[key]
                await running.tasks.close()
        for key, (host, relay) in wanted.items():
            if key not in self._running:
                host.delivery.has_mailbox = True
                host.delivery.moved()
                memories = await self._memories(host.space_id, key[1])
                self._running[key] = self._start(host, relay, memories)
            self._running[key].worker.poke()

    async def _memories(self, space_id: SpaceId, url: str) -> dict[bytes, MailboxMemory]:
        memories: dict[bytes, MailboxMemory] = {}
        for row in await self._store.mailboxes(space_id):
            if row.url == url:
                try:
                    memories[row.mailbox_id] = MailboxMemory.decode(row.state)
                except WireError as error:  # it is read from the start then
                    logger.error("what was remembered of a mailbox is damaged", error=str(error))
        return memories

    def _start(self, host: SpaceHost, relay: Relay, memories: dict[bytes, MailboxMemory]) -> _Running:
        space_id = host.space_id
        worker = MailboxWorker(
            host=host,
            relay=relay,
            own=self._own,
            store=self._store,
            clock=self._clock,
            entropy=self._entropy,
            memories=memories,
            counts=self._counts,
            on_change=lambda: self._note(space_id),
            on_warning=lambda warning: self._warn(space_id, relay.url, warning),
        )
        tasks = TaskSet(f"mailboxes of {space_id.short}")
        tasks.spawn(worker.run(), "worker")
        return _Running(worker, tasks, host, relay)

    # ------------------------------------------------------------------ news

    def _news(self, space_id: SpaceId) -> None:
        """Something of a space became durable, or others said what they hold."""
        for worker in self.workers(space_id):
            worker.poke()
        self._note(space_id)

    def _note(self, space_id: SpaceId) -> None:
        self._changed.add(space_id)
        if self._timer.due is None:
            self._timer.arm(self._clock.now() + TELL_AFTER_S)

    def _tell(self, _: float) -> None:
        changed, self._changed = self._changed, set()
        for space_id in changed:
            self._events.publish("delivery_changed", space_id=space_id.text, document_id=None)

    def _warn(self, space_id: SpaceId, url: str, warning: RelayWarning) -> None:
        self._events.publish(
            "relay_warning", url=url, space_id=space_id.text, kind=warning.kind, detail=warning.detail
        )
        self._note(space_id)

    # ------------------------------------------------------------------ for people

    def workers(self, space_id: SpaceId) -> Sequence[MailboxWorker]:
        """The workers of a space, one per relay."""
        return [running.worker for (known, _), running in self._running.items() if known == space_id]

    def metrics(self) -> Mapping[str, float]:
        """Counters for /metrics."""
        return self._counts
