"""Control plane first: both sides exchange heads and push what the other lacks (PROTOCOL §5 CTL_*).

Who knows all heads of the other knows exactly what the other lacks, and pushes it unasked. Who does
not is behind and will be pushed to, unless both grew apart: then nobody pushes, and after a moment
one asks (CTL_WANT) and gets everything; from then on the usual rule works.

Invariants:
1. A peer that is no member in our view is told nothing it did not tell us: CTL_HEADS to it holds
   only those of its own heads that we know, and it gets no ops. It may push; that is how news of
   an admission arrives.
2. `is_ready` holds when every head the peer named is known here; only then does content flow to it.
3. At most a few chunks of ops wait in the mux, however much there is to push.
4. Until the ops that the peer lacks have left (`is_pushed`), no content is queued: a catch-up run has
   credit of its own and could overtake the ops that make it acceptable.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sheaf.core.base.ids import OpId
from sheaf.core.base.limits import CREDIT_LIVE_BYTES
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.messages import (
    HEADS_MAX,
    OPS_BYTES_PER_MESSAGE,
    OPS_PER_MESSAGE_MAX,
    CtlHeads,
    CtlOps,
    CtlWant,
)
from sheaf.core.protocol.space_link import Lane, LaneMarker
from sheaf.core.wire.frames import Stream

WANT_AFTER_S: Final = 0.5
"""How long announced ops may be missing without progress before the answerer asks for them."""
LEADER_PATIENCE: Final = 4
"""The offerer waits this many times longer, so that only one of two sides that grew apart sends all."""
_QUEUE_BYTES: Final = CREDIT_LIVE_BYTES // 4


class ControlSync:
    """The control plane of one space towards one peer."""

    def __init__(self, *, lane: Lane, leads: bool) -> None:
        self._lane = lane
        self._patience_s = WANT_AFTER_S * (LEADER_PATIENCE if leads else 1)
        self.is_peer_member = False
        self.counts_us: bool | None = None
        """Whether the peer counts our device as a member; None until it said."""
        self.is_ready = False
        self._peer_heads: tuple[OpId, ...] | None = None
        self._told: tuple[tuple[OpId, ...], bool] | None = None
        self._pushed: set[OpId] = set()
        self._outgoing: deque[bytes] = deque()
        self._leaving = 0
        self._want_due: Seconds | None = None

    def refresh(self) -> None:
        """Our control plane or what we know of the peer's changed: say so and push."""
        view = self._lane.view
        self.is_peer_member = view.is_member(self._lane.peer)
        known = set(view.knows_ops(self._peer_heads or ()))
        self.is_ready = self._peer_heads is not None and known == set(self._peer_heads)
        if self.is_ready:
            self._want_due = None
        if self.is_peer_member:
            self._tell(tuple(view.control_heads())[:HEADS_MAX])
            if self.is_ready:
                self._push(known)
        else:
            self._outgoing.clear()
            self._pushed.clear()
            if self._peer_heads is not None:
                self._tell(tuple(sorted(known)))
        self.pump()

    def heads_told(self, message: CtlHeads, now: Seconds) -> None:
        """CTL_HEADS came."""
        self._peer_heads = message.heads
        self.counts_us = message.is_member
        self.refresh()
        if not self.is_ready:
            self._want_due = now + self._patience_s

    def wanted(self, message: CtlWant) -> None:
        """CTL_WANT came: push from what it says it knows, for our heads are strange to it."""
        if self.is_peer_member and self.is_pushed:
            self._pushed.clear()
            self._push(set(self._lane.view.knows_ops(message.known)))
            self.pump()

    def ops_came(self, now: Seconds) -> None:
        """CTL_OPS came; more may follow, so wait again before asking."""
        if self._want_due is not None:
            self._want_due = now + self._patience_s

    def wake(self, now: Seconds) -> None:
        """Ask for what was announced and did not come."""
        if self._want_due is None or now < self._want_due:
            return
        self._want_due = now + 10 * self._patience_s
        known = self._told[0] if self._told else ()
        self._lane.send(Stream.CONTROL, CtlWant(self._lane.handle, known), slot="want")

    def next_wake(self) -> Seconds | None:
        """When `wake` has something to do."""
        return self._want_due

    @property
    def has_outgoing(self) -> bool:
        """Whether ops wait that `pump` could queue."""
        return bool(self._outgoing) and self._lane.mux.queued_bytes(Stream.CONTROL) < _QUEUE_BYTES

    @property
    def is_pushed(self) -> bool:
        """Whether every op that we found the peer to lack has left (invariant 4)."""
        return not self._outgoing and not self._leaving

    def handed_out(self) -> None:
        """A chunk of ops has left the mux."""
        self._leaving -= 1

    def pump(self) -> None:
        """Queue the next chunks of ops, as many as may wait."""
        while self.has_outgoing:
            self._leaving += 1
            marker = LaneMarker(self._lane.handle, None)
            self._lane.send(Stream.CONTROL, CtlOps(self._lane.handle, self._next_chunk()), marker=marker)

    def _tell(self, heads: tuple[OpId, ...]) -> None:
        told = (heads, self.is_peer_member)
        if told != self._told:
            self._told = told
            self._lane.send(Stream.CONTROL, CtlHeads(self._lane.handle, *told), slot="heads")

    def _push(self, known: set[OpId]) -> None:
        base = known | self._pushed
        heads = set(self._lane.view.control_heads())
        if not heads <= base:
            self._outgoing.extend(self._lane.view.ops_missing_for(base))
        self._pushed = heads

    def _next_chunk(self) -> tuple[bytes, ...]:
        chunk = [self._outgoing.popleft()]
        size = len(chunk[0])
        while self._outgoing and len(chunk) < OPS_PER_MESSAGE_MAX:
            size += len(self._outgoing[0]) + 5
            if size > OPS_BYTES_PER_MESSAGE:
                break
            chunk.append(self._outgoing.popleft())
        return tuple(chunk)
