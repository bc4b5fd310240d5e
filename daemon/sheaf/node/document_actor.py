"""One open document: its replica, the tabs that show it, who is present in it.

All changes of the document pass through here, on the event loop, one at a time: a tab's
update is inspected, applied, handed to the space's host to be made durable, and only
after the commit acknowledged to its tab and shown to the others (PROTOCOL §10). What
peers send arrives through `deliver`, already durable or becoming so in the same unit.

Must not know SQL, sockets or envelopes. Invariants:
1. A tab is told `committed` only after the unit with its update is on disk.
2. Tabs receive *effective* updates only; an update that changes nothing dies here.
3. While loading, deliveries wait in order; applying one twice changes nothing.
4. The replica never holds a pending struct; what a tab brings too early waits in its `Handle`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sheaf.core.base.errors import NotAllowed, ProtocolViolation, StorageFailure, UpdateRefused
from sheaf.core.base.ids import DeviceId, DocId, LogId
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update
from sheaf.core.crdt.replica import Replica, ReplicaPoisoned, UpdateGap, draw_client_id
from sheaf.core.protocol.presence import Presence, clients_of
from sheaf.node.beside import Beside
from sheaf.node.client_claims import ClientClaims
from sheaf.node.document_handle import Handle
from sheaf.node.document_loading import note_missing
from sheaf.node.views import CloseCode, DocumentSubscriber
from sheaf.ports import Clock

EARLY_MAX: Final = 16
"""Updates from peers that may wait for changes they build on."""


class DocumentHost(Protocol):
    """What a document needs of its space."""

    def can_write(self) -> bool: ...

    @property
    def refusal(self) -> StorageFailure | None:
        """Why nothing can be stored now; None when it can."""
        ...

    @property
    def claims(self) -> ClientClaims: ...

    def check_claims(self, summary: UpdateSummary, replica: Replica) -> None:
        """Raises UpdateRefused when the update writes in another device's name."""
        ...

    def is_foreign(self, client_id: int) -> bool:
        """Whether only another device's envelopes may add to what this client id wrote."""
        ...

    def local_edit(
        self, doc_id: DocId, update: bytes, summary: UpdateSummary | None, agent: str | None
    ) -> None:
        """Make an effective local update durable with the open unit."""
        ...

    def after_commit(self, callback: Callable[[], None]) -> None: ...

    def share_presence(self, doc_id: DocId, data: bytes) -> None:
        """Send local presence to the peers that are live."""
        ...

    def document_closed(self, doc_id: DocId) -> None:
        """The last tab left."""
        ...

    def poisoned(self, doc_id: DocId, error: ReplicaPoisoned) -> None:
        """Native code failed on this document; rebuild it."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """An update from a peer: inspected, on its way to disk."""

    update: bytes
    summary: UpdateSummary
    log_id: LogId
    seq: int
    refused: Callable[[UpdateRefused], None]
    """Told when the document cannot take it after all (its envelope is quarantined)."""


class DocumentActor:
    """The single owner of one document while it is open."""

    def __init__(
        self, *, doc_id: DocId, host: DocumentHost, beside: Beside, clock: Clock, entropy: Entropy
    ) -> None:
        self.doc_id = doc_id
        self.host = host
        self.beside = beside
        self.writing = asyncio.Lock()
        """Held while a change is worked out on a copy, so that the next one begins with its result."""
        self.borrowers = 0
        """Requests that use the document now."""
        self.presence = Presence()
        self._clock = clock
        self._entropy = entropy
        self._replica: Replica | None = None
        self._writing_client_id = 0
        self._handles: list[Handle] = []
        self._waiting: list[Delivery] = []
        self._loaded = asyncio.Event()
        self._failure: Exception | None = None
        self._early: deque[Delivery] = deque(maxlen=EARLY_MAX)
        self.missing: dict[LogId, int] = {}
        """By log, the first envelope that may not be in the replica: what it builds on was not here.
        Snapshots do not cover it, so that it is read again."""
        self.edits_since_snapshot = 0

    # ------------------------------------------------------------------ life

    @property
    def replica(self) -> Replica:
        """The document's replica; only after `loaded`."""
        assert self._replica is not None, "the document is still loading"
        return self._replica

    @property
    def is_loaded(self) -> bool:
        """Whether `replica` may be used."""
        return self._replica is not None

    @property
    def tab_count(self) -> int:
        """How many have it open."""
        return len(self._handles)

    @property
    def is_idle(self) -> bool:
        """Nobody has it open or works with it."""
        return not self._handles and not self.borrowers

    @property
    def writing_client_id(self) -> int:
        """The Yjs client id for changes worked out on a copy, under `writing`; one for all of them, because
        every id stays in the document for ever."""
        if not self._writing_client_id:
            self._writing_client_id = draw_client_id(self._entropy)
        return self._writing_client_id

    @property
    def held_count(self) -> int:
        """Changes that tabs brought and that wait for what they build on."""
        return sum(handle.held_count for handle in self._handles)

    async def loaded(self) -> None:
        """Wait until the history has been read, or whoever read it gave up. Raises what loading raised."""
        await self._loaded.wait()
        if self._failure is not None:
            raise self._failure

    def fail_loading(self, failure: Exception | None) -> None:
        """The history cannot be read; whoever waits is told. None: reading was only given up."""
        self._failure = failure
        self._loaded.set()

    def finish_loading(self, replica: Replica) -> None:
        """The stored history is in `replica`; apply what arrived meanwhile."""
        self._replica = replica
        waiting, self._waiting = self._waiting, []
        for delivery in waiting:
            self.deliver(delivery)
        self._loaded.set()

    def open(self, subscriber: DocumentSubscriber) -> Handle:
        """A tab opens the document."""
        handle = Handle(actor=self, subscriber=subscriber)
        self._handles.append(handle)
        return handle

    def leave(self, handle: Handle) -> None:
        """A tab is gone; its presence goes with it."""
        if handle not in self._handles:
            return
        self._handles.remove(handle)
        handle.is_closed = True
        self._spread_presence(self.presence.leave(handle, self._clock.now()), source=None)
        if not self._handles:
            self.host.document_closed(self.doc_id)

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Let every tab go, saying why."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.is_closed = True
            handle.subscriber.closed(code, reason)

    # ------------------------------------------------------------------ changes

    def require_writable(self) -> None:
        """Raises NotAllowed: this device may only read the space."""
        if not self.host.can_write():
            raise NotAllowed("you may read this space but not write in it")

    def submit(
        self,
        origin: Handle | None,
        update: bytes,
        done: Callable[[], None] | None = None,
        *,
        agent: str | None = None,
        summary: UpdateSummary | None = None,
    ) -> None:
        """A local update from a tab, or one worked out on a copy; `done` is called once it is durable.

        Args:
            summary: what `inspect_update` said of exactly these bytes, when the caller has it.

        Raises:
            NotAllowed: this device may only read the space.
            UpdateGap: it builds on what is not here; nothing changed.
            ForeignChange: it adds to what another device wrote; nothing changed.
            UpdateRefused: malformed; nothing changed.
            StorageFailure: it has something new, and the disk takes nothing now; nothing changed.
        """
        self.require_writable()
        if summary is None:
            summary = inspect_update(update)
        self.host.check_claims(summary, self.replica)
        if self.host.refusal is not None and self.replica.would_change(update, summary):
            raise self.host.refusal
        try:
            effective = self.replica.apply(update, summary)
        except ReplicaPoisoned as error:
            # Whoever sent it must not be told to come back with it, as the others are now.
            if origin is not None:
                self._handles.remove(origin)
                origin.is_closed = True
            self.host.poisoned(self.doc_id, error)
            raise UpdateRefused("the update could not be applied") from error
        if effective is not None:
            self._local(effective, summary if effective == update else None, origin, agent)
        if done is not None:
            self.host.after_commit(done)

    def edit(self, change: Callable[[Replica], bytes | None], *, agent: str | None = None) -> bool:
        """A local edit by the daemon itself (command line, API). True if anything changed.

        Raises:
            NotAllowed: this device may only read the space.
            StorageFailure: the disk takes nothing now; nothing changed.
        """
        self.require_writable()
        if self.host.refusal is not None:
            raise self.host.refusal
        try:
            effective = change(self.replica)
        except ReplicaPoisoned as error:
            self.host.poisoned(self.doc_id, error)
            raise
        if effective is None:
            return False
        self._local(effective, None, None, agent)
        return True

    def deliver(self, delivery: Delivery) -> None:
        """An update from a peer, to be shown when its unit is durable."""
        if self._replica is None:
            self._waiting.append(delivery)
            return
        if self._apply_delivered(delivery):
            early, self._early = list(self._early), deque(maxlen=EARLY_MAX)
            for each in early:
                self.deliver(each)

    def _apply_delivered(self, delivery: Delivery) -> bool:
        """True when the document changed."""
        try:
            effective = self.replica.apply(delivery.update, delivery.summary)
        except UpdateGap:  # no fault of its author's: we may have refused, or lost, what it builds on
            self._early.append(delivery)
            note_missing(self.missing, delivery.log_id, delivery.seq)
            return False
        except UpdateRefused as error:
            delivery.refused(error)
            return False
        except ReplicaPoisoned as error:
            delivery.refused(UpdateRefused(str(error)))
            self.host.poisoned(self.doc_id, error)
            return False
        if effective is None:
            return False
        self._changed()
        self.host.after_commit(lambda: self._show(effective, None))
        return True

    def _local(
        self, effective: bytes, summary: UpdateSummary | None, origin: Handle | None, agent: str | None
    ) -> None:
        self.host.local_edit(self.doc_id, effective, summary, agent)
        self._changed()
        self.host.after_commit(lambda: self._show(effective, origin))

    def _changed(self) -> None:
        self.edits_since_snapshot += 1
        for handle in self._handles:
            if handle.can_go_on:
                self.host.after_commit(handle.go_on)

    def _show(self, effective: bytes, origin: Handle | None) -> None:
        for handle in tuple(self._handles):
            if handle is not origin:
                handle.subscriber.update(effective)

    # ------------------------------------------------------------------ presence

    def local_presence(self, handle: Handle, data: bytes) -> None:
        """Presence from a tab; goes to all tabs (the sender's too: that keeps its socket alive) and peers."""
        change = self.presence.apply(handle, data, self._clock.now())
        for client_id in clients_of(change):
            self.host.claims.shown_here(client_id)
        self._spread_presence(change, source=None)

    def remote_presence(self, device: DeviceId, data: bytes) -> None:
        """Presence from a peer's tabs; junk is dropped. Who just opened the page is told who is here."""
        was_here = self.presence.states_of([device]) is not None
        try:
            change = self.presence.apply(device, data, self._clock.now())
        except ProtocolViolation:
            return
        for client_id in clients_of(change):
            self.host.claims.shown_elsewhere(client_id)
        self._spread_presence(change, source=device)
        here = self.local_presence_states()
        if here is not None and not was_here and self.presence.states_of([device]) is not None:
            self.host.share_presence(self.doc_id, here)

    def device_left(self, device: DeviceId) -> None:
        """A peer is gone, and everybody who typed there."""
        self._spread_presence(self.presence.leave(device, self._clock.now()), source=device)

    def expire_presence(self) -> None:
        """Forget who has not been heard of for 30 s; called now and then."""
        self._spread_presence(self.presence.expire(self._clock.now()), source=None)

    def local_presence_states(self) -> bytes | None:
        """Everybody who has the document open on this machine, for a peer that has just come."""
        return self.presence.states_of(self._handles)

    def _spread_presence(self, change: bytes | None, *, source: DeviceId | None) -> None:
        if change is None:
            return
        for handle in tuple(self._handles):
            handle.subscriber.awareness(change)
        if source is None:
            self.host.share_presence(self.doc_id, change)
