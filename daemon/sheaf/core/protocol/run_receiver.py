"""Receiving envelopes: hand runs to the store, acknowledge what became durable (PROTOCOL §5 RUN, ACK).

Invariants:
1. Credit for a run goes back only when the store has dealt with it, so what waits for the disk is
   bounded by the credit windows.
2. ACK speaks only of what is durable.
3. The same hole is asked for with growing pauses and at most `WANTS_MAX` times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import KIB
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.effects import PeerHas, Progress, StoreRun
from sheaf.core.protocol.messages import Ack, Plan, RunWant
from sheaf.core.protocol.space_link import Lane, Ledger
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream

ACK_BYTES: Final = 256 * KIB
ACK_AFTER_S: Final = 0.1
"""PROTOCOL asks for at most 1 s. Sooner than `run_sender.FORWARD_AFTER_S`, so that in a mesh the
others learn that we have an envelope before they send it to us a second time."""
WANT_AGAIN_S: Final = 2.0
WANTS_MAX: Final = 6
WANTED_LOGS_MAX: Final = 1024


@dataclass(slots=True)
class Arrival:
    """A run that the store is busy with."""

    receiver: RunReceiver
    stream: Stream
    cost: int
    envelopes: int
    payload_bytes: int


@dataclass(slots=True)
class _Hole:
    seq: int
    due: Seconds
    tries: int = 0


class RunReceiver:
    """What comes from one peer of one space's content."""

    def __init__(self, *, lane: Lane, ledger: Ledger) -> None:
        self._lane = lane
        self._ledger = ledger
        self.storing = 0
        """Runs handed to the store and not yet answered."""
        self._dirty: dict[LogId, int] = {}
        self._unsent_ack: dict[LogId, int] = {}
        self._unacked_bytes = 0
        self._ack_due: Seconds | None = None
        self._holes: dict[LogId, _Hole] = {}
        self._planned: tuple[int, int] | None = None
        self._done = (0, 0)

    def planned(self, message: Plan) -> None:
        """PLAN came."""
        self._planned = (message.envelopes, message.payload_bytes)
        self._report_progress()

    def run_came(self, run: Run, stream: Stream, cost: int) -> None:
        """RUN came: give it to the store."""
        self.storing += 1
        arrival = Arrival(self, stream, cost, len(run.envelopes), run.size_bytes)
        self._lane.emit(StoreRun(self._lane.issue(arrival), self._lane.space_id, run))

    def stored(
        self,
        arrival: Arrival,
        next_seqs: Mapping[LogId, int],
        want: Sequence[tuple[LogId, int]],
        now: Seconds,
        *,
        is_live: bool,
        may_send: bool,
    ) -> None:
        """The store has dealt with a run: acknowledge, ask for holes, report progress."""
        self.storing -= 1
        self._unacked_bytes += arrival.payload_bytes
        self.acknowledge(next_seqs, now)
        self._note_holes(want, now)
        if not is_live:
            self._done = (self._done[0] + arrival.envelopes, self._done[1] + arrival.payload_bytes)
            self._report_progress()
        is_caught_up = not is_live and self.storing == 0
        if may_send and (is_caught_up or self._unacked_bytes >= ACK_BYTES):
            self._flush_ack()
        self.wake(now, may_send=may_send)

    def acknowledge(self, next_seqs: Mapping[LogId, int], now: Seconds) -> None:
        """These are durable here; the peer is told soon."""
        for log_id, seq in next_seqs.items():
            if seq > self._dirty.get(log_id, 0):
                self._dirty[log_id] = seq
        if self._dirty and self._ack_due is None:
            self._ack_due = now + ACK_AFTER_S

    def peer_has(self, version: Mapping[LogId, int]) -> None:
        """The peer showed that it has this."""
        raised = self._ledger.raise_peer(version)
        if raised:
            self._lane.emit(PeerHas(self._lane.space_id, raised))

    def wake(self, now: Seconds, *, may_send: bool) -> None:
        """Send the ACK that is due, ask again for holes; without `may_send` all stays noted."""
        if not may_send:
            self._ack_due = None
            for hole in self._holes.values():
                hole.due = max(hole.due, now + WANT_AGAIN_S)
            return
        if self._ack_due is not None and now >= self._ack_due:
            self._flush_ack()
        self._ask_again(now)

    def resume(self) -> None:
        """Content flows (again): what was noted meanwhile is due."""
        if self._dirty:
            self._ack_due = 0.0

    def next_wake(self) -> Seconds | None:
        """When `wake` has something to do."""
        times = [hole.due for hole in self._holes.values() if hole.tries < WANTS_MAX]
        if self._ack_due is not None:
            times.append(self._ack_due)
        return min(times, default=None)

    def _flush_ack(self) -> None:
        self._ack_due = None
        self._unacked_bytes = 0
        if not self._dirty:
            return
        if not self._lane.is_waiting("ack"):
            self._unsent_ack = {}
        self._unsent_ack.update(self._dirty)
        self._dirty = {}
        self._lane.send(Stream.CONTROL, Ack(self._lane.handle, dict(self._unsent_ack)), slot="ack")

    def _note_holes(self, want: Sequence[tuple[LogId, int]], now: Seconds) -> None:
        for log_id, seq in want:
            hole = self._holes.get(log_id)
            if hole is None or hole.seq != seq:
                if hole is None and len(self._holes) >= WANTED_LOGS_MAX:
                    continue
                self._holes[log_id] = _Hole(seq, now)

    def _ask_again(self, now: Seconds) -> None:
        asked: dict[LogId, int] = {}
        for log_id, hole in list(self._holes.items()):
            if self._ledger.durable.get(log_id, 0) > hole.seq:
                del self._holes[log_id]
            elif now >= hole.due and hole.tries < WANTS_MAX:
                asked[log_id] = hole.seq
                hole.due = now + WANT_AGAIN_S * 2**hole.tries
                hole.tries += 1
        if asked:
            self._lane.send(Stream.CONTROL, RunWant(self._lane.handle, asked))

    def _report_progress(self) -> None:
        if self._planned is not None:
            total_envelopes, total_bytes = self._planned
            envelopes, payload_bytes = self._done
            total_envelopes = max(total_envelopes, envelopes)
            self._lane.emit(
                Progress(self._lane.space_id, envelopes, total_envelopes, payload_bytes, total_bytes)
            )
