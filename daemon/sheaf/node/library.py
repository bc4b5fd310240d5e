"""The spaces of this device: opened from the store, made, named and left.

Owns one `SpaceHost` per space and the task that commits for it. A space whose disk
failed is thrown out of memory and opened again from the store when the disk is back;
until then its tabs keep what they have (FAULTS S5, S6).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
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
from sheaf.node.delivery_state import NOT_DELIVERED, SpaceDelivery
from sheaf.node.document_tree import DocumentTree
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity, clean_name
from sheaf.node.space_host import RestoredSpace, SpaceHost
from sheaf.node.views import CloseCode, SpaceSummary
from sheaf.ports import Clock, EpochSecretRow, OpRow, SpaceRow, Store, WriteBatch
from sheaf.task_set import TaskSet

REOPEN_S: Final = 2.0
"""How long to wait before trying a failed disk again."""

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
        self._failed: set[SpaceId] = set()
        """Spaces that are closed until the disk works again; they are here all the same."""
        self.failure: str | None = None
        self.delivery_of: Callable[[SpaceId], SpaceDelivery] = lambda _: NOT_DELIVERED
        """How a space stands with the others; set by who knows."""

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open every space the store knows. Raises StorageFailure."""
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

    async def _open_if_sound(self, space_id: SpaceId) -> None:
        """A space that cannot be read stays closed; the others have nothing to do with it."""
        try:
            await self._open(space_id)
        except StorageFailure:
            raise
        except SheafError as error:
            self.failure = f"A space cannot be opened, because what is stored of it is damaged: {error}"
            logger.error("a space cannot be opened", space=space_id.short, error=str(error))
            self._failed.add(space_id)

    async def close(self) -> None:
        """Let every tab go and write what is still in memory."""
        for host in self._hosts.values():
            host.close(CloseCode.STOPPING, "the daemon is stopping")
        for host in self._hosts.values():
            host.delivery.close()
            try:
                await host.flush()
            except StorageFailure as failure:
                logger.error("could not write everything before stopping", error=str(failure))
        for runner in self._runs.values():
            await runner.close()

    async def _open(self, space_id: SpaceId) -> SpaceHost:
        restored = await self._restore(space_id)
        host = SpaceHost(
            restored=restored,
            device=self._identity.device,
            certificate=self._identity.certificate,
            store=self._store,
            clock=self._clock,
            entropy=self._entropy,
            beside=self._beside,
            events=self._events,
            next_pending_id=lambda: next(self._pending_ids),
            on_failure=self._host_failed,
            on_membership=self._on_change,
        )
        runner = TaskSet(f"space {space_id.short}")
        runner.spawn(host.run(), "commits")
        try:
            actor = await host.documents.open(INDEX_DOC_ID)
        except BaseException:
            await runner.close()
            raise
        self._hosts[space_id] = host
        self._runs[space_id] = runner
        self._trees[space_id] = DocumentTree(actor=actor, host=host, clock=self._clock, entropy=self._entropy)
        text = space_id.text  # made once: a catch-up says thousands of times that the index changed
        host.index_changed = lambda: self._index_changed(text)
        host.reopen_wanted = lambda: self._tasks.spawn(self._reopen_sealed(host), "open sealed envelopes")
        host.index_lost = lambda: self._tasks.spawn(self._read_index_again(host), "read the index again")
        host.reopen_wanted()
        self._index_changed(text)
        self._on_change(space_id)
        return host

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

    def _host_failed(self, space_id: SpaceId, failure: StorageFailure) -> None:
        self.failure = str(failure)
        logger.error("storage failed; the space is closed until it works again", error=str(failure))
        self._events.publish("storage_changed", state="failed", detail=str(failure))
        self._failed.add(space_id)
        self._hosts.pop(space_id, None)
        self._trees.pop(space_id, None)
        runner = self._runs.pop(space_id, None)
        self._on_change(space_id)
        self._tasks.spawn(self._recover(space_id, runner), "wait for the disk")

    async def _recover(self, space_id: SpaceId, runner: TaskSet | None) -> None:
        if runner is not None:
            await runner.close()
        while True:
            await asyncio.sleep(REOPEN_S)
            try:
                await self._store.commit(WriteBatch(settings={"probe": b"\x01"}))
                await self._open(space_id)
            except StorageFailure:
                continue
            except SheafError as error:
                logger.error("a space cannot be opened any more", space=space_id.short, error=str(error))
                return
            self._failed.discard(space_id)
            self.failure = None
            self._events.publish("storage_changed", state="ok", detail=None)
            logger.info("storage works again")
            return

    def _index_changed(self, space_text: str) -> None:
        self._events.publish("documents_changed", space_id=space_text)

    # ------------------------------------------------------------------ lookups

    def hosts(self) -> Iterable[SpaceHost]:
        """Every open space."""
        return tuple(self._hosts.values())

    def host(self, space_id: SpaceId) -> SpaceHost:
        """One space. Raises NotFound, or StorageFailure while it waits for the disk."""
        host = self._hosts.get(space_id)
        if host is None and space_id in self._failed:
            raise StorageFailure(self.failure or "The disk refused; what was saved is safe.")
        if host is None:
            raise NotFound("there is no such space on this device")
        return host

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
            if self._trees[space_id].has(doc_id):
                self._places[doc_id] = space_id  # a second space that names the same id changes nothing
                return self._hosts[space_id], self._trees[space_id]
        if self._failed:
            raise StorageFailure(self.failure or "The disk refused; what was saved is safe.")
        raise NotFound("there is no such document on this device")

    def summary(self, space_id: SpaceId) -> SpaceSummary:
        """What the list of spaces shows. Raises NotFound."""
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
        """Forget a space on this device. Raises UsageError when edits here are nowhere else."""
        host = self.host(space_id)
        is_sendable = host.can_write() and len(host.space.membership.members) > 1
        if host.unsent_count and is_sendable:
            raise UsageError(
                f"{host.unsent_count} edits made here have reached nobody yet and would be lost. "
                "Connect to another member first"
            )
        host.close(CloseCode.GONE, "this device left the space")
        host.delivery.close()
        await host.flush()
        runner = self._runs.pop(space_id)
        await runner.close()
        del self._hosts[space_id], self._trees[space_id]
        await self._store.commit(WriteBatch(forget_spaces=[space_id]))
        self._on_change(space_id)
        self._events.publish("spaces_changed")
