"""The spaces of this device: opened from the store, made, named and left.

Owns one `SpaceHost` per space and the task that commits for it. A space whose commit failed
is thrown out of memory and opened again from the store at once, for reading only; its tabs
keep what was not saved. When the disk takes changes again every such space is opened anew
(FAULTS S5, S6, docs/decisions/0062-full-disk.md).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from sheaf.core.base.errors import NotFound, SheafError, StorageFailure, UsageError
from sheaf.core.base.ids import INDEX_DOC_ID, DocId, EpochId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.core.space.run import LogState
from sheaf.core.space.space import Space
from sheaf.node.beside import Beside
from sheaf.node.closed_spaces import ClosedSpaces
from sheaf.node.delivery_state import NOT_DELIVERED, SpaceDelivery
from sheaf.node.document_tree import DocumentTree
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity, clean_name
from sheaf.node.space_host import RestoredSpace, SpaceHost
from sheaf.node.storage_watch import StorageWatch
from sheaf.node.unit_of_work import Defect
from sheaf.node.views import CloseCode, SpaceSummary
from sheaf.ports import Clock, EpochSecretRow, OpRow, SpaceRow, Store, WriteBatch
from sheaf.task_set import TaskSet

REOPEN_S: Final = 2.0
"""How long to wait before a space that could not be opened is tried again."""

logger = structlog.get_logger("sheaf.library")


class Library:
    """All spaces. `start` before anything else.

    Args:
        on_change: called when the set of spaces or somebody's membership changed.
    """

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        beside: Beside,
        events: EventBus,
        tasks: TaskSet,
        on_change: Callable[[SpaceId], None],
    ) -> None:
        self._identity = identity
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._beside = beside
        self._events = events
        self._tasks = tasks
        self._on_change = on_change
        self._hosts: dict[SpaceId, SpaceHost] = {}
        self._trees: dict[SpaceId, DocumentTree] = {}
        self._runs: dict[SpaceId, TaskSet] = {}
        self._places: dict[DocId, SpaceId] = {}
        self._pending_ids = itertools.count(1)
        self._closed = ClosedSpaces()
        self.storage = StorageWatch(
            store=store, events=events, on_refused=self._disk_refused, on_mended=self._renew_all
        )
        self.storage.unreadable = self._closed.unreadable
        self.delivery_of: Callable[[SpaceId], SpaceDelivery] = lambda _: NOT_DELIVERED
        """How a space stands with the others; set by who knows."""

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open every space the store knows. Raises StorageFailure."""
        await self.storage.start()
        rows = await self._store.spaces()
        last = 0
        for row in rows:
            if row.state == "ready":
                for pending in await self._store.pending(row.space_id):
                    last = max(last, pending.pending_id)
        self._pending_ids = itertools.count(last + 1)
        for row in rows:
            if row.state == "ready":
                await self._open_if_sound(row.space_id)
        self._tasks.spawn(self.storage.run(), "watch the disk")

    async def _open_if_sound(self, space_id: SpaceId) -> None:
        """A space that cannot be read stays closed; the others have nothing to do with it."""
        try:
            await self._open(space_id)
        except StorageFailure:
            raise
        except SheafError as error:
            logger.error("a space cannot be opened", space=space_id.short, error=str(error))
            self._closed.add_unknown(space_id, error)
            self.storage.tell()

    async def close(self) -> None:
        """Let every tab go and write what is still in memory."""
        for host in self._hosts.values():
            host.close(CloseCode.STOPPING, "the daemon is stopping")
        for host in self.hosts():
            host.delivery.close()
            try:
                await host.flush()
            except StorageFailure as failure:
                logger.error("could not write everything before stopping", error=str(failure))
        for runner in tuple(self._runs.values()):
            await runner.close()

    async def _open(self, space_id: SpaceId) -> SpaceHost:
        """Open a space from the store and let it take the place of the one that is open, if any.

        Raises:
            StorageFailure: it cannot be read now; all is as before.
            SheafError: what is stored of it is damaged.
        """
        while True:
            refusal = self.storage.refusal
            host = await self._make(space_id)
            runner = TaskSet(f"space {space_id.short}")
            runner.spawn(host.run(), "commits")
            if refusal is not None:
                host.refuse_writes(refusal)
            try:
                actor = await host.documents.open(INDEX_DOC_ID)
                await host.flush()
            except BaseException:
                await runner.close()
                raise
            if refusal is None or self.storage.refusal is not None:
                break
            await runner.close()  # the disk came back while we read: open it for writing
        if (refusal := self.storage.refusal) is not None:
            host.refuse_writes(refusal)
        former, former_runner = self._remove(space_id)
        tree = DocumentTree(actor=actor, host=host, clock=self._clock, entropy=self._entropy)
        self._hosts[space_id], self._trees[space_id], self._runs[space_id] = host, tree, runner
        self._closed.opened(space_id)
        text = space_id.text  # made once: a catch-up says thousands of times that the index changed
        host.index_changed = lambda: self._index_changed(text)
        host.reopen_wanted = lambda: self._tasks.spawn(self._reopen_sealed(host), "open sealed envelopes")
        host.index_lost = lambda: self._tasks.spawn(self._read_index_again(host), "read the index again")
        host.reopen_wanted()
        self._index_changed(text)
        self._on_change(space_id)
        if former is not None:
            former.close(CloseCode.STORAGE_FAILED, "the disk takes changes again; connect again")
            former.delivery.close()
            await former_runner.close()
        return host

    async def _make(self, space_id: SpaceId) -> SpaceHost:
        host = SpaceHost(
            restored=await self._restore(space_id),
            device=self._identity.device,
            certificate=self._identity.certificate,
            store=self._store,
            clock=self._clock,
            entropy=self._entropy,
            beside=self._beside,
            events=self._events,
            next_pending_id=lambda: next(self._pending_ids),
            on_failure=lambda _, failure: self._host_failed(host, failure),
            on_membership=self._on_change,
        )
        return host

    def _remove(self, space_id: SpaceId) -> tuple[SpaceHost | None, TaskSet]:
        """Take a space out of memory, and tell those who have to do with it; the caller ends what ran."""
        host = self._hosts.pop(space_id, None)
        runner = self._runs.pop(space_id, None)
        self._trees.pop(space_id, None)
        if host is not None:
            self._on_change(space_id)
        return host, runner or TaskSet("nothing")

    async def _restore(self, space_id: SpaceId) -> RestoredSpace:
        space = Space(space_id=space_id, device_id=self._identity.device.device_id)
        logs = await self._store.logs(space_id)
        space.restore(
            (row.raw for row in await self._store.ops(space_id)),
            {row.epoch_id: row.secret for row in await self._store.epoch_secrets(space_id)},
            [LogState(row.log_id, row.genesis, row.next_seq, row.state) for row in logs],
        )
        return RestoredSpace(
            space=space,
            durable={row.log_id: row.next_seq for row in logs},
            claims={row.client_id: row.device_id for row in await self._store.claims(space_id)},
            pending=await self._store.pending(space_id),
            touched={row.doc_id: row.updated_ms for row in await self._store.touched(space_id)},
            receipts=await self._store.receipts(space_id),
            agreed={row.device_id: row.version for row in await self._store.peers(space_id) if row.version},
        )

    async def _read_index_again(self, host: SpaceHost) -> None:
        try:
            actor = await host.documents.open(INDEX_DOC_ID)
        except StorageFailure as failure:  # the whole space is opened again when the disk works
            logger.error("could not read the index again", error=str(failure))
            return
        if self._hosts.get(host.space_id) is host:
            self._trees[host.space_id] = DocumentTree(
                actor=actor, host=host, clock=self._clock, entropy=self._entropy
            )
            self._index_changed(host.space_id.text)

    async def _reopen_sealed(self, host: SpaceHost) -> None:
        try:
            await host.reopen()
        except StorageFailure as failure:
            logger.error("could not open waiting envelopes", error=str(failure))

    # ------------------------------------------------------------------ a disk that fails

    def _disk_refused(self, failure: StorageFailure) -> None:
        """Whatever failed: no space takes changes any more, until they are renewed."""
        for host in self._hosts.values():
            host.refuse_writes(failure)

    def _host_failed(self, host: SpaceHost, failure: StorageFailure) -> None:
        if self._hosts.get(host.space_id) is not host:
            return  # it was being opened: whoever does so hears of it
        logger.error("a space could not be saved; it is read again", reason=str(failure))
        self._close(host.space_id, failure)

    def _close(self, space_id: SpaceId, failure: SheafError) -> None:
        """Open a space again, from the store; until then it stays in the list.

        When the disk failed, peers keep what was open until the other takes its place: it stores
        nothing any more, and between them there is no moment without the space.
        """
        is_disk = self.storage.refusal is not None
        self._closed.add(self.summary(space_id), failure, is_unreadable=not is_disk)
        self._tasks.spawn(self._reopen(space_id, is_disk=is_disk), "open a space again")
        self.storage.tell()

    async def _reopen(self, space_id: SpaceId, *, is_disk: bool) -> None:
        if not is_disk:  # memory and disk may disagree; and do not try a defect again and again
            await self._end(space_id)
            await asyncio.sleep(REOPEN_S)
        while True:
            if await self._reopened(space_id):
                return
            await asyncio.sleep(REOPEN_S)

    async def _end(self, space_id: SpaceId) -> None:
        _, runner = self._remove(space_id)
        await runner.close()

    async def _reopened(self, space_id: SpaceId) -> bool:
        """Try to open a closed space; True when there is nothing left to try."""
        failure = await self._try_to_open(space_id)
        if failure is not None:
            self._closed.not_opened(space_id, failure)
            await self._end(space_id)
        self.storage.tell()
        return not isinstance(failure, StorageFailure) or isinstance(failure, Defect)

    async def _try_to_open(self, space_id: SpaceId) -> SheafError | None:
        """Open a space; what it ended with. A defect in one must not keep others from being opened."""
        try:
            await self._open(space_id)
        except StorageFailure as failure:
            return failure
        except SheafError as error:
            logger.error("a space cannot be opened any more", space=space_id.short, error=str(error))
            return error
        except Exception as error:
            logger.exception("a space cannot be opened because of a defect")
            return Defect(f"A defect of Sheaf keeps a space from being opened: {error!r}")
        return None

    async def _renew_all(self) -> None:
        """The disk takes changes again: open every space anew, for writing.

        One at a time, and not those that are being opened again anyhow: of two that open the same
        space one would not know what the other has written meanwhile.
        """
        for host in tuple(self._hosts.values()):
            with suppress(StorageFailure):
                await host.flush()  # what was on its way before the disk refused
            is_current = self._hosts.get(host.space_id) is host and host.space_id not in self._closed
            if host.refusal is None or not is_current:
                continue
            if (failure := await self._try_to_open(host.space_id)) is not None:
                self._close(host.space_id, failure)

    def _index_changed(self, space_text: str) -> None:
        self._events.publish("documents_changed", space_id=space_text)

    # ------------------------------------------------------------------ lookups

    def hosts(self) -> Iterable[SpaceHost]:
        """Every open space."""
        return tuple(self._hosts.values())

    def host(self, space_id: SpaceId) -> SpaceHost:
        """One space. Raises NotFound, or StorageFailure while it waits for the disk."""
        self._closed.require_none(space_id)
        host = self._hosts.get(space_id)
        if host is None:
            raise NotFound("there is no such space on this device")
        return host

    async def settle(self) -> None:
        """Wait, though not for long, while spaces are read again after a commit failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REOPEN_S):
                await self._closed.settled.wait()

    def find(self, space_id: SpaceId) -> SpaceHost | None:
        """One space, or None."""
        return self._hosts.get(space_id)

    def tree(self, space_id: SpaceId) -> DocumentTree:
        """The documents of a space. Raises NotFound."""
        self.host(space_id)
        return self._trees[space_id]

    def place(self, doc_id: DocId) -> tuple[SpaceHost, DocumentTree]:
        """Where a document is. Raises NotFound, or StorageFailure while a space that may hold it waits."""
        known = self._places.get(doc_id)
        candidates = [known] if known is not None and known in self._trees else list(self._trees)
        for space_id in candidates:
            if space_id in self._closed:
                continue
            if self._trees[space_id].has(doc_id):
                self._places[doc_id] = space_id  # a second space that names the same id changes nothing
                return self._hosts[space_id], self._trees[space_id]
        self._closed.require_none()
        raise NotFound("there is no such document on this device")

    def summaries(self) -> list[SpaceSummary]:
        """What the list of spaces shows, those that are closed included."""
        opened = (space_id for space_id in self._hosts if space_id not in self._closed)
        return [*map(self.summary, opened), *self._closed.summaries()]

    def summary(self, space_id: SpaceId) -> SpaceSummary:
        """One line of the list of spaces. Raises NotFound, StorageFailure."""
        host = self.host(space_id)
        membership = host.space.membership
        role = host.role
        return SpaceSummary(
            space_id=space_id,
            name=host.space.name() or "(no name yet)",
            role=role if role is not None else Role.READER,
            member_count=len(membership.members),
            document_count=self._trees[space_id].count,
            state="ready",
            delivery=self.delivery_of(space_id),
            relay_urls=host.space.preferences().relay_urls,
        )

    # ------------------------------------------------------------------ changes

    async def create(self, name: str) -> SpaceHost:
        """Found a space. Raises UsageError, StorageFailure."""
        new = authoring.create_space(
            self._identity.user,
            self._identity.device,
            self._identity.certificate,
            name=clean_name(name),
            now_ms=self._clock.wall_ms(),
            entropy=self._entropy,
        )
        space = Space(space_id=new.space_id, device_id=self._identity.device.device_id)
        result = space.add_ops(new.ops)
        assert not result.refused, result.refused
        await self.adopt(space, {new.epoch_id: new.secret})
        return self.host(new.space_id)

    async def adopt(self, space: Space, secrets: dict[EpochId, bytes]) -> SpaceHost:
        """Keep a space that was just founded or joined, and open it. Raises StorageFailure."""
        batch = WriteBatch(
            spaces=[SpaceRow(space.space_id, "ready", self._clock.wall_ms())],
            ops=[OpRow(space.space_id, op.op_id, op.raw) for op in space.control.topological()],
            epoch_secrets=[
                EpochSecretRow(space.space_id, epoch_id, secret) for epoch_id, secret in secrets.items()
            ],
        )
        await self._store.commit(batch)
        host = await self._open(space.space_id)
        self._events.publish("spaces_changed")
        return host

    async def rename(self, space_id: SpaceId, name: str) -> None:
        """Give a space another name. Raises NotAllowed, UsageError, StorageFailure."""
        host = self.host(space_id)
        host.add_ops(
            [
                authoring.prefs(
                    host.space,
                    self._identity.device,
                    name=clean_name(name),
                    now_ms=self._clock.wall_ms(),
                    entropy=self._entropy,
                )
            ]
        )
        await host.flush()
        self._events.publish("spaces_changed")

    async def leave(self, space_id: SpaceId) -> None:
        """Forget a space on this device.

        Raises:
            UsageError: edits made here are nowhere else.
            StorageFailure: the disk takes nothing now; the space stays.
        """
        host = self.host(space_id)
        if host.refusal is not None:
            raise host.refusal
        is_sendable = host.can_write() and len(host.space.membership.members) > 1
        if host.unsent_count and is_sendable:
            raise UsageError(
                f"{host.unsent_count} edits made here have reached nobody yet and would be lost. "
                "Connect to another member first"
            )
        host.close(CloseCode.GONE, "this device left the space")
        host.delivery.close()
        await host.flush()
        summary = self.summary(space_id)
        _, runner = self._remove(space_id)
        await runner.close()
        try:
            await self._store.commit(WriteBatch(forget_spaces=[space_id]))
        except StorageFailure as failure:
            self._closed.add(summary, failure, is_unreadable=False)
            self._tasks.spawn(self._reopen(space_id, is_disk=True), "open a space again")
            raise
        self._events.publish("spaces_changed")
