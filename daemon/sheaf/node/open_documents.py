"""The documents of one space that are in memory: loaded when wanted, freed when nobody looks.

Must not know peers or envelopes; what arrives for a document that is not open is only
stored, and read when somebody opens it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from sheaf.core.base.errors import Busy
from sheaf.core.base.ids import INDEX_DOC_ID, DeviceId, DocId
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.replica import EMPTY_UPDATE, ReplicaPoisoned
from sheaf.core.space.space import Space
from sheaf.node.beside import Beside
from sheaf.node.document_actor import Delivery, DocumentActor, DocumentHost
from sheaf.node.document_loading import encode_covers, load_replica, snapshot_row
from sheaf.node.sealer import Sealer
from sheaf.node.unit_of_work import Committer
from sheaf.node.views import CloseCode
from sheaf.ports import Clock, QuarantineRow, SnapshotRow, Store, WriteBatch

BORROWERS_MAX: Final = 32
"""Requests that may use one document at a time; more are refused."""
SNAPSHOT_EVERY_EDITS: Final = 500
"""A document with this many edits since its last snapshot gets a new one when it is freed…"""
SNAPSHOT_OPEN_EVERY_EDITS: Final = 2000
"""…and while it stays open. The index document always does."""

logger = structlog.get_logger("sheaf.documents")


class OpenDocuments:
    """Document id → actor."""

    def __init__(
        self,
        *,
        space: Space,
        host: DocumentHost,
        store: Store,
        committer: Committer,
        sealer: Sealer,
        beside: Beside,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._space = space
        self._host = host
        self._store = store
        self._committer = committer
        self._sealer = sealer
        self._beside = beside
        self._clock = clock
        self._entropy = entropy
        self._actors: dict[DocId, DocumentActor] = {}

    # ------------------------------------------------------------------ opening and freeing

    async def open(self, doc_id: DocId) -> DocumentActor:
        """The document, loaded; the same actor for everybody who has it open. Raises StorageFailure."""
        while (actor := self._actors.get(doc_id)) is not None:
            await actor.loaded()
            if self._actors.get(doc_id) is actor:
                return actor  # else it was freed, or given up, before our turn came
        actor = DocumentActor(
            doc_id=doc_id, host=self._host, beside=self._beside, clock=self._clock, entropy=self._entropy
        )
        self._actors[doc_id] = actor
        try:
            await self._load(actor)
        except BaseException as failure:
            self._actors.pop(doc_id, None)
            actor.fail_loading(failure if isinstance(failure, Exception) else None)
            raise
        return actor

    async def _load(self, actor: DocumentActor) -> None:
        """What arrives from now on waits in the actor; what came before is flushed and read.

        Local edits that wait to be sealed may be sealed while we read, too late to be read:
        they are taken first, and again applying one that was read changes nothing.
        """
        waiting = self._sealer.waiting_of(actor.doc_id)
        await self._committer.flush()
        loaded = await load_replica(
            store=self._store,
            space=self._space,
            doc_id=actor.doc_id,
            unsealed=waiting,
            beside=self._beside,
            entropy=self._entropy,
        )
        if loaded.refused and self._committer.refusal is None:
            quarantine = self._committer.unit.batch.quarantine
            for log_id, seq, env_id, reason in loaded.refused:
                quarantine.append(QuarantineRow(self._space.space_id, log_id, seq, env_id, reason))
        actor.missing = loaded.missing
        actor.edits_since_snapshot = loaded.edits
        actor.finish_loading(loaded.replica)

    @asynccontextmanager
    async def borrow(self, doc_id: DocId) -> AsyncIterator[DocumentActor]:
        """The document for one request; it stays in memory as long.

        Raises:
            StorageFailure: see `open`.
            Busy: too many requests use it already.
        """
        actor = await self.open(doc_id)
        if actor.borrowers >= BORROWERS_MAX:
            raise Busy("Too many requests use this document. Nothing was changed; try again in a moment.")
        actor.borrowers += 1
        try:
            yield actor
        finally:
            actor.borrowers -= 1
            self.released(doc_id)

    def find(self, doc_id: DocId) -> DocumentActor | None:
        """The document if it is in memory and loaded."""
        actor = self._actors.get(doc_id)
        return actor if actor is not None and actor.is_loaded else None

    def released(self, doc_id: DocId) -> None:
        """Somebody let go of it: when nobody else holds it, free it, with a snapshot if that is due."""
        actor = self.find(doc_id)
        if actor is None or not actor.is_idle or doc_id == INDEX_DOC_ID:
            return
        if actor.edits_since_snapshot >= SNAPSHOT_EVERY_EDITS and self._committer.refusal is None:
            self._snapshot_into(self._committer.unit.batch, actor)
        del self._actors[doc_id]

    def snapshot_into(self, batch: WriteBatch) -> None:
        """Add snapshots of open documents that would take long to read; just before a commit."""
        for actor in self._actors.values():
            if actor.edits_since_snapshot >= SNAPSHOT_OPEN_EVERY_EDITS and actor.is_loaded:
                self._snapshot_into(batch, actor)

    def _snapshot_into(self, batch: WriteBatch, actor: DocumentActor) -> None:
        batch.snapshots.append(snapshot_row(self._space, actor.doc_id, actor.replica, actor.missing))
        actor.edits_since_snapshot = 0

    def poisoned(self, doc_id: DocId, error: ReplicaPoisoned) -> None:
        """Native code failed: forget the replica; the next opening rebuilds it from the logs alone."""
        actor = self._actors.pop(doc_id, None)
        if actor is not None:
            actor.close_all(CloseCode.STORAGE_FAILED, str(error))
        if self._committer.refusal is None:
            nothing = SnapshotRow(self._space.space_id, doc_id, EMPTY_UPDATE, encode_covers({}))
            self._committer.unit.batch.snapshots.append(nothing)

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Let every tab go."""
        for actor in tuple(self._actors.values()):
            actor.close_all(code, reason)

    # ------------------------------------------------------------------ what arrives

    def deliver(self, doc_id: DocId, delivery: Delivery) -> None:
        """An update from a peer, if the document is open."""
        actor = self._actors.get(doc_id)
        if actor is not None:
            actor.deliver(delivery)

    # ------------------------------------------------------------------ presence

    def local_presence(self) -> Iterator[tuple[DocId, bytes]]:
        """Who is in which document on this machine."""
        for doc_id, actor in self._actors.items():
            states = actor.local_presence_states()
            if states is not None:
                yield doc_id, states

    def remote_presence(self, device_id: DeviceId, doc_id: DocId, data: bytes) -> None:
        """Presence from a peer, for a document that may be open here."""
        actor = self.find(doc_id)
        if actor is not None:
            actor.remote_presence(device_id, data)

    def device_left(self, device_id: DeviceId) -> None:
        """Nobody types on that device any more, as far as we can see."""
        for actor in self._actors.values():
            actor.device_left(device_id)

    def expire_presence(self) -> None:
        """Forget who has not been heard of for 30 s."""
        for actor in self._actors.values():
            actor.expire_presence()

    # ------------------------------------------------------------------ numbers

    @property
    def count(self) -> int:
        """Documents in memory."""
        return len(self._actors)

    @property
    def tab_count(self) -> int:
        """Tabs that have a document open."""
        return sum(actor.tab_count for actor in self._actors.values())

    @property
    def held_count(self) -> int:
        """Changes of tabs that wait for what they build on."""
        return sum(actor.held_count for actor in self._actors.values())
