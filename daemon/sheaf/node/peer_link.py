"""One live connection: the shell around a `Session`.

Feeds it frames, times and what storage says; performs its effects; keeps the channel's
buffer small so that a keystroke never waits behind a catch-up (PROTOCOL §5). Everything
here runs on the event loop; only reading runs from the store waits, in `run`.

Must not know how the channel was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, assert_never

import structlog

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DeviceId, DocId, LogId, SpaceId
from sheaf.core.base.limits import SEND_BUFFER_BYTES_MAX
from sheaf.core.base.machine import Seconds
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from sheaf.core.protocol.pairing import JoinRequest
from sheaf.core.protocol.session import Session
from sheaf.core.space.run import Run
from sheaf.core.space.space import IngestResult, OpsResult
from sheaf.node.driver import WakeTimer
from sheaf.node.space_host import SpaceHost
from sheaf.node.traffic import Traffic
from sheaf.ports import Channel, ChannelReceiver, Clock, Store

READS_WAITING_MAX: Final = 1024
"""A session asks for one read per space at a time, so this is never reached by an honest build."""

logger = structlog.get_logger("sheaf.peer")

SessionEvent = Callable[[float], Sequence[fx.Effect]]


class LinkOwner(Protocol):
    """What a link tells the peer manager."""

    def host(self, space_id: SpaceId) -> SpaceHost | None: ...
    def link_authenticated(self, link: PeerLink) -> None: ...
    def link_changed(self, link: PeerLink) -> None: ...
    def link_closed(self, link: PeerLink, reason: str) -> None: ...
    def join_requested(self, link: PeerLink, effect: fx.JoinRequested) -> None: ...
    def join_accepted(self, link: PeerLink, effect: fx.JoinAccepted) -> None: ...
    def join_refused(self, link: PeerLink, reason: str) -> None: ...
    def agreed(self, link: PeerLink, space_id: SpaceId, version: Mapping[LogId, int]) -> None: ...


@dataclass(slots=True)
class SpaceProgress:
    """How far one space is on this connection."""

    phase: Phase = Phase.IDLE
    done_envelopes: int = 0
    total_envelopes: int = 0
    done_bytes: int = 0
    total_bytes: int = 0
    peer_has: dict[LogId, int] = field(default_factory=dict)


class PeerLink:
    """The connection to one device."""

    def __init__(
        self,
        *,
        channel: Channel,
        session: Session,
        owner: LinkOwner,
        store: Store,
        clock: Clock,
        transcript: bytes,
        is_offerer: bool,
        process: bytes | None,
        all_traffic: Traffic,
    ) -> None:
        self.channel = channel
        self.traffic = Traffic(of_all=all_traffic)
        self.session = session
        self.transcript = transcript
        self.is_offerer = is_offerer
        self.process = process
        """Which process of the other device it is, if it said so."""
        self.entered_at: Seconds = 0.0
        """When it became the connection to its device."""
        self.is_peer_fault = False
        self.is_cloned = False
        """It ended because the other side has met another process with our identity."""
        self.certificate: DeviceCertificate | None = None
        self.spaces: dict[SpaceId, SpaceProgress] = {}
        self.rtt_ms: float | None = None
        self.is_closed = False
        self.is_joining = False
        """A request to be let in is on its way; the next one must wait."""
        self._join: tuple[SpaceId, JoinRequest] | None = None
        self._storing: dict[int, tuple[SpaceId, SessionEvent]] = {}
        """Tokens the store has not answered, and how to answer them when it never will."""
        self._owner = owner
        self._store = store
        self._clock = clock
        self._timer = WakeTimer(clock=clock, on_wake=self._wake)
        self._reads: asyncio.Queue[fx.ReadRun] = asyncio.Queue(READS_WAITING_MAX)
        self._ended = asyncio.Event()

    # ------------------------------------------------------------------ life

    @property
    def device_id(self) -> DeviceId | None:
        """Who is at the other end, once authenticated."""
        return self.certificate.device if self.certificate is not None else None

    def start(self, attach: Callable[[ChannelReceiver], None]) -> None:
        """Begin the session; `attach` makes the channel deliver to us."""
        self.perform(self.session.start(self._clock.now()))
        attach(self)

    async def run(self) -> None:
        """Serve the session's reads until the link has closed."""
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._serve_reads())
                await self._ended.wait()
                reader.cancel()
        finally:
            self._end("closed")
            await self.channel.close()

    def close(self, reason: str) -> None:
        """Say goodbye and end."""
        if not self.is_closed:
            self.perform(self.session.close(reason, self._clock.now()))
            self._end(reason)

    def _end(self, reason: str) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._timer.cancel()
        for space_id in self.spaces:
            host = self._owner.host(space_id)
            if host is not None:
                host.remove_listener(self)
        self._owner.link_closed(self, reason)
        self._ended.set()

    # ------------------------------------------------------------------ from the channel

    def frame_received(self, frame: bytes) -> None:
        """A frame from the peer."""
        if not self.is_closed:
            self.traffic.received(len(frame))
            self.perform(self.session.receive(frame, self._clock.now()))

    def writable(self) -> None:
        """The channel has room again."""
        self._pump()

    def channel_closed(self, reason: str) -> None:
        """The channel ended under us."""
        self._end(reason)

    def _wake(self, now: float) -> None:
        if not self.is_closed:
            self.perform(self.session.wake(now))

    def _pump(self) -> None:
        while not self.is_closed:
            room = SEND_BUFFER_BYTES_MAX - self.channel.buffered_bytes
            if room <= 0:
                break
            frames = self.session.next_frames(room)
            if not frames:
                break
            for frame in frames:
                self.channel.send(frame)
                self.traffic.sent(len(frame))
        if not self.is_closed:
            self._timer.arm(self.session.next_wake())

    # ------------------------------------------------------------------ from spaces (SpaceListener)

    def wants(self, space_id: SpaceId) -> bool:
        """Whether the peer takes new envelopes of this space."""
        progress = self.spaces.get(space_id)
        return progress is not None and progress.phase in (Phase.CATCH_UP, Phase.LIVE)

    def committed(self, space_id: SpaceId, runs: Sequence[Run]) -> None:
        """New durable envelopes: offer them to the peer at once."""
        if not self.is_closed:
            self.perform(self.session.committed(space_id, runs, self._clock.now()))

    def ops_changed(self, space_id: SpaceId) -> None:
        """The control plane grew."""
        if not self.is_closed:
            self.perform(self.session.ops_changed(space_id, self._clock.now()))

    def space_added(self, space_id: SpaceId) -> None:
        """A space exists here that did not before."""
        if not self.is_closed:
            self.perform(self.session.space_added(space_id, self._clock.now()))

    def space_removed(self, space_id: SpaceId) -> None:
        """The space was left here, or its disk failed; what came of it gives its credit back."""
        if self.is_closed:
            return
        self.spaces.pop(space_id, None)
        self.perform(self.session.space_removed(space_id, self._clock.now()))
        for token, (of_space, give_up) in list(self._storing.items()):
            if of_space == space_id:
                del self._storing[token]
                self._after(give_up)

    def send_presence(self, space_id: SpaceId, doc_id: DocId, data: bytes) -> None:
        """Local presence, for the peer's tabs."""
        if not self.is_closed and self.wants(space_id):
            self.perform(self.session.send_ephemeral(space_id, doc_id, data, self._clock.now()))

    def tell_receipts(
        self, space_id: SpaceId, counters: Mapping[DeviceId, int] | None, raws: Sequence[bytes]
    ) -> None:
        """Receipts for the peer; with `counters`, ask for newer ones."""
        if not self.is_closed:
            self.perform(self.session.tell_receipts(space_id, counters, raws))

    # ------------------------------------------------------------------ joining

    def join(self, space_id: SpaceId, request: JoinRequest) -> None:
        """Ask to be let in, as soon as the other side has proved who it is."""
        self.is_joining = True
        self._join = (space_id, request)
        if self.certificate is not None:
            self._ask()

    def _ask(self) -> None:
        if self._join is not None and not self.is_closed:
            (space_id, request), self._join = self._join, None
            self.perform(self.session.join(space_id, request, self._clock.now()))

    def give_up_joining(self) -> None:
        """Nobody waits for the answer any more; a connection that owes one takes no other request."""
        if self.is_joining:
            self.close("the join was given up")

    def join_answer(self, token: int, answer: Sequence[bytes] | str) -> None:
        """Let somebody in, or say why not."""
        self._after(lambda now: self.session.join_answer(token, answer, now))

    # ------------------------------------------------------------------ effects

    def perform(self, effects: Sequence[fx.Effect]) -> None:
        """Do what the session asks, then send what it has to say."""
        for effect in effects:
            self._perform(effect)
        self._pump()

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Authenticated():
                self.certificate = effect.certificate
                self.traffic.restart()
                self._owner.link_authenticated(self)
                self._ask()
            case fx.StoreOps():
                self._store_ops(effect)
            case fx.StoreRun():
                self._store_run(effect)
            case fx.ReadRun():
                self._reads.put_nowait(effect)
            case fx.JoinRequested():
                self._owner.join_requested(self, effect)
            case fx.JoinAccepted():
                self.is_joining = False
                self._owner.join_accepted(self, effect)
            case fx.JoinRefused():
                self.is_joining = False
                self._owner.join_refused(self, effect.reason)
            case fx.SpacePhase():
                self._phase_changed(effect)
            case fx.Progress():
                progress = self._progress(effect.space_id)
                progress.done_envelopes = effect.done_envelopes
                progress.total_envelopes = effect.total_envelopes
                progress.done_bytes = effect.done_bytes
                progress.total_bytes = effect.total_bytes
                self._owner.link_changed(self)
            case fx.PeerHas():
                self._progress(effect.space_id).peer_has.update(effect.version)
                self._owner.link_changed(self)
            case fx.AgreedVersion():
                self._owner.agreed(self, effect.space_id, effect.version)
            case fx.Ephemeral():
                self._presence(effect)
            case fx.ReceiptsCame():
                if (host := self._owner.host(effect.space_id)) is not None:
                    host.delivery.take(effect.receipts, source=self)
            case fx.ReceiptHeadsCame():
                if (host := self._owner.host(effect.space_id)) is not None:
                    host.delivery.asked(self, effect.counters)
            case fx.RttMeasured():
                self.rtt_ms = effect.ms
            case fx.Closed():
                self.is_peer_fault, self.is_cloned = effect.is_peer_fault, effect.is_cloned
                if effect.is_peer_fault:
                    logger.warning("session ended by the peer's fault", reason=effect.reason)
                self._pump()
                self._end(effect.reason)
            case _:
                assert_never(effect)

    def _progress(self, space_id: SpaceId) -> SpaceProgress:
        return self.spaces.setdefault(space_id, SpaceProgress())

    def _phase_changed(self, effect: fx.SpacePhase) -> None:
        progress = self._progress(effect.space_id)
        progress.phase = effect.phase
        host = self._owner.host(effect.space_id)
        if host is not None and self.wants(effect.space_id):
            host.add_listener(self)
            if effect.phase is Phase.LIVE:
                self._log_in_step(effect.space_id)
                host.delivery.greet(self)
                for doc_id, data in host.documents.local_presence():
                    self.send_presence(effect.space_id, doc_id, data)
        elif host is not None and effect.phase in (Phase.IDLE, Phase.NOT_MEMBER):
            host.remove_listener(self)
        self._owner.link_changed(self)

    def _log_in_step(self, space_id: SpaceId) -> None:
        """What it took since the handshake, all spaces together."""
        logger.info(
            "in step",
            device=self.device_id.short if self.device_id is not None else None,
            space=space_id.short,
            sent_bytes=self.traffic.sent_bytes,
            received_bytes=self.traffic.received_bytes,
            turns=self.traffic.turns,
        )

    def _presence(self, effect: fx.Ephemeral) -> None:
        host = self._owner.host(effect.space_id)
        if host is not None and self.device_id is not None:
            host.documents.remote_presence(self.device_id, effect.doc_id, effect.data)

    def _store_ops(self, effect: fx.StoreOps) -> None:
        token = effect.token
        host = self._begin(effect.space_id, token, lambda now: self.session.ops_stored(token, now))
        if host is None:
            return

        def durable(result: OpsResult) -> None:
            refused = result.refused[0] if result.refused else None
            self._storing.pop(token, None)
            self._after(lambda now: self.session.ops_stored(token, now, refused=refused))

        self._guarded(lambda: host.add_ops(effect.ops, durable))

    def _store_run(self, effect: fx.StoreRun) -> None:
        token = effect.token

        def give_up(now: float) -> Sequence[fx.Effect]:
            return self.session.run_stored(token, next_seqs={}, want=(), refused=None, now=now)

        host = self._begin(effect.space_id, token, give_up)
        if host is None:
            return

        def durable(result: IngestResult) -> None:
            next_seqs = {effect.run.log_id: host.durable.get(effect.run.log_id, 1)}
            self._storing.pop(token, None)
            self._after(
                lambda now: self.session.run_stored(
                    token, next_seqs=next_seqs, want=result.want, refused=result.refused, now=now
                )
            )

        self._guarded(lambda: host.ingest(effect.run, durable))

    def _begin(self, space_id: SpaceId, token: int, give_up: SessionEvent) -> SpaceHost | None:
        """The space to store in, with `give_up` noted; None when it is not open, and `give_up` was done.

        While the disk takes nothing: None, and no answer until the space is opened anew. So the other
        side sends little more, and gets what it asks for all the same.
        """
        host = self._owner.host(space_id)
        if host is None:
            self._after(give_up)
            return None
        self._storing[token] = (space_id, give_up)
        return host if host.refusal is None else None

    def _after(self, event: SessionEvent) -> None:
        if not self.is_closed:
            self.perform(event(self._clock.now()))

    def _guarded(self, call: Callable[[], object]) -> None:
        """A space whose disk failed ends the connection; it is resumed when the disk is back."""
        try:
            call()
        except StorageFailure as failure:
            self.close(f"storage failed: {failure}")

    # ------------------------------------------------------------------ reads

    async def _serve_reads(self) -> None:
        while True:
            effect = await self._reads.get()
            host = self._owner.host(effect.space_id)
            if host is None:
                continue
            try:
                stored = await self._store.run(
                    effect.space_id, effect.log_id, effect.first_seq, effect.bytes_max
                )
            except StorageFailure as failure:
                self.close(f"storage failed: {failure}")
                return
            run = Run(
                log_id=stored.log_id,
                first_seq=stored.first_seq,
                genesis=host.view.genesis_of(stored.log_id) if stored.first_seq == 1 else None,
                envelopes=stored.envelopes,
            )
            if not self.is_closed:
                self.perform(self.session.run_read(effect.token, run, self._clock.now()))
