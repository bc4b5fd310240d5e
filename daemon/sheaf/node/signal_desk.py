"""Opens the sealed signals that arrive and says what they are: answers, offers, pokes (PROTOCOL §5).

Signals come in as callbacks that only enqueue; one task works them off. Whoever floods, repeats or garbles
is dropped here. Must not know links, dials or how a signal came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import RendezvousId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.signaling import OpenedSignal, SignalBody, SignalKind, open_signal
from sheaf.node.connector import Connector, process_of
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.ports import Clock, SignalRoute
from sheaf.task_set import TaskSet

SIGNALS_WAITING_MAX: Final = 256
"""More than that at once is a flood; the rest is dropped, honest peers try again."""
ANSWERING_MAX: Final = 16
ACTED_ON_MAX: Final = 4096
"""Signals remembered by their session id, to know one that is played again."""
STALE_SIGNAL_MS: Final = 10 * 60 * 1000

logger = structlog.get_logger("sheaf.peers")


class SignalTaker(Protocol):
    """What opened signals are for."""

    def poked(self, sender: DeviceCertificate, route: SignalRoute, process: bytes | None) -> None:
        """Somebody asks to be called; `process` tells processes of one device apart."""
        ...

    def met_myself(self) -> None:
        """Another daemon uses our own device key."""
        ...

    def offered(self, opened: OpenedSignal, route: SignalRoute) -> Coroutine[Any, Any, None]:
        """Somebody calls: answer."""
        ...


@dataclass(frozen=True, slots=True)
class _Signal:
    rid: RendezvousId
    sealed: bytes
    route: SignalRoute


class SignalDesk:
    """See the module. `came` is the handler for the `Signaling` port; `run` is a task."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        invitations: Invitations,
        connector: Connector,
        taker: SignalTaker,
        clock: Clock,
        tasks: TaskSet,
    ) -> None:
        self._identity = identity
        self._invitations = invitations
        self._connector = connector
        self._taker = taker
        self._clock = clock
        self._tasks = tasks
        self._own = identity.device.device_id
        self._waiting: asyncio.Queue[_Signal] = asyncio.Queue(SIGNALS_WAITING_MAX)
        self._answering = 0
        self._acted_on: dict[bytes, None] = {}
        self.dropped = 0
        """Signals not acted on, for /metrics."""

    def came(self, rid: RendezvousId, sealed: bytes, route: SignalRoute) -> None:
        """A sealed signal arrived."""
        try:
            self._waiting.put_nowait(_Signal(rid, sealed, route))
        except asyncio.QueueFull:
            self.dropped += 1

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be worked off."""
        return self._waiting.empty()

    async def run(self) -> None:
        """Work signals off until cancelled."""
        while True:
            signal = await self._waiting.get()
            try:
                self._work(signal)
            except ProtocolViolation as error:
                logger.info("signal dropped", reason=str(error), via=signal.route.label)
            except Exception:  # one bad signal must not end all others
                logger.exception("signal dropped by a defect", via=signal.route.label)

    def _work(self, signal: _Signal) -> None:
        if self._connector.take_answer(signal.rid, signal.sealed):
            return
        self._act_on(self._open(signal), signal)

    def _open(self, signal: _Signal) -> OpenedSignal:
        invitation = self._invitations.by_rendezvous(signal.rid)
        if invitation is not None:
            return open_signal(signal.sealed, invitation.keys.open_box, signal.rid)
        opened = open_signal(signal.sealed, self._identity.device.open_box, signal.rid)
        if opened.body.to != self._own:
            raise ProtocolViolation("meant for another device")
        return opened

    def _act_on(self, opened: OpenedSignal, signal: _Signal) -> None:
        body = opened.body
        if body.sender.device == self._own:
            self._came_from_myself(body)
            return
        is_fresh = self._is_fresh(body)
        if not is_fresh:
            logger.info("an old or postdated signal; clocks may differ", via=signal.route.label)
        if not self._is_first(body.session_id):
            self.dropped += 1
            return
        match body.kind:
            case SignalKind.OFFER:
                if self._answering >= ANSWERING_MAX:
                    self.dropped += 1
                    return
                self._tasks.spawn(self._answer(opened, signal.route), "answer")
            case SignalKind.POKE:
                # An old one, recorded before our restart and played again, must not look like a clone.
                self._taker.poked(body.sender, signal.route, process_of(body) if is_fresh else None)
            case SignalKind.BYE | SignalKind.ANSWER:
                return

    def _came_from_myself(self, body: SignalBody) -> None:
        """Another daemon has our key, unless it is our own word that somebody sends back, now or later."""
        if self._is_fresh(body) and not self._connector.is_echo(body) and self._is_first(body.session_id):
            self._taker.met_myself()

    def _is_fresh(self, body: SignalBody) -> bool:
        return abs(self._clock.wall_ms() - body.created_ms) <= STALE_SIGNAL_MS

    async def _answer(self, opened: OpenedSignal, route: SignalRoute) -> None:
        self._answering += 1
        try:
            await self._taker.offered(opened, route)
        finally:
            self._answering -= 1

    def _is_first(self, session_id: bytes) -> bool:
        """False for a signal played again: a stranger on the network can record and repeat them."""
        if session_id in self._acted_on:
            return False
        self._acted_on[session_id] = None
        if len(self._acted_on) > ACTED_ON_MAX:
            del self._acted_on[next(iter(self._acted_on))]
        return True
