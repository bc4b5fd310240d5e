"""Inviting and joining, by ticket or by spoken code: what the node's callers ask for in either case.

Puts the two sides of spoken codes beside the tickets they stand for, so that callers see one kind
of invitation and one kind of join.
"""

from __future__ import annotations

from sheaf.core.base.errors import NotFound, UsageError, WireError
from sheaf.core.base.ids import OpId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.protocol.code_words import EXAMPLE, WordList, is_like_code
from sheaf.core.protocol.spoken_code import Party
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_url import public_relay_url
from sheaf.core.wire.ticket import TICKET_PREFIX
from sheaf.node.code_joins import CodeJoins
from sheaf.node.code_meeting import CodeMeeting, HoldRelay
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.node.joins import Joins
from sheaf.node.library import Library
from sheaf.node.spoken_codes import SpokenCodes, load_words
from sheaf.node.views import InvitationView, JoinView
from sheaf.ports import Clock
from sheaf.ports.relay import RelayPool


class CodeDesk:
    """Invitations and joins, with and without a code.

    Args:
        pool: None where there are no relays, so no codes either.
        hold: keeps a relay in use for one code.
    """

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        invitations: Invitations,
        joins: Joins,
        pool: RelayPool | None,
        hold: HoldRelay,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
    ) -> None:
        self._identity = identity
        self._library = library
        self._invitations = invitations
        self._joins = joins
        self._word_list: WordList | None = None
        meeting = CodeMeeting(pool=pool, hold=hold)
        self.codes = SpokenCodes(
            me=self._me,
            invitations=invitations,
            meeting=meeting,
            words=self._words,
            clock=clock,
            entropy=entropy,
            events=events,
        )
        self.joins = CodeJoins(
            me=self._me,
            joins=joins,
            meeting=meeting,
            is_mine=self.codes.is_waiting,
            words=self._words,
            entropy=entropy,
            events=events,
        )

    async def close(self) -> None:
        """Give up all codes and joins that are under way."""
        await self.joins.close()
        await self.codes.close()

    def _me(self) -> Party:
        return Party(self._identity.user.user_id, self._identity.profile.user_name)

    async def _words(self) -> WordList:
        if self._word_list is None:
            self._word_list = await load_words()
        return self._word_list

    # ------------------------------------------------------------------ inviting

    async def invite_by_code(
        self, space_id: SpaceId, *, role: Role, expires_in_s: int | None, max_uses: int
    ) -> InvitationView:
        """A code instead of a ticket. Raises UsageError, TransportFailure."""
        if expires_in_s is not None or max_uses != 1:
            raise UsageError("a code is for one person and ten minutes; leave the other limits out")
        preferred = self._library.host(space_id).space.preferences().relay_urls
        return await self.codes.create(space_id, role=role, preferred_relays=preferred)

    def invitations(self, space_id: SpaceId) -> list[InvitationView]:
        """The open ones, and codes that were over lately. Raises NotFound."""
        open_ones = [self.codes.shown(view, space_id) for view in self._invitations.views(space_id)]
        known = {view.op_id for view in open_ones}
        return open_ones + [view for view in self.codes.views(space_id) if view.op_id not in known]

    def invitation(self, space_id: SpaceId, op_id: OpId) -> InvitationView:
        """One, open or not. Raises NotFound."""
        return self.codes.view(space_id, op_id)

    async def revoke(self, space_id: SpaceId, op_id: OpId) -> None:
        """Withdraw it; one whose code is over is put away. Raises NotFound, NotAllowed."""
        self._invitations.view(space_id, op_id)
        had_code = await self.codes.cancel(op_id)
        view = self._invitations.view(space_id, op_id)
        if not had_code or (view.uses_left > 0 and not view.is_revoked):
            await self._invitations.revoke(space_id, op_id)

    # ------------------------------------------------------------------ joining

    async def join(self, text: str, relay: str | None) -> JoinView:
        """Begin to join with a ticket or a code. Raises UsageError."""
        if not is_like_code(text):
            if relay is not None:
                raise UsageError("a ticket names its own relays; only a code needs to be told of one")
            if TICKET_PREFIX not in text.lower():
                raise UsageError(
                    f"This is neither a ticket, which begins with {TICKET_PREFIX}, nor a code, which is a "
                    f"number and two words like {EXAMPLE}."
                )
            return self._joins.start(text)
        if relay is not None:
            try:
                relay = public_relay_url(relay)
            except WireError as error:
                raise UsageError(str(error)) from error
        return await self.joins.start(text, relay)

    def join_status(self, join_id: str) -> JoinView:
        """How far a join is. Raises NotFound."""
        try:
            return self.joins.status(join_id)
        except NotFound:
            return self._joins.status(join_id)

    async def cancel_join(self, join_id: str) -> None:
        """Give a join up. Raises NotFound."""
        try:
            await self.joins.cancel(join_id)
        except NotFound:
            await self._joins.cancel(join_id)
