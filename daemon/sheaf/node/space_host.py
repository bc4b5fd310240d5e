"""One space while the daemon runs: the in-memory truth, and the path to disk and to peers.

Everything that happens to a space meets here: local edits from documents, runs and control
ops from peers. Memory changes first and synchronously; the rows go into the open unit of
work; tabs and peers hear of it after the commit (PROTOCOL §3, §10).

Must not know sockets, SQL or HTTP. Invariants:
1. `durable` (what we tell peers we have) moves only after a commit.
2. No await between reading the space's state, deciding and writing the unit.
3. Bytes of others reach a replica only after `inspect_update` and the claim check.
4. After a failed commit this object is dead: `on_failure` makes a new one from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from sheaf.core.base.errors import StorageFailure, UpdateRefused
from sheaf.core.base.ids import INDEX_DOC_ID, DeviceId, DocId, EpochId, LogId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update
from sheaf.core.crdt.replica import Replica, ReplicaPoisoned
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys
from sheaf.core.space.log_writer import LogWriter
from sheaf.core.space.payload import PayloadKind
from sheaf.core.space.roles import Role
from sheaf.core.space.run import IngestedEnvelope, IngestResult, Run
from sheaf.core.space.space import OpsResult, Space
from sheaf.node import document_actor
from sheaf.node.beside import Beside
from sheaf.node.change_times import ChangeTimes
from sheaf.node.client_claims import ClientClaims
from sheaf.node.delivery import Delivery, ReceiptListener
from sheaf.node.events import EventBus
from sheaf.node.open_documents import OpenDocuments
from sheaf.node.sealer import Sealer
from sheaf.node.space_rows import envelope_row, log_rows, runs_of
from sheaf.node.space_window import SpaceWindow
from sheaf.node.unit_of_work import Committer, UnitOfWork
from sheaf.node.views import CloseCode
from sheaf.ports import (
    Clock,
    EpochSecretRow,
    InvitationRow,
    MailboxRow,
    OpRow,
    PeerRow,
    PendingRow,
    QuarantineRow,
    ReceiptRow,
    Store,
    WriteBatch,
)

logger = structlog.get_logger("sheaf.space")


class SpaceListener(ReceiptListener, Protocol):
    """A live peer connection, as a space sees it."""

    @property
    def device_id(self) -> DeviceId | None: ...
    def wants(self, space_id: SpaceId) -> bool:
        """Whether the peer takes new envelopes of this space now."""
        ...

    def committed(self, space_id: SpaceId, runs: Sequence[Run]) -> None: ...
    def ops_changed(self, space_id: SpaceId) -> None: ...
    def send_presence(self, space_id: SpaceId, doc_id: DocId, data: bytes) -> None: ...
    def close(self, reason: str) -> None: ...


@dataclass(slots=True)
class RestoredSpace:
    """What the store held of a space at start."""

    space: Space
    durable: dict[LogId, int]
    claims: dict[int, DeviceId]
    pending: Sequence[PendingRow]
    touched: dict[DocId, int]
    agreed: dict[DeviceId, bytes]
    """By device, the version vector (`encode_covers`) both sides agreed on last."""
    receipts: Sequence[ReceiptRow]


class SpaceHost:
    """One space, running. Made by `Library`, which also runs `run`."""

    def __init__(
        self,
        *,
        restored: RestoredSpace,
        device: DeviceKeys,
        certificate: DeviceCertificate,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        beside: Beside,
        events: EventBus,
        next_pending_id: Callable[[], int],
        on_failure: Callable[[SpaceId, StorageFailure], None],
        on_membership: Callable[[SpaceId], None],
    ) -> None:
        self.space = restored.space
        self.space_id = restored.space.space_id
        self.durable = restored.durable
        self.touched = ChangeTimes(space_id=self.space_id, known=restored.touched, clock=clock)
        self.claims = ClientClaims(space_id=self.space_id, owners=restored.claims, own=device.device_id)
        self.view = SpaceWindow(space=restored.space, durable=restored.durable, agreed=restored.agreed)
        self._device = device
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._next_pending_id = next_pending_id
        self._on_failure = on_failure
        self._on_membership = on_membership
        writer = LogWriter(self.space, device, certificate, entropy=entropy)
        self._sealer = Sealer(space_id=self.space_id, writer=writer, restored=restored.pending)
        self._committer = Committer(store=store, prepare=self._prepare, on_failure=self._failed)
        self.documents = OpenDocuments(
            space=self.space,
            host=self,
            store=store,
            committer=self._committer,
            sealer=self._sealer,
            beside=beside,
            clock=clock,
            entropy=entropy,
        )
        self.delivery = Delivery(host=self, device=device, clock=clock, rows=restored.receipts)
        self._listeners: list[SpaceListener] = []
        self._fresh: list[IngestedEnvelope] = []
        self._is_sealing_due = False
        self._is_reopening = False
        self._is_reopen_due = False
        self.index_changed: Callable[[], None] = _nothing
        """Called when the index document changed (before it is durable)."""
        self.index_lost: Callable[[], None] = _nothing
        """Called when the index document's replica had to be thrown away."""
        self.reopen_wanted: Callable[[], None] = _nothing
        """Called when stored envelopes may be readable now; the owner runs `reopen`."""

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Commit for ever. Cancel to stop, after `flush`."""
        await self._committer.run()

    async def flush(self) -> None:
        """Wait until everything so far is durable. Raises StorageFailure."""
        await self._committer.flush()

    @property
    def refusal(self) -> StorageFailure | None:
        """Why nothing can be written now; reading goes on. None when writing works."""
        return self._committer.refusal

    def refuse_writes(self, refusal: StorageFailure) -> None:
        """The disk takes nothing now: serve what is stored, until another host takes over."""
        self._committer.refuse(refusal)

    def close(self, code: CloseCode, reason: str) -> None:
        """Let every open document go."""
        self.documents.close_all(code, reason)

    def _failed(self, failure: StorageFailure) -> None:
        self.close(CloseCode.STORAGE_FAILED, str(failure))
        self._on_failure(self.space_id, failure)

    # ------------------------------------------------------------------ who is who

    @property
    def role(self) -> Role | None:
        """This device's role; None when it is no member (any more)."""
        return self.space.membership.role_of(self._device.device_id)

    def is_member(self, device_id: DeviceId) -> bool:
        """Whether the device belongs to an active member."""
        return self.space.membership.is_active(device_id)

    def agree(self, device_id: DeviceId, version: Mapping[LogId, int]) -> None:
        """Remember what a peer and we both have; losing it only makes the next greeting longer."""
        if self.refusal is not None:
            return
        encoded = self.view.agree(device_id, version)
        if encoded is not None:
            self._unit_batch().peers.append(
                PeerRow(self.space_id, device_id, encoded, (), self._clock.wall_ms())
            )

    def can_write(self) -> bool:
        """Whether local edits are taken."""
        return self.space.can_write(self._device.device_id)

    @property
    def unsent_count(self) -> int:
        """Local edits no peer can have yet, because nobody was there."""
        return self._sealer.waiting_count

    @property
    def unsent_bytes(self) -> int:
        """How much those edits are."""
        return self._sealer.waiting_bytes

    def unsettled(self, doc_id: DocId | None = None) -> int:
        """Local edits, of one document or all, that stand in no durable envelope: nobody can have them,
        and no frontier counts them."""
        return self._sealer.unsettled_count(doc_id)

    def add_listener(self, listener: SpaceListener) -> None:
        """A peer takes part in this space from now on; what waits is sealed for it."""
        if listener not in self._listeners:
            self._listeners.append(listener)
        self.seal_now()

    def live_devices(self) -> frozenset[DeviceId]:
        """Devices that take new envelopes of this space right now."""
        wanting = (each.device_id for each in self._listeners if each.wants(self.space_id))
        return frozenset(device_id for device_id in wanting if device_id is not None)

    def seal_now(self) -> None:
        """Somebody is about to take part: seal what waits with the unit being filled, whoever listens.

        So the version vector he is shown covers it, and his first catch-up is complete.
        """
        if self._sealer.waiting_count and self.refusal is None:
            self._is_sealing_due = True
            self._committer.unit.done.append(_nothing)

    def remove_listener(self, listener: SpaceListener) -> None:
        """The peer is gone."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        self.delivery.left(listener)

    # ------------------------------------------------------------------ for documents (DocumentHost)

    def check_claims(self, summary: UpdateSummary, replica: Replica) -> None:
        """A tab may not add to what another device wrote (PROTOCOL §3, clock suppression)."""
        self.claims.require(summary, self._device.device_id, replica)

    def is_foreign(self, client_id: int) -> bool:
        """See `ClientClaims.is_foreign`."""
        return self.claims.is_foreign(client_id)

    def local_edit(
        self, doc_id: DocId, update: bytes, summary: UpdateSummary | None, agent: str | None
    ) -> None:
        """Queue an effective local update for the next commit."""
        unit = self._committer.unit
        now_ms = self._clock.wall_ms()
        if summary is None:
            summary = inspect_update(update)
        self.claims.take(summary, self._device.device_id, unit.batch)
        self._sealer.add(PendingRow(self._next_pending_id(), self.space_id, doc_id, update, now_ms, agent))
        unit.batch.touched.append(self.touched.note(doc_id, now_ms, is_last=True))
        self.delivery.on_news()
        if doc_id == INDEX_DOC_ID:
            self.index_changed()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """See `Committer.after_commit`."""
        self._committer.after_commit(callback)

    def share_presence(self, doc_id: DocId, data: bytes) -> None:
        """Send local presence to every live peer."""
        for listener in tuple(self._listeners):
            listener.send_presence(self.space_id, doc_id, data)

    def document_closed(self, doc_id: DocId) -> None:
        """The last tab left."""
        self.documents.released(doc_id)

    def poisoned(self, doc_id: DocId, error: ReplicaPoisoned) -> None:
        """Native code failed on a document."""
        self.documents.poisoned(doc_id, error)
        if doc_id == INDEX_DOC_ID:
            self.index_lost()

    # ------------------------------------------------------------------ from peers

    def ingest(self, run: Run, done: Callable[[IngestResult], None] | None = None) -> IngestResult:
        """Take in a run; `done` is called with the outcome once it is durable."""
        unit = self._committer.unit
        result = self.space.ingest_run(run)
        self._take(result, unit.batch)
        if done is not None:
            self._committer.after_commit(lambda: done(result))
        return result

    def _take(self, result: IngestResult, batch: WriteBatch) -> None:
        """Everything an ingest came to goes into one unit."""
        batch.logs.extend(log_rows(self.space_id, result.log_states))
        batch.envelopes.extend(envelope_row(self.space_id, each) for each in result.accepted)
        batch.opened.extend(envelope_row(self.space_id, each) for each in result.opened)
        for envelope in result.released:
            self._deliver(envelope, batch)
        self._fresh.extend(result.accepted)
        for fork in result.forks:
            logger.error("a log was forked by its author", log=fork.log_id.short, seq=fork.seq)
            self._events.publish("fork_found", space_id=self.space_id.text)
        if result.reopen:
            self.reopen_wanted()

    def add_ops(self, raws: Sequence[bytes], done: Callable[[OpsResult], None] | None = None) -> OpsResult:
        """Take in control ops (own or others'); peers hear of them once they are durable."""
        unit = self._committer.unit
        result = self.space.add_ops(raws)
        unit.batch.ops.extend(OpRow(self.space_id, op.op_id, op.raw) for op in result.added)
        learned = self.space.open_keyboxes(self._device) if result.added else []
        unit.batch.epoch_secrets.extend(
            EpochSecretRow(self.space_id, epoch_id, secret) for epoch_id, secret in learned
        )
        changed = bool(result.added)
        if changed:
            self._take(self.space.retry_held(), unit.batch)
        self._committer.after_commit(lambda: self._ops_durable(changed=changed, reopen=bool(learned)))
        if done is not None:
            self._committer.after_commit(lambda: done(result))
        return result

    def add_invitation(self, row: InvitationRow) -> None:
        """Keep an invitation's secret with the next commit."""
        self._unit_batch().invitations.append(row)

    def add_secret(self, epoch_id: EpochId, secret: bytes) -> None:
        """Remember an epoch secret made here."""
        batch = self._unit_batch()
        self.space.add_secret(epoch_id, secret)
        batch.epoch_secrets.append(EpochSecretRow(self.space_id, epoch_id, secret))

    def put_receipts(self, rows: Sequence[ReceiptRow]) -> None:
        """Keep what devices said with the next commit. Raises StorageFailure."""
        if rows:
            self._unit_batch().receipts.extend(rows)

    def put_mailbox(self, row: MailboxRow) -> None:
        """Keep how far a mailbox was read, together with what was read. Raises StorageFailure."""
        self._unit_batch().mailboxes.append(row)

    async def reopen(self) -> None:
        """Open envelopes that were stored before their epoch secret, or what they build on, came.

        Raises:
            StorageFailure: they cannot be read now.
        """
        if self.refusal is not None:
            return  # the host that takes over looks again
        self._is_reopen_due = True
        if self._is_reopening:
            return  # whoever is at it begins anew
        self._is_reopening = True
        try:
            while self._is_reopen_due:
                self._is_reopen_due = False
                await self._reopen()
        finally:
            self._is_reopening = False

    async def _reopen(self) -> None:
        await self._committer.flush()
        rows = await self._store.unopened(self.space_id)
        if rows:
            unit = self._committer.unit
            self._take(self.space.reopen_sealed((row.log_id, row.seq, row.raw) for row in rows), unit.batch)

    def _ops_durable(self, *, changed: bool, reopen: bool) -> None:
        if not changed:
            return
        self.delivery.moved()
        self._on_membership(self.space_id)
        self._events.publish("members_changed", space_id=self.space_id.text)
        self._events.publish("spaces_changed")
        for listener in tuple(self._listeners):
            listener.ops_changed(self.space_id)
        if reopen:
            self.reopen_wanted()

    # ------------------------------------------------------------------ inside

    def _prepare(self, unit: UnitOfWork) -> None:
        """Just before a commit: seal for whoever listens, else keep edits as pending rows."""
        is_heard = self._is_sealing_due or any(each.wants(self.space_id) for each in self._listeners)
        if is_heard and self.can_write() and self.space.current_epoch() is not None:
            self._is_sealing_due = False
            self._fresh.extend(self._sealer.seal_into(unit))
        else:
            self._sealer.store_into(unit)
        self.documents.snapshot_into(unit.batch)
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            unit.done.insert(0, lambda: self._committed(fresh))

    def _committed(self, fresh: Sequence[IngestedEnvelope]) -> None:
        for envelope in fresh:
            self.durable[envelope.log_id] = max(self.durable.get(envelope.log_id, 1), envelope.seq + 1)
        runs = runs_of(fresh, self.view.genesis_of)
        for listener in tuple(self._listeners):
            listener.committed(self.space_id, runs)
        self.delivery.moved()

    def _deliver(self, envelope: IngestedEnvelope, batch: WriteBatch) -> None:
        is_last = self.space.logs.frontier == {envelope.log_id}
        for item in envelope.items or ():
            if item.kind is not PayloadKind.UPDATE:
                continue
            try:
                summary = inspect_update(item.data)
                self.claims.require(summary, envelope.device_id, None)
            except UpdateRefused as error:
                self._quarantine(envelope, str(error))
                continue
            self.claims.take(summary, envelope.device_id, batch)
            batch.touched.append(self.touched.note(item.doc_id, envelope.hlc_ms, is_last=is_last))
            refuser = self._refuser(envelope)
            update = document_actor.Delivery(item.data, summary, envelope.log_id, envelope.seq, refuser)
            self.documents.deliver(item.doc_id, update)
            if item.doc_id == INDEX_DOC_ID:
                self.index_changed()

    def _refuser(self, envelope: IngestedEnvelope) -> Callable[[UpdateRefused], None]:
        return lambda error: self._quarantine(envelope, str(error))

    def _quarantine(self, envelope: IngestedEnvelope, reason: str) -> None:
        if self.refusal is not None:
            return  # found again by whoever reads it next
        self._unit_batch().quarantine.append(
            QuarantineRow(self.space_id, envelope.log_id, envelope.seq, envelope.env_id, reason)
        )
        self._events.publish("quarantined", space_id=self.space_id.text, user_id=envelope.user_id.text)

    def _unit_batch(self) -> WriteBatch:
        return self._committer.unit.batch


def _nothing() -> None:
    return None
