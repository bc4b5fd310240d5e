"""A tab's hold on an open document: what it sends in, and what of that has to wait.

Most updates go straight into the document. One that builds on what is not here, or that brings another
device's structs, is taken apart: what can go in goes in, and the rest waits here (`HeldChanges`), never in
the Y.Doc.

Invariants:
1. A tab's frame counts as committed once everything in it that was written in this tab is on disk, and all
   frames before it are.
2. At most `UNCOMMITTED_MAX` submits are in flight; then the tab's socket is not read.
3. At most `HELD_BYTES_MAX` wait. Above that they are let go, and the tab, which still has them, is asked for
   them (sync step 1) when what they build on has come.
4. A tab is asked once for each thing that is missing, not once for each update that needs it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sheaf.core.base.errors import NotAllowed, SheafError, StorageFailure, UpdateRefused, UpdateTooBig
from sheaf.core.base.limits import MIB
from sheaf.core.crdt.held_changes import HeldChanges
from sheaf.core.crdt.replica import UpdateGap
from sheaf.core.crdt.update_runs import take_apart
from sheaf.node.client_claims import ForeignChange
from sheaf.node.views import CloseCode, DocumentSubscriber

if TYPE_CHECKING:
    from sheaf.node.document_actor import DocumentActor

UNCOMMITTED_MAX: Final = 64
"""Submits of one tab that may await their commit."""
HELD_BYTES_MAX: Final = 4 * MIB
"""What may wait for changes it builds on, for each tab."""


class Handle:
    """A tab's hold on the document (`views.DocumentHandle`)."""

    def __init__(self, *, actor: DocumentActor, subscriber: DocumentSubscriber) -> None:
        self._actor = actor
        self.subscriber = subscriber
        self._submitted = 0
        self._uncommitted: dict[int, None] = {}
        """Numbers of submits, ascending, that are not durable yet; of the held ones only the first."""
        self._first_held: int | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._held = HeldChanges()
        self._has_let_go = False
        self._is_taking_in = False
        self._asked: dict[int, int] = {}
        """By client, the clock the tab was asked to help us reach."""
        self.is_closed = False

    @property
    def can_write(self) -> bool:
        """False for readers; their updates are refused."""
        return self._actor.host.can_write()

    @property
    def held_count(self) -> int:
        """Structs and deletions that wait for what they build on."""
        return self._held.change_count

    @property
    def can_go_on(self) -> bool:
        """Whether something that was held, or let go, may have what it lacked now."""
        replica = self._actor.replica
        return any(replica.clock_of(client) >= clock for client, clock in self._held.wanted.items())

    def state_vector(self) -> bytes:
        """The encoded state vector of the document."""
        return self._actor.replica.state_vector()

    def diff(self, state_vector: bytes) -> bytes:
        """What a replica at `state_vector` lacks. Raises UpdateRefused on junk."""
        return self._actor.replica.diff(state_vector)

    async def submit(self, update: bytes, *, is_state: bool = False) -> None:
        """Apply a tab's update and queue it for commit; see `views.DocumentHandle.submit`."""
        await self._room.wait()
        if not self.is_closed:
            await self._submit(update, is_state=is_state)

    async def _submit(self, update: bytes, *, is_state: bool) -> None:
        number = self._begin(is_state=is_state)
        beside = self._actor.beside
        try:
            summary = await beside.inspect(update)
            if self.is_closed:
                return
            self._actor.submit(self, update, lambda: self._settled(number), summary=summary)
        except (UpdateGap, ForeignChange, UpdateTooBig):
            taken = await beside.take_apart(update)
        except UpdateRefused:
            if self.is_closed or not await beside.has_holes(update):
                raise
            taken = await beside.take_apart(update)
        else:
            if self.can_go_on:
                self.go_on()
            self._settle_held()
            return
        if not self.is_closed:
            self._held.add(taken, is_state=is_state)
            await self._take_in(number, is_state=is_state)

    def _begin(self, *, is_state: bool) -> int:
        self._submitted += 1
        self._uncommitted[self._submitted] = None
        if len(self._uncommitted) >= UNCOMMITTED_MAX:
            self._room.clear()
        if is_state:  # it brings again whatever waits
            self._held.clear()
            self._held.wanted = {}
            self._has_let_go = False
        return self._submitted

    async def _take_in(self, number: int, *, is_state: bool) -> None:
        """Hand what is ready to the document, a piece at a time, and see what is left."""
        self._is_taking_in = True
        try:
            while pieces := self._ready():
                for piece in pieces:
                    if self.is_closed:
                        return
                    self._submit_piece(piece)
                    await asyncio.sleep(0)
        except NotAllowed:  # pieces are lost; only the tab has them
            self._has_let_go = True
            raise
        finally:
            self._is_taking_in = False
        if self._held.has_own:
            if self._first_held is None:
                self._first_held = number
            else:
                del self._uncommitted[number]
                self._room.set()
            if not is_state:
                self._ask_once()
        self._keep_bounds()
        if self._first_held != number and number in self._uncommitted:
            self._actor.host.after_commit(lambda: self._settled(number))
        self._settle_held()
        self.go_on()

    def _ready(self) -> list[bytes]:
        return self._held.take_ready(self._actor.replica.clock_of, self._actor.host.is_foreign)

    def _submit_piece(self, piece: bytes) -> None:
        try:
            self._actor.submit(self, piece, None)
        except (UpdateGap, ForeignChange):  # the document changed while other pieces went in
            self._held.add(take_apart(piece))

    def _ask_once(self) -> None:
        wanted = self._held.wanted
        if any(self._asked.get(client, 0) < clock for client, clock in wanted.items()):
            self._asked |= wanted
            self.subscriber.missing(self.state_vector())

    def _keep_bounds(self) -> None:
        if self._held.byte_count > HELD_BYTES_MAX:
            self._held.clear()
            self._has_let_go = True

    def _settle_held(self) -> None:
        """When nothing of the tab's own waits any more, its held frames are as durable as the next commit."""
        first = self._first_held
        if first is not None and not self._held.has_own and not self._has_let_go:
            self._first_held = None
            self._actor.host.after_commit(lambda: self._settled(first))

    def go_on(self) -> None:
        """The document has changed: take in what waited for that. Pieces on their way in come first."""
        if self.is_closed or self._is_taking_in or not self.can_go_on:
            return
        if self._has_let_go:
            self._held.wanted = {}
            self.subscriber.missing(self.state_vector())
            return
        try:
            while pieces := self._ready():
                for piece in pieces:
                    self._submit_piece(piece)
        except StorageFailure as error:
            self._let_go_of_tab(CloseCode.STORAGE_FAILED, error)
        except UpdateRefused as error:
            self._let_go_of_tab(CloseCode.REFUSED, error)
        except NotAllowed as error:  # a reader by now; when it comes again it is told so
            self._let_go_of_tab(CloseCode.TOO_SLOW, error)
        else:
            self._settle_held()

    def _let_go_of_tab(self, code: CloseCode, error: SheafError) -> None:
        self._actor.leave(self)
        self.subscriber.closed(code, str(error))

    def _settled(self, number: int) -> None:
        """A submit is durable; the tab is told how many of the first are."""
        self._uncommitted.pop(number, None)
        self._room.set()
        if not self.is_closed:
            frames = next(iter(self._uncommitted), self._submitted + 1) - 1
            self.subscriber.committed(frames, self._actor.replica.state_vector())

    def awareness(self, data: bytes) -> None:
        """Presence from this tab. Raises WireError on junk."""
        self._actor.local_presence(self, data)

    def awareness_states(self) -> bytes | None:
        """Everybody's presence, for a tab that just came."""
        return self._actor.presence.states()

    async def close(self) -> None:
        """Leave; idempotent."""
        self._room.set()
        self._actor.leave(self)
