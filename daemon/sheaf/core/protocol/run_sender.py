"""Sending envelopes: catch-up read on demand, live pushed at once (PROTOCOL §5 RUN, PLAN, DONE).

Per log there is one cursor, the next seq to send. A log is either *level* (cursor = what is durable
here) or *behind*. Behind logs are read from the store one run at a time and sent on the catch-up
stream; level logs take new envelopes straight onto the live stream.

Invariants:
1. Runs of one log leave in order and without holes: while a catch-up run of a log is being read or is
   not completely handed out, nothing of that log goes on the (more urgent) live stream; what is
   committed meanwhile just leaves the log behind.
2. Memory per peer is constant: no envelope is queued without credit; a slow peer's logs fall behind
   and are read again later.
3. At most one read per space is outstanding.
4. Logs of other devices are not pushed at once but fall behind after `FORWARD_AFTER_S`, unless the peer
   shows meanwhile that it has them: in a mesh its author has most likely sent them itself, and
   without the pause everybody would send everything to everybody (decision 0027).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import KIB
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.effects import ReadRun
from sheaf.core.protocol.messages import Done, Plan, RunOf
from sheaf.core.protocol.space_link import Lane, LaneMarker, Ledger
from sheaf.core.protocol.version_vector import Version
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream

READ_BYTES: Final = 128 * KIB
CATCH_UP_QUEUE_BYTES: Final = 256 * KIB
"""Above this, nothing more is read (all spaces of the session together)."""
LIVE_QUEUE_BYTES: Final = 64 * KIB
LIVE_RUN_BYTES_MAX: Final = 300 * KIB
FORWARD_AFTER_S: Final = 0.2
REWINDS_PER_S: Final = 4.0
REWINDS_BURST: Final = 64.0


class RunSender:
    """What goes to one peer of one space's content."""

    def __init__(self, *, lane: Lane, ledger: Ledger) -> None:
        self._lane = lane
        self._ledger = ledger
        self._cursor: dict[LogId, int] = {}
        self._behind: dict[LogId, None] = {}
        self._in_flight: dict[LogId, int] = {}
        self._reading: tuple[LogId, int] | None = None
        self._own_logs: dict[LogId, bool] = {}
        self._deferred: dict[LogId, tuple[Seconds, int]] = {}
        self.is_done = False
        """DONE was sent: the peer has been sent all that we had when we met."""
        self._rewinds = REWINDS_BURST
        self._rewound_at: Seconds = 0.0

    # ------------------------------------------------------------------ what the peer has

    def plan(self, version: Version) -> None:
        """The peer's VV is known: announce what will come."""
        self.peer_has(version)
        self.survey()
        count = sum(self._ledger.durable[log_id] - self._next(log_id) for log_id in self._behind)
        self._lane.send(Stream.CONTROL, Plan(self._lane.handle, count, 0))

    def survey(self) -> None:
        """Compare every log with its cursor (after a stretch in which commits were not told)."""
        for log_id in self._ledger.durable:
            self._note(log_id)

    def peer_has(self, version: Version) -> None:
        """The peer has this much (VV, ACK, or a RUN it sent itself)."""
        for log_id, seq in version.items():
            if seq > self._next(log_id):
                self._cursor[log_id] = seq
                self._note(log_id)

    def rewind(self, wanted: Version, now: Seconds) -> None:
        """RUN_WANT: the peer misses something that was sent. Ignored when asked too often."""
        self._rewinds = min(REWINDS_BURST, self._rewinds + (now - self._rewound_at) * REWINDS_PER_S)
        self._rewound_at = now
        for log_id, seq in wanted.items():
            if self._rewinds >= 1 and 1 <= seq < self._next(log_id) and log_id in self._ledger.durable:
                self._rewinds -= 1
                self._cursor[log_id] = seq
                self._note(log_id)

    # ------------------------------------------------------------------ live

    def committed(self, run: Run, now: Seconds, *, may_send: bool) -> bool:
        """New durable envelopes: push them, or let the log fall behind. True when pushed."""
        log_id, end = run.log_id, run.next_seq
        start = self._next(log_id)
        is_level = start >= run.first_seq and log_id not in self._behind
        if start >= end:
            return False
        if is_level and not self._is_own(log_id):
            self._deferred.setdefault(log_id, (now + FORWARD_AFTER_S, end))
            return False
        if not (may_send and is_level and self._is_free(log_id)):
            self._note(log_id)
            return False
        part = self._slice(run, start)
        size = part.size_bytes
        if size > LIVE_RUN_BYTES_MAX or not self._has_live_room(size):
            self._note(log_id)
            return False
        self._cursor[log_id] = end
        self._lane.send(Stream.LIVE, RunOf(self._lane.handle, self._with_genesis(part)))
        return True

    def wake(self, now: Seconds) -> None:
        """Forward what nobody else has brought to the peer."""
        for log_id, (due, end) in list(self._deferred.items()):
            if now < due:
                continue
            del self._deferred[log_id]
            durable = self._ledger.durable.get(log_id, 0)
            if end <= self._next(log_id) < durable:
                self._deferred[log_id] = (now + FORWARD_AFTER_S, durable)
            else:
                self._note(log_id)

    def next_wake(self) -> Seconds | None:
        """When `wake` has something to do."""
        return min((due for due, _ in self._deferred.values()), default=None)

    def _is_own(self, log_id: LogId) -> bool:
        is_own = self._own_logs.get(log_id)
        if is_own is None:
            is_own = self._own_logs[log_id] = self._lane.is_own_log(log_id)
        return is_own

    def _is_free(self, log_id: LogId) -> bool:
        is_being_read = self._reading is not None and self._reading[0] == log_id
        return not is_being_read and log_id not in self._in_flight

    def _has_live_room(self, size: int) -> bool:
        mux = self._lane.mux
        overhead = 2 * KIB
        return mux.queued_bytes(Stream.LIVE) < LIVE_QUEUE_BYTES and mux.has_room(Stream.LIVE, size + overhead)

    # ------------------------------------------------------------------ catch-up

    def pump(self, *, may_read: bool) -> bool:
        """Start the next read, or say DONE when there is none. True when a read was started."""
        if self._reading is not None:
            return False
        if not self._behind:
            if not self.is_done:
                self.is_done = True
                self._lane.send(Stream.CATCH_UP, Done(self._lane.handle))
            return False
        if not may_read or self._lane.mux.queued_bytes(Stream.CATCH_UP) >= CATCH_UP_QUEUE_BYTES:
            return False
        log_id = next(iter(self._behind))
        first_seq = self._next(log_id)
        self._reading = (log_id, first_seq)
        token = self._lane.issue(self)
        self._lane.emit(ReadRun(token, self._lane.space_id, log_id, first_seq, READ_BYTES))
        return True

    @property
    def is_reading(self) -> bool:
        """Whether a read is outstanding."""
        return self._reading is not None

    @property
    def has_work(self) -> bool:
        """Whether `pump` could go on."""
        if self._reading is not None:
            return False
        if not self._behind:
            return not self.is_done
        return self._lane.mux.queued_bytes(Stream.CATCH_UP) < CATCH_UP_QUEUE_BYTES

    def read(self, run: Run, *, may_send: bool) -> None:
        """The answer to `ReadRun`."""
        assert self._reading is not None
        log_id, first_seq = self._reading
        self._reading = None
        start, end = self._next(log_id), run.next_seq
        assert not run.envelopes or (run.log_id, run.first_seq) == (log_id, first_seq)
        if not run.envelopes:
            # The store has less than was announced; forget the rest rather than ask for ever.
            self._behind.pop(log_id, None)
        elif may_send and first_seq <= start < end:
            self._cursor[log_id] = end
            self._in_flight[log_id] = self._in_flight.get(log_id, 0) + 1
            part = self._with_genesis(self._slice(run, start))
            self._lane.send(
                Stream.CATCH_UP, RunOf(self._lane.handle, part), marker=LaneMarker(self._lane.handle, log_id)
            )
            self._note(log_id)
            self._rotate(log_id)

    def handed_out(self, log_id: LogId) -> None:
        """A catch-up run of this log has left completely."""
        left = self._in_flight[log_id] - 1
        if left:
            self._in_flight[log_id] = left
        else:
            del self._in_flight[log_id]

    # ------------------------------------------------------------------ helpers

    def _next(self, log_id: LogId) -> int:
        return max(1, self._cursor.get(log_id, 1))

    def _note(self, log_id: LogId) -> None:
        if log_id in self._deferred:
            return
        if self._ledger.durable.get(log_id, 0) > self._next(log_id):
            self._behind.setdefault(log_id)
        else:
            self._behind.pop(log_id, None)

    def _rotate(self, log_id: LogId) -> None:
        if log_id in self._behind:
            del self._behind[log_id]
            self._behind[log_id] = None

    @staticmethod
    def _slice(run: Run, start: int) -> Run:
        if start == run.first_seq:
            return run
        return replace(run, first_seq=start, genesis=None, envelopes=run.envelopes[start - run.first_seq :])

    def _with_genesis(self, run: Run) -> Run:
        if run.first_seq != 1:
            return replace(run, genesis=None) if run.genesis is not None else run
        if run.genesis is not None:
            return run
        return replace(run, genesis=self._lane.view.genesis_of(run.log_id))


def ends_of(run: Run) -> Mapping[LogId, int]:
    """The next_seq that this run leads to."""
    return {run.log_id: run.next_seq}
