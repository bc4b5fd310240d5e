"""One live connection to a relay: frames out, frames in, and who waits for which answer (PROTOCOL §7).

Must not know how it was opened, whether it is tried again, or what sealed messages say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Deliver,
    Error,
    Frame,
    Nobody,
    Ping,
    Pong,
    Refused,
    Send,
    Sent,
    Sub,
    Unsub,
    Welcome,
)
from sheaf.core.wire.relay_requests import (
    MailboxItems,
    MailboxNews,
    MailboxStatus,
    MailboxStored,
    NameplateClosed,
    NameplateHeard,
    NameplateHeld,
)
from sheaf.core.wire.relay_words import ErrorCode, RelayRefused
from sheaf.signaling.admission import RateBudget
from sheaf.signaling.websocket import FrameSocket

SENT_S_MAX: Final = 5.0
ANSWER_S_MAX: Final = 10.0
ANSWER_BYTES_PER_S_MIN: Final = 16 * 1024
"""What a large answer is given in addition."""
MOVING_S_MAX: Final = 300.0
"""How long an answer may take in all while bytes move: it may wait behind a large one on a thin line."""
SENDS_MAX: Final = 64
REQUESTS_MAX: Final = 16
CONTROL_MAX: Final = 4096
DELIVERIES_BURST: Final = 1024
DELIVERIES_PER_S: Final = 64.0
UNASKED_BURST: Final = 512
UNASKED_PER_S: Final = 1.0

Request = Callable[[int], Frame]
_ResultT = TypeVar("_ResultT")
_AnswerT = TypeVar("_AnswerT", MailboxItems, MailboxStored, MailboxStatus, NameplateHeld)


@dataclass(frozen=True, slots=True)
class ConnectionEvents:
    """Whom a connection tells; all of them only enqueue."""

    delivered: Callable[[RendezvousId, bytes], None]
    news: Callable[[MailboxNews], bool]
    """False when nobody watches that mailbox."""
    heard: Callable[[NameplateHeard | NameplateClosed], bool]
    """False when nobody holds that number."""
    round_trip: Callable[[float], None]


@dataclass(slots=True)
class _Subscriptions:
    wanted: tuple[RendezvousId, ...] = ()
    told: frozenset[RendezvousId] = field(default_factory=frozenset)


class RelayConnection:
    """See the module.

    Invariants:
    1. SENT and NOBODY answer the SENDs in the order those were sent.
    2. Changed subscriptions go out before any SEND that comes after the change.
    3. When the connection ends, everybody who waits is told.
    4. What the relay sends unasked is counted; a flood ends the connection. Nothing is queued for it.
    """

    def __init__(
        self, *, socket: FrameSocket, welcome: Welcome, events: ConnectionEvents, now: Callable[[], float]
    ) -> None:
        self.welcome = welcome
        self._socket = socket
        self._events = events
        self._now = now
        self._subscriptions = _Subscriptions()
        self._control: deque[Frame] = deque()
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._sends: deque[tuple[RendezvousId, asyncio.Future[bool]]] = deque()
        self._requests: dict[int, asyncio.Future[Frame]] = {}
        self._room = asyncio.Semaphore(REQUESTS_MAX)
        self._number = 0
        self._pong: asyncio.Future[None] | None = None
        self._deliveries = RateBudget(burst=DELIVERIES_BURST, per_s=DELIVERIES_PER_S, now=now())
        self._unasked = RateBudget(burst=UNASKED_BURST, per_s=UNASKED_PER_S, now=now())
        self.is_open = True
        self.farewell: ErrorCode | None = None
        """What the relay said last, if it ended the connection with a word."""

    # ------------------------------------------------------------------ signalling

    def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """The complete set to be delivered, most important first; more than the relay takes is cut off."""
        self._subscriptions.wanted = tuple(dict.fromkeys(rids))[: self.welcome.rids_max]
        self._due.set()

    async def send(self, rid: RendezvousId, sealed: bytes) -> bool:
        """Send; True when somebody there answers to `rid`.

        Raises:
            TransportFailure: gone, silent, or too many at once.
        """
        if len(self._sends) >= SENDS_MAX:
            raise TransportFailure(f"too many messages wait at {self._socket.label}")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(SENT_S_MAX):
                await self._turn.acquire()
            try:
                self._check_open()
                await self._send_control()  # (2)
                self._sends.append((rid, answer))
                await self._socket.send(Send(rid, sealed))
            finally:
                self._turn.release()
            return await self._answer_to(answer, SENT_S_MAX)
        except TimeoutError as error:
            if any(waiting is answer for _, waiting in self._sends):
                self.abort()  # answers are matched by order: one lost, all are (1)
            raise TransportFailure(f"the relay {self._socket.label} does not answer") from error

    # ------------------------------------------------------------------ requests

    async def request(self, make: Request, kind: type[_AnswerT], *, answer_bytes_max: int = 0) -> _AnswerT:
        """Ask, and wait for the answer to just that.

        Args:
            make: the frame, given its number.
            kind: what the answer must be.
            answer_bytes_max: a large answer gets more time.

        Raises:
            RelayRefused: the relay says no.
            TransportFailure: the connection is gone, or no answer in time.
        """
        patience_s = ANSWER_S_MAX + answer_bytes_max / ANSWER_BYTES_PER_S_MIN
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        async with self._room:
            self._number += 1
            number = self._number
            self._requests[number] = answer
            try:
                async with self._turn:
                    self._check_open()
                    await self._socket.send(make(number))
                reply = await self._answer_to(answer, patience_s)
            except TimeoutError as error:
                raise TransportFailure(f"the relay {self._socket.label} does not answer") from error
            finally:
                del self._requests[number]
        if isinstance(reply, Refused):
            raise RelayRefused(reply.code)
        if not isinstance(reply, kind):
            self.abort()
            raise TransportFailure(f"the relay {self._socket.label} answers something else than was asked")
        return reply

    def next_number(self) -> int:
        """A number for a request that `post` sends and nobody waits for."""
        self._number += 1
        return self._number

    def post(self, frame: Frame) -> None:
        """Send soon, in order with other posts, and wait for nothing."""
        if self.is_open and len(self._control) < CONTROL_MAX:
            self._control.append(frame)
            self._due.set()

    async def say(self, frame: Frame) -> None:
        """Send now. Raises TransportFailure."""
        async with self._turn:
            self._check_open()
            await self._send_control()
            await self._socket.send(frame)

    # ------------------------------------------------------------------ life

    async def run(self) -> str:
        """Read and write until the connection ends; returns why."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write())
                reason = await self._read()
                writer.cancel()
            return reason
        finally:
            self._end()
            await self._socket.close()

    async def ping(self, patience_s: float) -> bool:
        """Ask whether the relay is there; False (and the connection is gone) when it does not say so."""
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pong = pong
        try:
            await self.say(Ping())
            asked = self._now()
            await self._answer_to(pong, patience_s)
        except (TimeoutError, TransportFailure):
            self.abort()
            return False
        finally:
            if self._pong is pong:
                self._pong = None
        self._events.round_trip(self._now() - asked)
        return True

    async def _answer_to(self, answer: asyncio.Future[_ResultT], patience_s: float) -> _ResultT:
        """Wait for an answer; while bytes come or leave, it may only be waiting behind them.

        Raises:
            TimeoutError: nothing moved for `patience_s`, or it took `MOVING_S_MAX` in all.
        """
        async with asyncio.timeout(MOVING_S_MAX):
            while True:
                received, unsent = self._socket.received_bytes, self._socket.unsent_bytes
                await asyncio.wait({answer}, timeout=patience_s)
                if answer.done():
                    return answer.result()
                if self._socket.received_bytes == received and self._socket.unsent_bytes >= unsent:
                    raise TimeoutError

    def abort(self) -> None:
        """End it now, without a word."""
        self._socket.abort()

    @property
    def local_host(self) -> str | None:
        """This machine's address on the connection."""
        return self._socket.local_host

    async def _write(self) -> None:
        while True:
            await self._due.wait()
            try:
                async with self._turn:
                    await self._send_control()
            except TransportFailure:
                self.abort()
                return

    async def _send_control(self) -> None:
        self._due.clear()
        state = self._subscriptions
        wanted = frozenset(state.wanted)
        gone, fresh = state.told - wanted, [rid for rid in state.wanted if rid not in state.told]
        state.told = wanted
        if gone:
            await self._socket.send(Unsub(tuple(sorted(gone))))
        if fresh:
            await self._socket.send(Sub(tuple(fresh)))
        while self._control:
            await self._socket.send(self._control.popleft())

    async def _read(self) -> str:
        while True:
            try:
                frame = await self._socket.receive()
            except WireError as error:
                return f"it broke the rules ({error})"
            if frame is None:
                return "the connection broke" if self.farewell is None else _farewell(self.farewell)
            if (refusal := self._handle(frame)) is not None:
                return refusal

    def _handle(self, frame: Frame) -> str | None:
        """What came; returns why the connection must end, or None."""
        match frame:
            case Deliver(rid, payload):
                return self._deliver(rid, payload)
            case Sent(rid) | Nobody(rid):
                return self._answered(rid, isinstance(frame, Sent))
            case Refused(number) | MailboxStored(number) | MailboxItems(number) | MailboxStatus(number):
                return self._answer(number, frame)
            case NameplateHeld(number):
                return self._answer(number, frame)
            case MailboxNews():
                return None if self._events.news(frame) else self._spend()
            case NameplateHeard() | NameplateClosed():
                return None if self._events.heard(frame) else self._spend()
            case Pong():
                return self._ponged()
            case Error(code):
                self.farewell = code
                return _farewell(code)
            case _:
                return "it sent what no relay sends"

    def _deliver(self, rid: RendezvousId, payload: bytes) -> str | None:
        if rid not in self._subscriptions.told:
            return self._spend()  # unsubscribed a moment ago, or a lie
        if not self._deliveries.take(self._now()):
            return "it floods us with messages"
        self._events.delivered(rid, payload)
        return None

    def _answered(self, rid: RendezvousId, is_taken: bool) -> str | None:
        if not self._sends or self._sends[0][0] != rid:
            return "it answers what was not asked"
        _, answer = self._sends.popleft()
        if not answer.done():
            answer.set_result(is_taken)
        return None

    def _answer(self, number: int, frame: Frame) -> str | None:
        waiting = self._requests.get(number)
        if waiting is None or waiting.done():
            return self._spend()  # too late, or a lie
        waiting.set_result(frame)
        return None

    def _ponged(self) -> str | None:
        if self._pong is None or self._pong.done():
            return self._spend()
        self._pong.set_result(None)
        return None

    def _spend(self) -> str | None:
        return None if self._unasked.take(self._now()) else "it floods us with what was not asked"  # (4)

    def _check_open(self) -> None:
        if not self.is_open:
            raise TransportFailure(f"the connection to the relay {self._socket.label} is gone")

    def _end(self) -> None:
        self.is_open = False
        failure = f"the connection to the relay {self._socket.label} is gone"
        waiting: list[asyncio.Future[bool] | asyncio.Future[Frame]] = [each for _, each in self._sends]
        for future in [*waiting, *self._requests.values()]:  # (3)
            if not future.done():
                future.set_exception(TransportFailure(failure))
                future.exception()  # the asker may have stopped waiting
        self._sends.clear()
        if self._pong is not None and not self._pong.done():
            self._pong.set_exception(TransportFailure(failure))
            self._pong.exception()


def _farewell(code: ErrorCode) -> str:
    return {
        ErrorCode.BAD_FRAME: "it did not understand us",
        ErrorCode.TOO_MUCH: "it asks for less at once",
        ErrorCode.NOT_HERE: "it has nothing for us",
        ErrorCode.TOKEN_NEEDED: "it asks for a token",
        ErrorCode.GOING_AWAY: "it restarts",
    }[code]
