"""What the parts of one space's synchronisation share: the way out, and who has what (PROTOCOL §5)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, LogId, SpaceId
from sheaf.core.base.limits import LOGS_MAX
from sheaf.core.protocol.effects import Effect, SpaceView
from sheaf.core.protocol.message_codec import encode_message
from sheaf.core.protocol.messages import AnyMessage
from sheaf.core.protocol.mux import Mux
from sheaf.core.protocol.version_vector import Version, raise_to
from sheaf.core.wire.frames import Stream


class LaneMarker(NamedTuple):
    """Comes back from the mux when a message has been handed out completely."""

    handle: int
    log_id: LogId | None
    """The log of a catch-up run; None: a chunk of control ops."""


@dataclass(slots=True)
class Ledger:
    """What is durable here and there: next_seq per log. Only ever rises."""

    durable: dict[LogId, int] = field(default_factory=dict)
    peer: dict[LogId, int] = field(default_factory=dict)

    def raise_durable(self, version: Version) -> dict[LogId, int]:
        """Something was committed here; returns what is new."""
        return raise_to(self.durable, version)

    def raise_peer(self, version: Version) -> dict[LogId, int]:
        """The peer told what it has; returns what is new.

        Raises:
            ProtocolViolation: it names more logs than a space may have.
        """
        raised = raise_to(self.peer, version)
        if len(self.peer) > LOGS_MAX:
            raise ProtocolViolation("more logs than a space may have")
        return raised


@dataclass(slots=True)
class Lane:
    """One space's way out of a session: its handle, the mux, the effects, and tokens."""

    view: SpaceView
    space_id: SpaceId
    own: DeviceId
    peer: DeviceId
    handle: int
    mux: Mux
    emit: Callable[[Effect], None]
    issue: Callable[[object], int]
    """Registers what a token stands for (`session.Pending`) and returns the token."""

    def send(
        self,
        stream: Stream,
        message: AnyMessage,
        *,
        slot: Hashable | None = None,
        marker: LaneMarker | None = None,
    ) -> None:
        """Queue a message; slots are kept apart per space. `marker`: report when it has left."""
        self.mux.queue(
            stream,
            encode_message(message),
            slot=None if slot is None else (self.handle, slot),
            marker=marker,
        )

    def is_own_log(self, log_id: LogId) -> bool:
        """Whether this device opened the log: its genesis holds our certificate, so our device id.

        Only a hint for the timing of pushes; who could forge it gains nothing.
        """
        return bytes(self.own) in self.view.genesis_of(log_id)

    def is_waiting(self, slot: Hashable) -> bool:
        """Whether a message in this slot is still unsent."""
        return self.mux.has_slot((self.handle, slot))
