"""The spaces two devices share in one session: finding them, and their handles (PROTOCOL §5 SPACES, OPEN).

Each side shows a blinded tag per space; who knows K_psi recognises it. Each side numbers the spaces
in its own messages (OPEN: handle ↔ tag) and keeps one `SpaceSync` for each common space.

Invariants:
1. A handle is opened once and never reused; a space has at most one open handle per side.
2. A handle whose space was left here, or closed by the peer, stays known as dead: what is still on
   its way is ignored, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.protocol.effects import Effect, Phase, SpaceDirectory, SpacePhase
from sheaf.core.protocol.handshake import OFFERER, pad_and_shuffle, space_tag
from sheaf.core.protocol.message_codec import encode_message
from sheaf.core.protocol.messages import SPACES_MAX, Close, SpaceMessage, Spaces
from sheaf.core.protocol.mux import Mux
from sheaf.core.protocol.run_receiver import Arrival
from sheaf.core.protocol.run_sender import RunSender
from sheaf.core.protocol.space_link import Lane, LaneMarker
from sheaf.core.protocol.space_sync import SpaceSync
from sheaf.core.wire.frames import Stream

READS_MAX: Final = 2
"""Reads outstanding per session, all spaces together."""
SPACES_MESSAGES_MAX: Final = 4096
"""SPACES per session; each costs an HMAC per space."""


class CommonSpaces:
    """See the module. `peer` is set once the other side is authenticated."""

    def __init__(
        self,
        *,
        directory: SpaceDirectory,
        role: int,
        own: DeviceId,
        transcript: bytes,
        entropy: Entropy,
        mux: Mux,
        emit: Callable[[Effect], None],
        issue: Callable[[object], int],
    ) -> None:
        self._directory = directory
        self._role = role
        self._own = own
        self._transcript = transcript
        self._entropy = entropy
        self._mux = mux
        self._emit = emit
        self._issue = issue
        self.peer: DeviceId | None = None
        self._peer_tags: frozenset[bytes] = frozenset()
        self._announced: frozenset[SpaceId] = frozenset()
        self._syncs: dict[SpaceId, SpaceSync] = {}
        self._by_my_handle: dict[int, SpaceSync] = {}
        self._by_peer_handle: dict[int, SpaceSync | None] = {}
        self._next_handle = 0
        self._messages = 0

    def __iter__(self) -> Iterator[SpaceSync]:
        return iter(list(self._syncs.values()))

    def get(self, space_id: SpaceId) -> SpaceSync | None:
        """The synchronisation of a common space."""
        return self._syncs.get(space_id)

    # ------------------------------------------------------------------ finding each other

    def announce(self) -> None:
        """Show which spaces we have, and open those the peer has shown."""
        mine = dict(self._mine())
        self._announced = frozenset(mine)
        tags = [self._tag(self._role, space_id, key) for space_id, key in mine.items()]
        message = Spaces(pad_and_shuffle(tags, self._entropy))
        self._mux.queue(Stream.SESSION, encode_message(message), slot="spaces")
        self._match()

    def is_announced(self, space_id: SpaceId) -> bool:
        """Whether the peer could have recognised this space."""
        return space_id in self._announced

    def peer_announced(self, tags: frozenset[bytes]) -> None:
        """SPACES came. Raises ProtocolViolation when it comes over and over."""
        self._messages += 1
        if self._messages > SPACES_MESSAGES_MAX:
            raise ProtocolViolation("SPACES over and over")
        self._peer_tags = tags
        self._match()

    def peer_opened(self, handle: int, tag: bytes) -> None:
        """OPEN came. Raises ProtocolViolation for a second one of a handle or space."""
        if handle in self._by_peer_handle:
            raise ProtocolViolation("a handle opened twice")
        self._by_peer_handle[handle] = None
        for space_id, key in list(self._mine()):
            if self._tag(1 - self._role, space_id, key) != tag:
                continue
            sync = self._syncs.get(space_id) or self._open(space_id, key)
            if sync is not None and sync in self._by_peer_handle.values():
                raise ProtocolViolation("a space opened twice")
            self._by_peer_handle[handle] = sync

    def route(self, message: SpaceMessage) -> SpaceSync | None:
        """Whose message it is; None when that space is not open (any more).

        Raises:
            ProtocolViolation: the handle was never opened.
        """
        if message.handle not in self._by_peer_handle:
            raise ProtocolViolation("a handle that was never opened")
        return self._by_peer_handle[message.handle]

    def peer_closed(self, message: Close) -> None:
        """CLOSE came: the space was left there."""
        sync = self.route(message)
        self._by_peer_handle[message.handle] = None
        if sync is not None:
            self.remove(sync.lane.space_id)
            self._emit(SpacePhase(sync.lane.space_id, Phase.IDLE))

    def remove(self, space_id: SpaceId) -> None:
        """The space is not common any more: tell the peer, forget."""
        sync = self._syncs.pop(space_id, None)
        if sync is None:
            return
        self._by_my_handle.pop(sync.lane.handle, None)
        for handle, other in self._by_peer_handle.items():
            if other is sync:
                self._by_peer_handle[handle] = None
        self._mux.queue(Stream.CONTROL, encode_message(Close(sync.lane.handle)))

    def clear(self) -> None:
        """The session is over."""
        self._syncs.clear()
        self._by_my_handle.clear()
        self._by_peer_handle.clear()

    # ------------------------------------------------------------------ work

    def pump(self) -> None:
        """Let every space queue what there is room for."""
        reading = sum(sync.sender.is_reading for sync in self)
        for sync in self:
            reading += sync.pump(may_read=reading < READS_MAX)

    @property
    def has_pump_work(self) -> bool:
        """Whether `pump` would do something now."""
        return any(sync.has_pump_work for sync in self._syncs.values())

    def handed_out(self) -> None:
        """Pass on what the mux has completely handed out."""
        for marker in self._mux.take_completed():
            assert isinstance(marker, LaneMarker)
            if (sync := self._by_my_handle.get(marker.handle)) is not None:
                sync.handed_out(marker.log_id)

    def of_arrival(self, arrival: Arrival) -> SpaceSync | None:
        """The space a stored run came through, if it is still open."""
        return next((sync for sync in self if sync.owns(arrival)), None)

    def of_sender(self, sender: RunSender) -> SpaceSync | None:
        """The space a read was for, if it is still open."""
        return next((sync for sync in self if sync.sender is sender), None)

    # ------------------------------------------------------------------ inside

    def _mine(self) -> Iterator[tuple[SpaceId, bytes]]:
        for space_id in self._directory.space_ids():
            view = self._directory.view(space_id)
            psi_key = None if view is None else view.psi_key()
            if psi_key is not None:
                yield space_id, psi_key

    def _tag(self, role: int, space_id: SpaceId, psi_key: bytes) -> bytes:
        return space_tag(psi_key, self._transcript, role, space_id)

    def _match(self) -> None:
        if not self._peer_tags:
            return
        for space_id, key in list(self._mine()):
            if space_id not in self._syncs and self._tag(1 - self._role, space_id, key) in self._peer_tags:
                self._open(space_id, key)

    def _open(self, space_id: SpaceId, psi_key: bytes) -> SpaceSync | None:
        view = self._directory.view(space_id)
        if view is None or self.peer is None or self._next_handle >= SPACES_MAX:
            return None
        lane = Lane(
            view=view,
            space_id=space_id,
            own=self._own,
            peer=self.peer,
            handle=self._next_handle,
            mux=self._mux,
            emit=self._emit,
            issue=self._issue,
        )
        self._next_handle += 1
        tag = self._tag(self._role, space_id, psi_key)
        sync = SpaceSync(lane=lane, tag=tag, leads=self._role == OFFERER)
        self._syncs[space_id] = self._by_my_handle[lane.handle] = sync
        sync.open()
        return sync
