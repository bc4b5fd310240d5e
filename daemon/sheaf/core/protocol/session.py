"""A session: everything two daemons say to each other over one channel (PROTOCOL §5).

Sans-IO. The shell feeds events (frames, answers to tokens, commits, time), performs the returned
effects in order, and pulls frames whenever the channel has room. The session proves who is there
(HELLO), finds common spaces (SPACES, OPEN), and runs one `SpaceSync` for each. Knows no sockets,
no storage and no clock.

    NEW → HELLO → OPEN → CLOSED

Invariants:
1. Before the peer's HELLO verifies, nothing but HELLO is read, of at most 8 KiB and within 10 s.
2. `Closed` is returned exactly once; after it every event returns nothing. What the peer did wrong
   never surfaces as an exception.
3. Every byte received on a credited stream is released exactly once: at once, or when the token
   that it became is answered.
4. A frame received at least every 14 s, or the peer is dead (FAULTS N3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, DocId, LogId, SpaceId
from sheaf.core.base.limits import AWARENESS_BYTES_MAX, UNAUTHENTICATED_BYTES_MAX
from sheaf.core.base.machine import Entropy, Seconds
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys
from sheaf.core.protocol.common_spaces import CommonSpaces
from sheaf.core.protocol.effects import (
    Authenticated,
    Closed,
    Effect,
    Phase,
    RttMeasured,
    SpaceDirectory,
)
from sheaf.core.protocol.handshake import (
    ANSWERER,
    OFFERER,
    Incompatible,
    check_hello,
    make_hello,
)
from sheaf.core.protocol.heartbeat import Heartbeat
from sheaf.core.protocol.join_desk import JoinDesk, JoinTicket
from sheaf.core.protocol.message_codec import decode_message, encode_message
from sheaf.core.protocol.messages import (
    CLONED,
    AnyMessage,
    Bye,
    Close,
    Err,
    Hello,
    Join,
    JoinAnswer,
    Kind,
    Open,
    Ping,
    Pong,
    SpaceMessage,
    Spaces,
    shortened,
)
from sheaf.core.protocol.mux import Mux, Received
from sheaf.core.protocol.pairing import JoinRequest
from sheaf.core.protocol.run_receiver import Arrival
from sheaf.core.protocol.run_sender import RunSender
from sheaf.core.protocol.space_sync import OpsArrival
from sheaf.core.protocol.tokens import Tokens
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream

ERR_VIOLATION: Final = 1
ERR_INCOMPATIBLE: Final = 2


class _State(Enum):
    NEW = auto()
    HELLO = auto()
    OPEN = auto()
    CLOSED = auto()


class Session:
    """One live connection to one device.

    Args:
        is_offerer: whether this side made the offer (the smaller device id does).
        device, certificate: our own.
        transcript: bytes, 32, `signaling.transcript(offer, answer)`.
        expected: the device that must answer; None when an invitation brought us together.
        spaces: the spaces of this daemon.
        entropy: for shuffling and padding.
    """

    def __init__(
        self,
        *,
        is_offerer: bool,
        device: DeviceKeys,
        certificate: DeviceCertificate,
        transcript: bytes,
        expected: DeviceId | None,
        spaces: SpaceDirectory,
        entropy: Entropy,
    ) -> None:
        self._role = OFFERER if is_offerer else ANSWERER
        self._device = device
        self._certificate = certificate
        self._transcript = transcript
        self._expected = expected
        self._state = _State.NEW
        self._mux = Mux()
        self._effects: list[Effect] = []
        self._peer: DeviceCertificate | None = None
        self._tokens = Tokens()
        self._heartbeat = Heartbeat(mux=self._mux)
        self._spaces = CommonSpaces(
            directory=spaces,
            role=self._role,
            own=device.device_id,
            transcript=transcript,
            entropy=entropy,
            mux=self._mux,
            emit=self._emit,
            issue=self._tokens.issue,
        )
        self._joins = JoinDesk(send=self._send_control, issue=self._tokens.issue, emit=self._emit)
        self._received_bytes = 0
        self._is_pump_due = False

    # ------------------------------------------------------------------ events: channel and time

    def start(self, now: Seconds) -> list[Effect]:
        """The channel is open. Call first."""
        assert self._state is _State.NEW
        self._state = _State.HELLO
        self._heartbeat.start(now)
        hello = make_hello(
            role=self._role,
            device=self._device,
            certificate=self._certificate,
            transcript=self._transcript,
        )
        self._mux.queue(Stream.SESSION, encode_message(hello))
        return self._drain()

    def receive(self, frame: bytes, now: Seconds) -> list[Effect]:
        """A frame came from the channel."""
        if self._state is _State.CLOSED:
            return []
        try:
            self._receive(frame, now)
        except Incompatible as error:
            self._fail(str(error), ERR_INCOMPATIBLE, is_peer_fault=False)
        except ProtocolViolation as error:
            self._fail(str(error), ERR_VIOLATION, is_peer_fault=True)
        return self._finish()

    def wake(self, now: Seconds) -> list[Effect]:
        """The time `next_wake` told has come."""
        if self._state in (_State.NEW, _State.CLOSED):
            return []
        self._is_pump_due = False
        if self._heartbeat.is_dead(now):
            silent = self._state is _State.OPEN
            reason = "nothing heard from the other side" if silent else "the other side did not say who it is"
            self._fail(reason, ERR_VIOLATION, is_peer_fault=False)
        elif self._state is _State.OPEN:
            self._heartbeat.wake(now)
            for sync in self._spaces:
                sync.wake(now)
        return self._finish()

    def next_wake(self) -> Seconds | None:
        """When to call `wake`; may lie in the past (then at once). Look again after every call,
        `next_frames` included."""
        if self._state in (_State.NEW, _State.CLOSED):
            return None
        if self._is_pump_due:
            return 0.0
        times = [due for sync in self._spaces if (due := sync.next_wake()) is not None]
        return min([self._heartbeat.next_wake(), *times])

    def next_frames(self, budget_bytes: int) -> list[bytes]:
        """Frames to give the channel now, most urgent first; the last may exceed the budget.

        Call after every event and whenever the channel has room (`SEND_BUFFER_BYTES_MAX` less what
        it has buffered).
        """
        frames = self._mux.next_frames(budget_bytes)
        self._spaces.handed_out()
        if frames and self._state is _State.OPEN and self._spaces.has_pump_work:
            self._is_pump_due = True
        return frames

    @property
    def has_frames(self) -> bool:
        """Whether `next_frames` has something."""
        return self._mux.has_frames

    # ------------------------------------------------------------------ events: store

    def ops_stored(self, token: int, now: Seconds, *, refused: str | None = None) -> list[Effect]:
        """`StoreOps` is dealt with: durable, known already, or refused (an unsound op: its fault)."""
        arrival = self._tokens.take(token, OpsArrival)
        if arrival is None:
            return []
        self._mux.release(arrival.stream, arrival.cost)
        if refused is not None:
            self._fail(refused, ERR_VIOLATION, is_peer_fault=True)
        elif arrival.sync in list(self._spaces):
            arrival.sync.ops_changed(now)
        return self._finish()

    def ops_changed(self, space_id: SpaceId, now: Seconds) -> list[Effect]:
        """The control plane of a space grew, from anywhere, and is durable."""
        return self._changed(space_id, now, is_new=not self._spaces.is_announced(space_id))

    def space_added(self, space_id: SpaceId, now: Seconds) -> list[Effect]:
        """A space exists here since now (created, joined), or its first secret is known now; for a
        space that is common already the same as `ops_changed`."""
        return self._changed(space_id, now, is_new=True)

    def _changed(self, space_id: SpaceId, now: Seconds, *, is_new: bool) -> list[Effect]:
        if (sync := self._spaces.get(space_id)) is not None:
            sync.ops_changed(now)
        elif self._state is _State.OPEN and is_new:
            self._spaces.announce()
        return self._finish()

    def space_removed(self, space_id: SpaceId, now: Seconds) -> list[Effect]:
        """A space is gone from here (left)."""
        self._spaces.remove(space_id)
        return self._finish()

    def run_stored(
        self,
        token: int,
        *,
        next_seqs: Mapping[LogId, int],
        want: Sequence[tuple[LogId, int]],
        refused: str | None,
        now: Seconds,
    ) -> list[Effect]:
        """`StoreRun` is dealt with.

        Args:
            next_seqs: durable next_seq of the run's log (also when it was a duplicate).
            want: holes: (log, next_seq) from which the peer should send again.
            refused: the run was unsound; ends the session as the peer's fault.
        """
        arrival = self._tokens.take(token, Arrival)
        if arrival is None:
            return []
        self._mux.release(arrival.stream, arrival.cost)
        if refused is not None:
            self._fail(refused, ERR_VIOLATION, is_peer_fault=True)
        else:
            sync = self._spaces.of_arrival(arrival)
            if sync is not None:
                sync.run_stored(arrival, next_seqs, want, now)
        return self._finish()

    def run_read(self, token: int, run: Run, now: Seconds) -> list[Effect]:
        """`ReadRun` is answered; an empty run (no envelopes) when there is nothing to read."""
        sender = self._tokens.take(token, RunSender)
        if sender is None:
            return []
        sync = self._spaces.of_sender(sender)
        if sync is not None:
            sync.run_read(run)
        return self._finish()

    def committed(self, space_id: SpaceId, runs: Sequence[Run], now: Seconds) -> list[Effect]:
        """Envelopes became durable, ours or received; in a live session they leave at once."""
        sync = self._spaces.get(space_id)
        if sync is None:
            return []
        sync.committed(runs, now)
        return self._finish()

    # ------------------------------------------------------------------ events: people

    def tell_receipts(
        self, space_id: SpaceId, counters: Mapping[DeviceId, int] | None, raws: Sequence[bytes]
    ) -> list[Effect]:
        """Send receipts of a common space; with `counters`, ask for those that are newer."""
        if (sync := self._spaces.get(space_id)) is not None:
            sync.tell_receipts(counters, raws)
        return self._finish()

    def send_ephemeral(self, space_id: SpaceId, doc_id: DocId, data: bytes, now: Seconds) -> list[Effect]:
        """Awareness from a local tab; at most 4 KiB, larger is dropped."""
        sync = self._spaces.get(space_id)
        if sync is not None and len(data) <= AWARENESS_BYTES_MAX:
            sync.send_ephemeral(doc_id, data, now)
        return self._finish()

    def join(self, space_id: SpaceId, request: JoinRequest, now: Seconds) -> list[Effect]:
        """Ask to be let in, as soon as the other side is authenticated. Answered by `JoinAccepted`
        or `JoinRefused`."""
        assert request.space_id == space_id
        if self._state is not _State.CLOSED:
            self._joins.ask(request)
        return self._finish()

    def join_answer(self, token: int, answer: Sequence[bytes] | str, now: Seconds) -> list[Effect]:
        """Answer `JoinRequested`: all control ops of the space, or the reason for refusing."""
        ticket = self._tokens.take(token, JoinTicket)
        if ticket is not None:
            self._joins.answer(ticket, answer)
        return self._finish()

    def probe(self, now: Seconds) -> list[Effect]:
        """The shell doubts the connection: the other side shows life within `PEER_PROBE_S`, or it ends."""
        if self._state is _State.OPEN:
            self._heartbeat.probe(now)
        return self._finish()

    def close(self, reason: str, now: Seconds) -> list[Effect]:
        """Leave in good order."""
        if self._state is _State.CLOSED:
            return []
        if self._state is _State.OPEN:
            self._farewell(Bye(shortened(reason)))
        self._end(reason, is_peer_fault=False)
        return self._finish()

    @property
    def peer(self) -> DeviceCertificate | None:
        """The other device, once authenticated."""
        return self._peer

    def phase(self, space_id: SpaceId) -> Phase:
        """Where a space stands; IDLE when it is not common."""
        sync = self._spaces.get(space_id)
        return Phase.IDLE if sync is None else sync.phase

    # ------------------------------------------------------------------ receiving

    def _receive(self, frame: bytes, now: Seconds) -> None:
        if self._state is not _State.OPEN:
            self._received_bytes += len(frame)
            if self._received_bytes > UNAUTHENTICATED_BYTES_MAX:
                raise ProtocolViolation("too much before HELLO")
        self._heartbeat.frame_came(now)
        received = self._mux.receive(frame)
        if received is None:
            return
        message = received.message
        if self._state is _State.HELLO and message.kind != Kind.HELLO:
            raise ProtocolViolation("a message before HELLO")
        if not self._dispatch(decode_message(received.stream, message), received, now):
            self._mux.release(received.stream, message.cost)

    def _dispatch(self, message: AnyMessage, received: Received, now: Seconds) -> bool:
        """Returns True when the message's credit stays taken."""
        match message:
            case Hello():
                self._hello_came(message, now)
            case Spaces(tags=tags):
                self._spaces.peer_announced(frozenset(tags))
            case Ping(number=number):
                self._heartbeat.ping_came(number)
            case Pong(number=number):
                elapsed_ms = self._heartbeat.pong_came(number, now)
                if elapsed_ms is not None:
                    self._emit(RttMeasured(elapsed_ms))
            case Bye(reason=reason):
                is_cloned = reason == CLONED
                self._end(f"the other side left: {reason}", is_peer_fault=False, is_cloned=is_cloned)
            case Err(reason=reason):
                self._end(f"the other side refused: {reason}", is_peer_fault=False)
            case Open(handle=handle, tag=tag):
                self._spaces.peer_opened(handle, tag)
            case Join(request=request):
                assert self._peer is not None
                self._joins.request_came(JoinRequest.decode(request), self._peer)
            case JoinAnswer():
                self._joins.answer_came(message)
            case _:
                return self._space_message(message, received, now)
        return False

    def _space_message(self, message: SpaceMessage, received: Received, now: Seconds) -> bool:
        if isinstance(message, Close):
            self._spaces.peer_closed(message)
            return False
        sync = self._spaces.route(message)
        if sync is None:
            return False  # we left this space while the message was on its way
        return sync.receive(message, received.stream, received.message.cost, now)

    def _hello_came(self, hello: Hello, now: Seconds) -> None:
        if self._state is not _State.HELLO:
            raise ProtocolViolation("a second HELLO")
        self._peer = check_hello(
            hello,
            my_role=self._role,
            my_device=self._device.device_id,
            transcript=self._transcript,
            expected=self._expected,
        )
        self._state = _State.OPEN
        self._spaces.peer = self._peer.device
        self._emit(Authenticated(self._peer))
        self._heartbeat.authenticated(now)
        self._spaces.announce()
        self._joins.authenticated()

    # ------------------------------------------------------------------ ends

    def _fail(self, reason: str, code: int, *, is_peer_fault: bool) -> None:
        if self._state is _State.CLOSED:
            return
        # Somebody who did not prove who it is learns nothing from us but a number.
        told = reason if self._state is _State.OPEN or code == ERR_INCOMPATIBLE else ""
        self._farewell(Err(code, shortened(told)))
        self._end(reason, is_peer_fault=is_peer_fault)

    def _farewell(self, message: AnyMessage) -> None:
        self._mux.drop_queued()
        self._mux.queue(Stream.SESSION, encode_message(message))

    def _end(self, reason: str, *, is_peer_fault: bool, is_cloned: bool = False) -> None:
        self._state = _State.CLOSED
        self._spaces.clear()
        self._tokens.clear()
        self._emit(Closed(reason, is_peer_fault, is_cloned))

    # ------------------------------------------------------------------ plumbing

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _send_control(self, message: AnyMessage) -> None:
        self._mux.queue(Stream.CONTROL, encode_message(message))

    def _finish(self) -> list[Effect]:
        if self._state is _State.OPEN:
            self._spaces.pump()
        return self._drain()

    def _drain(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
