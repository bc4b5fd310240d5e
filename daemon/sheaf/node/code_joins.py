"""Joining with a code somebody said (PROTOCOL §8 "Spoken code"), the joiner's side.

Meets the inviter at the nameplate, proves to know the code, and goes on with the ticket that
comes back as with any other (`joins`). To people it is one join with one id. Errors say what
to do next, because a code that was tried is worthless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from sheaf.core.base.errors import NotFound, ProtocolViolation, SheafError, TransportFailure, UsageError
from sheaf.core.base.machine import Entropy
from sheaf.core.protocol.code_words import SpokenCode
from sheaf.core.protocol.spoken_code import CodeJoiner, CodeRefused, Granted, Party, RefusalReason
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.core.wire.ticket import Ticket
from sheaf.node.code_meeting import CodeMeeting
from sheaf.node.events import EventBus
from sheaf.node.spoken_codes import LoadWords
from sheaf.node.views import JoinState, JoinView
from sheaf.ports.relay import Nameplate
from sheaf.task_set import TaskSet

OFFER_S: Final = 15.0
GRANT_S: Final = 30.0
"""How long each message of the inviter is waited for; its daemon answers by itself."""
KEPT: Final = 64

logger = structlog.get_logger("sheaf.joins")

Explanation = tuple[str, str]

_ASK_AGAIN: Final = "Ask for a new one."
_REFUSED: Final = {
    RefusalReason.WRONG_CODE: (
        "The code was not right",
        "A word or the number was another one. Each code has one try: this one is worthless now. "
        f"{_ASK_AGAIN}",
    ),
    RefusalReason.WITHDRAWN: ("The code was withdrawn", f"The inviting side took it back. {_ASK_AGAIN}"),
}
_NOBODY: Final = (
    "Nobody waits for this code",
    "Look at the number again. Codes last ten minutes and work once; if the number is right, ask for a new "
    "one. If the inviting side uses another relay than this daemon, name it: sheaf join CODE --relay wss://…",
)
_LEFT: Final = ("The inviting side left", f"It went away before it answered. {_ASK_AGAIN}")
_CROWDED: Final = (
    "Two used this code at the same time",
    f"It is worthless now. {_ASK_AGAIN} If this happens again, ask for a ticket over a channel you both "
    "trust.",
)
_SILENT: Final = (
    "The inviting side does not answer",
    f"It holds the number and says nothing. {_ASK_AGAIN}",
)
_NO_RELAY: Final = (
    "A code is looked up at the relay of who invites, and this daemon uses none. Ask for its address and "
    "say: sheaf join CODE --relay wss://…"
)


class TicketJoins(Protocol):
    """What a code join needs of the joins by ticket."""

    def start(self, text: str, *, join_id: str | None = None) -> JoinView: ...
    def status(self, join_id: str) -> JoinView: ...
    async def cancel(self, join_id: str) -> None: ...


@dataclass(slots=True)
class CodeJoin:
    """One join; `ticket_join` once the ticket is here."""

    code: SpokenCode
    relay: str | None
    view: JoinView
    ticket_join: str | None = None
    tasks: TaskSet = field(default_factory=lambda: TaskSet("code join"))


class CodeJoins:
    """All joins by code since the daemon started."""

    def __init__(
        self,
        *,
        me: Callable[[], Party],
        joins: TicketJoins,
        meeting: CodeMeeting,
        is_mine: Callable[[SpokenCode], bool],
        words: LoadWords,
        entropy: Entropy,
        events: EventBus,
    ) -> None:
        self._me = me
        self._joins = joins
        self._meeting = meeting
        self._is_mine = is_mine
        self._words = words
        self._entropy = entropy
        self._events = events
        self._all: dict[str, CodeJoin] = {}

    async def close(self) -> None:
        """Give up what is under way."""
        for join in self._all.values():
            await join.tasks.close()

    # ------------------------------------------------------------------ asked by people

    async def start(self, text: str, relay: str | None) -> JoinView:
        """Begin to join with a code.

        Args:
            relay: public address of the relay to ask, for this code only; None: those this daemon uses.

        Raises:
            UsageError: not a code, or one that was made here, or no relay to ask.
        """
        code = (await self._words()).read(text)
        same = next((j for j in self._all.values() if j.code == code and not self._has_failed(j)), None)
        if same is not None:  # a code is good once; twice at the same number would be one too many there
            return self._shown(same)
        if self._is_mine(code):
            raise UsageError("This is your own code. Say it to the person you invite: they type it in.")
        if relay is None and not self._meeting.relays():
            raise UsageError(_NO_RELAY)
        while len(self._all) >= KEPT:
            over = next((key for key, join in self._all.items() if not _is_under_way(join)), None)
            if over is None:
                raise UsageError("too many joins are under way; wait for one to finish")
            del self._all[over]
        join_id = self._entropy(8).hex()
        view = JoinView(join_id, None, None, JoinState.SEARCHING, 0, 0, None)
        join = self._all[join_id] = CodeJoin(code, relay, view)
        join.tasks.spawn(self._run(join), "exchange")
        return view

    def status(self, join_id: str) -> JoinView:
        """How far it is. Raises NotFound: no join by code."""
        join = self._all.get(join_id)
        if join is None:
            raise NotFound("there is no such join")
        return self._shown(join)

    async def cancel(self, join_id: str) -> None:
        """Stop trying. Raises NotFound: no join by code."""
        self.status(join_id)
        join = self._all[join_id]
        await join.tasks.close()
        if join.ticket_join is not None:
            await self._joins.cancel(join.ticket_join)
        elif _is_under_way(join):
            self._fail(join, ("The join was cancelled", "Nothing was changed; the code is used up."))

    def _has_failed(self, join: CodeJoin) -> bool:
        return self._shown(join).state is JoinState.FAILED

    def _shown(self, join: CodeJoin) -> JoinView:
        """The ticket's join, under our id and with what the code told."""
        if join.ticket_join is None:
            return join.view
        try:
            going_on = self._joins.status(join.ticket_join)
        except NotFound:  # over for long
            return join.view
        join.view = replace(
            going_on,
            join_id=join.view.join_id,
            safety_words=join.view.safety_words,
            inviter_name=join.view.inviter_name,
        )
        return join.view

    # ------------------------------------------------------------------ the task

    async def _run(self, join: CodeJoin) -> None:
        release = self._meeting.hold(join.relay)
        try:
            self._go_on(join, await self._ask(join))
            await asyncio.sleep(0)  # by now the ticket's join holds the relays it needs
        except CodeRefused as refused:
            self._fail(join, _REFUSED[refused.reason])
        except RelayRefused as refused:
            self._fail(join, _why_refused(refused))
        except _BrokeOff as failure:
            self._fail(join, ("The connection to the relay broke", f"{_sentence(failure)} {_ASK_AGAIN}"))
        except TransportFailure as failure:
            still = "The code may still be good: try again."
            self._fail(join, ("The relay cannot be reached", f"{_sentence(failure)} {still}"))
        except TimeoutError:
            self._fail(join, _SILENT)
        except ProtocolViolation as error:
            logger.info("a code led to nobody who can be trusted", reason=str(error))
            self._fail(
                join, ("The answer to this code cannot be trusted", f"{_sentence(error)} {_ASK_AGAIN}")
            )
        except SheafError as error:
            self._fail(join, ("Joining did not work", str(error)))
        except Exception:
            logger.exception("a join by code failed by a defect")
            self._fail(join, ("Joining did not work", "A defect of Sheaf; its log says more."))
        finally:
            release()

    async def _ask(self, join: CodeJoin) -> Granted:
        words = await self._words()
        joiner = CodeJoiner(code=join.code, me=self._me(), words=words, entropy=self._entropy)
        plate = await self._meeting.claim(join.code.number, join.relay)
        try:
            offer = await _hear(plate, OFFER_S)
            await plate.say(joiner.answer(offer))
            return joiner.granted(await _hear(plate, GRANT_S))
        except RelayRefused:
            raise
        except TransportFailure as failure:
            raise _BrokeOff(f"{failure}; in the middle of it, so this code is used up") from failure
        finally:
            await plate.release()

    def _go_on(self, join: CodeJoin, granted: Granted) -> None:
        ticket = Ticket.decode(granted.ticket)
        if ticket.issuer != granted.inviter.party.user_id:
            raise ProtocolViolation("the ticket is not by the person who sent it")
        join.view = replace(
            join.view,
            safety_words=granted.inviter.safety_words,
            inviter_name=granted.inviter.party.name,
        )
        join.ticket_join = self._joins.start(granted.ticket, join_id=join.view.join_id).join_id
        self._publish(join)

    def _fail(self, join: CodeJoin, why: Explanation) -> None:
        join.view = replace(join.view, state=JoinState.FAILED, error=why)
        self._publish(join)

    def _publish(self, join: CodeJoin) -> None:
        view = self._shown(join)
        self._events.publish("join_changed", join_id=view.join_id, state=view.state.value)


def _is_under_way(join: CodeJoin) -> bool:
    """Whether the exchange goes on still; the ticket's join is another matter."""
    return join.ticket_join is None and join.view.state is not JoinState.FAILED


async def _hear(plate: Nameplate, timeout_s: float) -> bytes:
    async with asyncio.timeout(timeout_s):
        try:
            return await plate.hear()
        except RelayRefused as refused:
            raise _Left(refused.code) from refused


class _BrokeOff(TransportFailure):
    """The connection broke after the number was taken."""


class _Left(RelayRefused):
    """The other side was there, and left."""


def _why_refused(refused: RelayRefused) -> Explanation:
    if refused.code is RefusalCode.CROWDED:
        return _CROWDED
    if refused.code is RefusalCode.GONE:
        return _LEFT if isinstance(refused, _Left) else _NOBODY
    return ("The relay refused", _sentence(refused))


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
