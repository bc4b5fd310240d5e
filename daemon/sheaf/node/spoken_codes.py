"""Inviting somebody by a code that is said aloud (PROTOCOL §8 "Spoken code"), the inviter's side.

A code stands for an invitation for one person and a nameplate at a relay, where this daemon waits
for ten minutes, whatever becomes of the window or command that asked for it. The first who comes
has one try. Whoever proves to know the code gets the ticket; only that person is then let in with
it. `code_joins` is the other side; what is said is `core.protocol.spoken_code`'s business.

Invariants:
1. At most `CODES_MAX` codes wait at a time.
2. An invitation whose code did not bring anybody is withdrawn; its ticket was shown to nobody.
3. After the exchange the nameplate is given back, whatever its end was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from sheaf.core.base.errors import SheafError, TransportFailure, UsageError
from sheaf.core.base.ids import OpId, SpaceId, UserId
from sheaf.core.base.machine import Entropy, Seconds
from sheaf.core.protocol.code_words import SpokenCode, WordList
from sheaf.core.protocol.spoken_code import CodeInviter, Party, RefusalReason, WrongCode, refusal
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node.code_meeting import CodeMeeting
from sheaf.node.events import EventBus
from sheaf.node.views import CodeState, CodeView, InvitationView
from sheaf.ports import Clock
from sheaf.ports.relay import Nameplate
from sheaf.task_set import TaskSet

CODES_MAX: Final = 8
CODES_KEPT: Final = 24
"""Open ones and those that were over lately; of the latter the oldest go."""
CODE_S: Final = 600
"""PROTOCOL §8: as long as a relay keeps a nameplate."""
GRACE_S: Final = 600
"""How much longer the invitation lasts, for who got its ticket in the last moment."""
KEPT_S: Final = 600.0
LINGER_S: Final = 20.0
"""How long the nameplate is kept for the joiner to fetch the last message."""
SAY_S: Final = 5.0

logger = structlog.get_logger("sheaf.codes")

LoadWords = Callable[[], Awaitable[WordList]]

_PROBLEMS: Final = {
    "wrong": "Somebody tried this code with other words. It may have been a slip of the tongue, or "
    "somebody guessing; each code has one try. Make a new one.",
    "left": "Somebody began to use this code and left. Each code has one try: make a new one.",
    "crowded": "Two came with this code's number at the same time. Make a new one; if this happens "
    "again, somebody is in the way: send a ticket over a channel you trust instead.",
    "expired": "Nobody came in time. Make a new code.",
    "known": "The code changed nothing. For somebody else, make a new one.",
}


class CodeInvitations(Protocol):
    """What a code needs of the invitations."""

    async def create(
        self,
        space_id: SpaceId,
        *,
        role: Role,
        expires_in_s: int | None,
        max_uses: int,
    ) -> InvitationView: ...
    async def revoke(self, space_id: SpaceId, op_id: OpId) -> None: ...
    def view(self, space_id: SpaceId, op_id: OpId) -> InvitationView: ...
    def is_member(self, space_id: SpaceId, user_id: UserId) -> bool: ...
    def reserve(self, op_id: OpId, user_id: UserId) -> None: ...


@dataclass(slots=True)
class IssuedCode:
    """One code and what became of it."""

    space_id: SpaceId
    op_id: OpId
    ticket: str = field(repr=False)
    plate: Nameplate
    inviter: CodeInviter
    view: CodeView
    ends_at: Seconds
    guest: UserId | None = None
    """Who proved to know it."""
    tasks: TaskSet = field(default_factory=lambda: TaskSet("spoken code"))


class SpokenCodes:
    """All codes of this device since it started.

    Args:
        me: who invites, at the moment.
        words: loads the word list (and the curve), which takes a moment the first time.
    """

    def __init__(
        self,
        *,
        me: Callable[[], Party],
        invitations: CodeInvitations,
        meeting: CodeMeeting,
        words: LoadWords,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
    ) -> None:
        self._me = me
        self._invitations = invitations
        self._meeting = meeting
        self._words = words
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._codes: dict[OpId, IssuedCode] = {}
        self._in_the_making = 0

    async def close(self) -> None:
        """Give all nameplates back, and withdraw the codes that wait: nobody could come by them again."""
        for code in self._codes.values():
            await _stop(code)
            if code.view.state is CodeState.WAITING:
                await self._end(
                    code, CodeState.FAILED, "Sheaf was stopped on this computer. Make a new code."
                )

    # ------------------------------------------------------------------ asked by people

    async def create(
        self, space_id: SpaceId, *, role: Role, preferred_relays: Sequence[str]
    ) -> InvitationView:
        """Make a code for one person, and wait for them.

        Raises:
            UsageError: too many codes wait, or there is no relay.
            TransportFailure: no relay works at the moment.
        """
        waiting = sum(code.view.state is CodeState.WAITING for code in self._codes.values())
        if waiting + self._in_the_making >= CODES_MAX:
            raise UsageError(f"{CODES_MAX} codes are waiting to be used already. Withdraw one first.")
        self._in_the_making += 1
        try:
            code = await self._make(space_id, role, preferred_relays)
            self._keep(code)
        finally:
            self._in_the_making -= 1
        code.tasks.spawn(self._serve(code), "exchange")
        return self.view(space_id, code.op_id)

    async def cancel(self, op_id: OpId) -> bool:
        """Forget a code; one that waits is worthless from now on.

        Returns:
            Whether there was one. The invitation behind it is the caller's to withdraw.
        """
        code = self._codes.pop(op_id, None)
        if code is None:
            return False
        if code.view.state is CodeState.WAITING:
            await _say(code.plate, refusal(RefusalReason.WITHDRAWN))
        await _stop(code)
        self._changed(code)
        return True

    async def expire(self) -> None:
        """Sweep: end codes whose time is over, forget those that have been over for long."""
        now = self._clock.now()
        for code in list(self._codes.values()):
            if code.view.state is CodeState.WAITING and now >= code.ends_at:
                await _stop(code)
                await self._end(code, CodeState.EXPIRED, _PROBLEMS["expired"])
            elif self._is_over(code) and now >= code.ends_at + KEPT_S:
                del self._codes[code.op_id]
                self._changed(code)

    def is_waiting(self, code: SpokenCode) -> bool:
        """Whether this very code was made here and waits for somebody."""
        mine = (each.view for each in self._codes.values())
        return any(view.text == code.text and view.state is CodeState.WAITING for view in mine)

    def view(self, space_id: SpaceId, op_id: OpId) -> InvitationView:
        """One invitation, with its code if it has one. Raises NotFound."""
        return self.shown(self._invitations.view(space_id, op_id), space_id)

    def shown(self, view: InvitationView, space_id: SpaceId) -> InvitationView:
        """`view` with its code, if it has one, instead of its ticket."""
        code = self._codes.get(view.op_id)
        if code is None or code.space_id != space_id:
            return view
        return replace(view, ticket=None, code=replace(code.view, state=self._state(code)))

    def views(self, space_id: SpaceId) -> list[InvitationView]:
        """The invitations of a space that were read out as codes, newest last."""
        mine = (code for code in self._codes.values() if code.space_id == space_id)
        return [self.view(space_id, code.op_id) for code in mine]

    def _state(self, code: IssuedCode) -> CodeState:
        if code.view.state is not CodeState.CONFIRMED:
            return code.view.state
        if code.guest is not None and self._invitations.is_member(code.space_id, code.guest):
            return CodeState.USED
        is_late = self._clock.now() >= code.ends_at + GRACE_S
        return CodeState.EXPIRED if is_late else CodeState.CONFIRMED

    def _is_over(self, code: IssuedCode) -> bool:
        return self._state(code) not in (CodeState.WAITING, CodeState.CONFIRMED)

    # ------------------------------------------------------------------ one code's life

    async def _make(self, space_id: SpaceId, role: Role, preferred_relays: Sequence[str]) -> IssuedCode:
        words = await self._words()
        plate = await self._meeting.allocate(preferred_relays)
        try:
            invitation = await self._invitations.create(
                space_id, role=role, expires_in_s=CODE_S + GRACE_S, max_uses=1
            )
        except BaseException:
            await plate.release()
            raise
        assert invitation.ticket is not None, "this device issued it"
        code = words.new_code(plate.number, self._entropy)
        return IssuedCode(
            space_id=space_id,
            op_id=invitation.op_id,
            ticket=invitation.ticket,
            plate=plate,
            inviter=CodeInviter(code=code, me=self._me(), words=words, entropy=self._entropy),
            view=CodeView(
                code.text, plate.relay_url, CodeState.WAITING, self._clock.wall_ms() + CODE_S * 1000
            ),
            ends_at=self._clock.now() + CODE_S,
        )

    def _keep(self, code: IssuedCode) -> None:
        over = [old.op_id for old in self._codes.values() if self._is_over(old)]
        for op_id in over[: max(0, len(self._codes) + 1 - CODES_KEPT)]:
            del self._codes[op_id]
        self._codes[code.op_id] = code
        self._changed(code)

    async def _serve(self, code: IssuedCode) -> None:
        try:
            await self._exchange(code)
        except WrongCode as wrong:
            logger.info("a code was tried with wrong words", reason=str(wrong))
            await _say(code.plate, refusal(RefusalReason.WRONG_CODE))
            await self._end(code, CodeState.BURNED, _PROBLEMS["wrong"])
        except RelayRefused as refused:
            await self._end(code, *self._why_refused(code, refused))
        except TransportFailure as failure:
            await self._end(code, CodeState.FAILED, f"The connection to the relay broke: {failure}.")
        except SheafError as error:
            await self._end(code, CodeState.FAILED, str(error))
        except Exception:
            logger.exception("a code failed by a defect")
            await self._end(code, CodeState.FAILED, "A defect of Sheaf; its log says more.")
        finally:
            await code.plate.release()

    async def _exchange(self, code: IssuedCode) -> None:
        await code.plate.say(code.inviter.offer())
        met = code.inviter.met(await code.plate.hear())
        self._invitations.reserve(code.op_id, met.party.user_id)
        await code.plate.say(code.inviter.grant(code.ticket))
        # who is in already gets the ticket too: a device that lost its database needs it
        is_known = self._invitations.is_member(code.space_id, met.party.user_id)
        code.guest = met.party.user_id
        code.view = replace(
            code.view,
            state=CodeState.CONFIRMED,
            safety_words=met.safety_words,
            guest_name=met.party.name,
            problem=_PROBLEMS["known"] if is_known else None,
        )
        self._changed(code)
        with contextlib.suppress(TransportFailure, TimeoutError):  # until the joiner has it, and leaves
            async with asyncio.timeout(LINGER_S):
                await code.plate.hear()

    def _why_refused(self, code: IssuedCode, refused: RelayRefused) -> tuple[CodeState, str]:
        if refused.code is RefusalCode.CROWDED:
            return CodeState.BURNED, _PROBLEMS["crowded"]
        if refused.code is not RefusalCode.GONE:
            return CodeState.FAILED, f"The relay did not go on: {refused}."
        if self._clock.now() >= code.ends_at - SAY_S:  # the relay's clock was a little faster
            return CodeState.EXPIRED, _PROBLEMS["expired"]
        return CodeState.BURNED, _PROBLEMS["left"]

    async def _end(self, code: IssuedCode, state: CodeState, problem: str) -> None:
        """Invariant 2."""
        code.view = replace(code.view, state=state, problem=problem)
        self._changed(code)
        try:
            await self._invitations.revoke(code.space_id, code.op_id)
        except SheafError as error:  # it runs out by itself
            logger.warning("could not withdraw a code's invitation", reason=str(error))

    def _changed(self, code: IssuedCode) -> None:
        self._events.publish("invitations_changed", space_id=code.space_id.text)


async def _stop(code: IssuedCode) -> None:
    await code.tasks.close()
    await code.plate.release()  # a task that had not begun did not do it


async def _say(plate: Nameplate, message: bytes) -> None:
    """A last word, if it gets through."""
    with contextlib.suppress(TransportFailure, TimeoutError):
        async with asyncio.timeout(SAY_S):
            await plate.say(message)


async def load_words() -> WordList:
    """The English list of BIP 39, and the curve; read in a thread, because both take a while."""
    return await asyncio.to_thread(_load)


def _load() -> WordList:
    import spake2  # noqa: F401  # computes points of its curves
    from mnemonic import Mnemonic

    return WordList(Mnemonic("english").wordlist)
