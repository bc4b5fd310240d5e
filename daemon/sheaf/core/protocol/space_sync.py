"""One space in one session: control plane, version vectors, catch-up, live (PROTOCOL §5).

    MATCHED → CONTROL → (NOT_MEMBER | CATCH_UP) → LIVE

Ties the parts together and decides the phase; the parts do the work. A message that is illegal
in its state raises `ProtocolViolation`, which ends the session.

Invariants:
1. Nothing but control heads goes to a peer that our view does not count as a member, and no
   envelope goes before every control head the peer named is known here.
2. LIVE is reached when both sides said DONE and everything that came is durable, and is kept
   until membership is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, DocId, LogId
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.control_sync import ControlSync
from sheaf.core.protocol.effects import (
    Ephemeral,
    Phase,
    ReceiptHeadsCame,
    ReceiptsCame,
    SpacePhase,
    StoreOps,
)
from sheaf.core.protocol.ephemeral_gate import EphemeralReceiver, EphemeralSender
from sheaf.core.protocol.messages import (
    Ack,
    Agree,
    CtlHeads,
    CtlOps,
    CtlWant,
    Done,
    Eph,
    Open,
    Plan,
    ReceiptHeads,
    Receipts,
    RunOf,
    RunWant,
    SpaceMessage,
    VersionIs,
    VersionWant,
)
from sheaf.core.protocol.receipt_gate import ReceiptGate, in_messages
from sheaf.core.protocol.run_receiver import Arrival, RunReceiver
from sheaf.core.protocol.run_sender import RunSender, ends_of
from sheaf.core.protocol.space_link import Lane, Ledger
from sheaf.core.protocol.version_exchange import VersionExchange
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream

_FLOWING: Final = (Phase.CATCH_UP, Phase.LIVE)


class SpaceSync:
    """The synchronisation of one space with one peer."""

    def __init__(self, *, lane: Lane, tag: bytes, leads: bool) -> None:
        self.lane = lane
        self._tag = tag
        self._ledger = Ledger()
        self._control = ControlSync(lane=lane, leads=leads)
        self._versions = VersionExchange(lane=lane, ledger=self._ledger, leads=leads)
        self.sender = RunSender(lane=lane, ledger=self._ledger)
        self._receiver = RunReceiver(lane=lane, ledger=self._ledger)
        self._eph_out, self._eph_in = EphemeralSender(), EphemeralReceiver()
        self._receipts = ReceiptGate(lane=lane)
        self._is_plan_received = False
        self._is_done_received = False
        self.phase = Phase.IDLE

    # ------------------------------------------------------------------ from the session

    def open(self) -> None:
        """Tell the peer our handle, and at once all that it may know."""
        self.lane.send(Stream.CONTROL, Open(self.lane.handle, self._tag))
        self._set_phase(Phase.MATCHED)
        self._control_changed()

    def receive(self, message: SpaceMessage, stream: Stream, cost: int, now: Seconds) -> bool:
        """A message with the peer's handle of this space.

        Returns:
            True when the credit of the message stays taken until a token is answered.

        Raises:
            ProtocolViolation: illegal in this state, or false.
        """
        match message:
            case CtlHeads():
                self._control.heads_told(message, now)
                self._control_changed()
            case CtlWant():
                self._control.wanted(message)
            case CtlOps(ops=ops):
                self._control.ops_came(now)
                token = self.lane.issue(OpsArrival(self, stream, cost))
                self.lane.emit(StoreOps(token, self.lane.space_id, ops))
                return True
            case RunOf(run=run):
                return self._run_came(run, stream, cost)
            case Eph():
                self._eph_came(message, now)
            case Receipts() | ReceiptHeads():
                self._receipts_came(message, now)
            case _:
                self._content_message(message, now)
        return False

    def ops_changed(self, now: Seconds) -> None:
        """The control plane grew here."""
        self._control_changed()
        self._versions.changed(now)

    def run_stored(
        self,
        arrival: Arrival,
        next_seqs: Mapping[LogId, int],
        want: Sequence[tuple[LogId, int]],
        now: Seconds,
    ) -> None:
        """A run from this peer is durable (or known to be a duplicate)."""
        self._ledger.raise_durable(next_seqs)
        self._receiver.stored(
            arrival,
            next_seqs,
            want,
            now,
            is_live=self.phase is Phase.LIVE,
            may_send=self.phase in _FLOWING,
        )
        self._versions.changed(now)
        self._update_phase()

    def run_read(self, run: Run) -> None:
        """The store answered a read."""
        self.sender.read(run, may_send=self.may_send)

    def committed(self, runs: Sequence[Run], now: Seconds) -> None:
        """New durable envelopes, whoever wrote them."""
        for run in runs:
            self._ledger.raise_durable(ends_of(run))
            if not self._versions.is_sent:
                continue
            if not self.sender.committed(run, now, may_send=self.may_send):
                # The peer learns by an ACK what it cannot infer from our sending it.
                self._receiver.acknowledge(ends_of(run), now)
        self._versions.changed(now)

    def send_ephemeral(self, doc_id: DocId, data: bytes, now: Seconds) -> None:
        """Awareness from a local tab."""
        if self.may_send and (message := self._eph_out.offer(doc_id, data, now)) is not None:
            self._send_eph(message)

    def tell_receipts(self, counters: Mapping[DeviceId, int] | None, raws: Sequence[bytes]) -> bool:
        """Send receipts, and with `counters` ask for newer ones. False when the peer may not have them."""
        if not self.may_send:
            return False
        if counters is not None:
            self.lane.send(Stream.CONTROL, ReceiptHeads(self.lane.handle, counters))
        for message in in_messages(self.lane.handle, raws):
            self.lane.send(Stream.CONTROL, message)
        return True

    def handed_out(self, log_id: LogId | None) -> None:
        """A catch-up run of this log, or a chunk of ops (None), has left the mux."""
        if log_id is None:
            self._control.handed_out()
        else:
            self.sender.handed_out(log_id)

    def pump(self, *, may_read: bool) -> bool:
        """Queue ops and start reads as far as there is room. True when a read was started."""
        self._control.pump()
        is_started = self.may_send and self.sender.pump(may_read=may_read)
        self._update_phase()
        return is_started

    def wake(self, now: Seconds) -> None:
        """Timers."""
        self._control.wake(now)
        self._receiver.wake(now, may_send=self.phase in _FLOWING)
        self._versions.wake(now)
        self.sender.wake(now)
        for message in self._eph_out.due(now):
            if self.may_send:
                self._send_eph(message)

    def next_wake(self) -> Seconds | None:
        """The earliest timer."""
        parts = (self._control, self._receiver, self._versions, self.sender, self._eph_out)
        return min((due for part in parts if (due := part.next_wake()) is not None), default=None)

    def owns(self, arrival: Arrival) -> bool:
        """Whether this run came through here."""
        return arrival.receiver is self._receiver

    @property
    def has_pump_work(self) -> bool:
        """Whether `pump` would do something now."""
        return self._control.has_outgoing or (self.may_send and self.sender.has_work)

    @property
    def may_send(self) -> bool:
        """Whether envelopes may go to this peer now (invariant 1)."""
        control = self._control
        is_welcome = control.is_peer_member and control.counts_us is True
        is_level = control.is_ready and control.is_pushed
        return is_welcome and is_level and self._versions.is_received

    # ------------------------------------------------------------------ messages

    def _content_message(self, message: SpaceMessage, now: Seconds) -> None:
        match message:
            case VersionIs():
                version = self._versions.received(message)
                if version is not None:
                    self._receiver.peer_has(version)
                    self.sender.plan(version)
                    self._versions.changed(now)
            case VersionWant():
                self._versions.wanted()
            case Plan():
                self._require(self._versions.is_sent and not self._is_plan_received)
                self._is_plan_received = True
                self._receiver.planned(message)
            case RunWant(entries=entries):
                self._require(self._versions.is_sent)
                self.sender.rewind(entries, now)
            case Done():
                self._require(self._versions.is_sent and not self._is_done_received)
                self._is_done_received = True
            case Ack(entries=entries):
                self._require(self._versions.is_sent)
                self._receiver.peer_has(entries)
                self.sender.peer_has(entries)
                self._versions.changed(now)
            case Agree():
                self._require(self._versions.is_sent)
                self._versions.agree_came(message)
            case _:
                raise ProtocolViolation("a message that belongs to no open space")
        self._update_phase()

    def _run_came(self, run: Run, stream: Stream, cost: int) -> bool:
        # Legal once our VV was sent, for nothing else could have told the peer what we lack; also
        # from a peer that is no member any more: ingest judges the author, not the forwarder.
        self._require(self._versions.is_sent)
        ends = ends_of(run)
        self._receiver.peer_has(ends)
        self.sender.peer_has(ends)
        self._receiver.run_came(run, stream, cost)
        return True

    def _eph_came(self, message: Eph, now: Seconds) -> None:
        if self._control.is_peer_member and self._eph_in.accept(message, now):
            self.lane.emit(Ephemeral(self.lane.space_id, message.doc_id, message.data))

    def _receipts_came(self, message: Receipts | ReceiptHeads, now: Seconds) -> None:
        self._require(self._versions.is_sent)
        if not self._control.is_peer_member:
            return  # it was removed while this was on its way
        if isinstance(message, ReceiptHeads):
            if self._receipts.may_ask(now):
                self.lane.emit(ReceiptHeadsCame(self.lane.space_id, message.counters))
        elif receipts := self._receipts.came(message, now):
            self.lane.emit(ReceiptsCame(self.lane.space_id, receipts))

    def _send_eph(self, message: Eph) -> None:
        numbered = Eph(self.lane.handle, message.doc_id, message.counter, message.data)
        self.lane.send(Stream.AWARENESS, numbered, slot=message.doc_id)

    @staticmethod
    def _require(is_legal: bool) -> None:
        if not is_legal:
            raise ProtocolViolation("a message out of turn")

    # ------------------------------------------------------------------ state

    def _control_changed(self) -> None:
        self._control.refresh()
        if self._control.is_peer_member and not self._versions.is_sent:
            self._ledger.raise_durable(self.lane.view.durable_version())
            self._versions.send()
        self._update_phase()

    def _update_phase(self) -> None:
        control = self._control
        if control.counts_us is None and control.is_peer_member:
            return
        if not control.is_peer_member or not control.counts_us:
            self._set_phase(Phase.NOT_MEMBER)
        elif self.phase is not Phase.LIVE:
            self._set_phase(self._phase_of_members())

    def _phase_of_members(self) -> Phase:
        if not (self._control.is_ready and self._versions.is_received):
            return Phase.CONTROL
        is_level = self.sender.is_done and self._is_done_received and self._receiver.storing == 0
        return Phase.LIVE if is_level else Phase.CATCH_UP

    def _set_phase(self, phase: Phase) -> None:
        if phase is self.phase:
            return
        if phase in _FLOWING and self.phase not in _FLOWING:
            # Shells tell commits only while content flows; look once at what happened before.
            self._ledger.raise_durable(self.lane.view.durable_version())
            self.sender.survey()
            self._receiver.resume()
        self.phase = phase
        self.lane.emit(SpacePhase(self.lane.space_id, phase))


class OpsArrival:
    """Control ops that the store is busy with."""

    __slots__ = ("cost", "stream", "sync")

    def __init__(self, sync: SpaceSync, stream: Stream, cost: int) -> None:
        self.sync, self.stream, self.cost = sync, stream, cost
