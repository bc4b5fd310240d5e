"""Letting people in: invitations issued here, and requests made with them (PROTOCOL §8).

An invitation is a control op everybody sees, plus a secret only the issuing device has.
Whoever shows in a session that he holds the ticket is admitted by the device that issued
it, so that uses are counted in one place. Knows no sockets; the peer manager brings
requests and carries answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from sheaf.core.base.errors import NotFound, ProtocolViolation, SheafError, StorageFailure, UsageError
from sheaf.core.base.ids import OpId, RendezvousId, SpaceId, UserId
from sheaf.core.base.machine import Entropy, Seconds
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.pairing import InviteKeys, JoinRequest
from sheaf.core.space import authoring
from sheaf.core.space.control_op import admission_statement
from sheaf.core.space.membership import InviteInfo
from sheaf.core.space.roles import Role
from sheaf.core.wire.ticket import Ticket
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.library import Library
from sheaf.node.space_host import SpaceHost
from sheaf.node.views import InvitationView
from sheaf.ports import Clock, InvitationRow, Store

logger = structlog.get_logger("sheaf.invitations")

USES_MAX = 1000
ANSWERED_S = 600.0
"""How long a used-up invitation is still answered: who was let in and never heard of it asks again,
and who comes too late is told so."""


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation this device can answer."""

    row: InvitationRow
    keys: InviteKeys


class Invitations:
    """All invitations of this device.

    Args:
        on_change: called when the set of invitations this device listens for changed.
        relay_urls: the relays to name in tickets for a space.
    """

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
        on_change: Callable[[], None],
        relay_urls: Callable[[SpaceId], tuple[str, ...]] = lambda _: (),
    ) -> None:
        self._identity = identity
        self._library = library
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._on_change = on_change
        self._relay_urls = relay_urls
        self._issued: dict[OpId, OpenInvitation] = {}
        self._used_at: dict[OpId, Seconds] = {}
        self._reserved: dict[OpId, UserId] = {}

    async def start(self) -> None:
        """Read the invitations issued earlier. Raises StorageFailure."""
        for host in self._library.hosts():
            for row in await self._store.invitations(host.space_id):
                self._issued[row.op_id] = OpenInvitation(row, InviteKeys(row.secret))

    def open_invitations(self) -> Iterable[OpenInvitation]:
        """Those that are answered: they would let somebody in, or did so a moment ago."""
        for invitation in self._issued.values():
            host = self._library.find(invitation.row.space_id)
            if host is not None and (
                self._uses_left(host, invitation.row) > 0 or self._was_just_used(invitation)
            ):
                yield invitation

    def _was_just_used(self, invitation: OpenInvitation) -> bool:
        used_at = self._used_at.get(invitation.row.op_id)
        is_recent = used_at is not None and self._clock.now() - used_at < ANSWERED_S
        return is_recent and not invitation.row.is_revoked

    def by_rendezvous(self, rid: RendezvousId) -> OpenInvitation | None:
        """The open invitation that listens at `rid`."""
        return next((i for i in self.open_invitations() if i.keys.rendezvous_id == rid), None)

    # ------------------------------------------------------------------ issuing

    async def create(
        self,
        space_id: SpaceId,
        *,
        role: Role,
        expires_in_s: int | None,
        max_uses: int,
        hosts: tuple[str, ...] = (),
    ) -> InvitationView:
        """Issue an invitation; its ticket lets `max_uses` people in.

        Raises:
            UsageError: a role that cannot be given this way, or impossible numbers.
            NotAllowed: only owners invite.
        """
        host = self._library.host(space_id)
        if role is Role.OWNER:
            raise UsageError("an invitation makes editors or readers; owners are made by an owner later")
        if not 1 <= max_uses <= USES_MAX:
            raise UsageError(f"an invitation is for 1 to {USES_MAX} people")
        if expires_in_s is not None and expires_in_s < 1:
            raise UsageError("an invitation cannot expire before it is made")
        now_ms = self._clock.wall_ms()
        expires_ms = None if expires_in_s is None else now_ms + expires_in_s * 1000
        secret = self._entropy(16)
        keys = InviteKeys(secret)
        raw = authoring.invite(
            host.space,
            self._identity.device,
            invite_public=keys.public,
            role=role,
            max_uses=max_uses,
            expires_ms=expires_ms,
            now_ms=now_ms,
        )
        result = host.add_ops([raw])
        op_id = result.added[0].op_id
        ticket = Ticket(
            space_id=space_id,
            secret=secret,
            issuer=self._identity.user.user_id,
            expires_ms=expires_ms,
            name_hint=host.space.name(),
            relay_urls=self._relay_urls(space_id),
            hosts=hosts,
        ).encode()
        row = InvitationRow(space_id, op_id, secret, ticket, role.value, now_ms, expires_ms, max_uses)
        host.add_invitation(row)
        await host.flush()
        self._issued[op_id] = OpenInvitation(row, keys)
        self._changed(space_id)
        return self._view(host, op_id)

    async def revoke(self, space_id: SpaceId, op_id: OpId) -> None:
        """Make a ticket worthless. Raises NotFound, NotAllowed."""
        host = self._library.host(space_id)
        self._info(host, op_id)
        host.add_ops(
            [
                authoring.invite_revoke(
                    host.space, self._identity.device, invite_op=op_id, now_ms=self._clock.wall_ms()
                )
            ]
        )
        issued = self._issued.get(op_id)
        if issued is not None:
            row = replace(issued.row, is_revoked=True)
            self._issued[op_id] = OpenInvitation(row, issued.keys)
            host.add_invitation(row)
        await host.flush()
        self._changed(space_id)

    def views(self, space_id: SpaceId) -> list[InvitationView]:
        """The invitations that are still open."""
        host = self._library.host(space_id)
        views = [self._view(host, op_id) for op_id in host.space.membership.invites]
        return [view for view in views if view.uses_left > 0 and not view.is_revoked]

    def view(self, space_id: SpaceId, op_id: OpId) -> InvitationView:
        """One invitation, open or not. Raises NotFound."""
        return self._view(self._library.host(space_id), op_id)

    def is_member(self, space_id: SpaceId, user_id: UserId) -> bool:
        """Whether this person is in the space."""
        host = self._library.find(space_id)
        return host is not None and user_id in host.space.membership.members

    def reserve(self, op_id: OpId, user_id: UserId) -> None:
        """From now on only this person is let in by it (while this daemon runs)."""
        self._reserved[op_id] = user_id

    def _view(self, host: SpaceHost, op_id: OpId) -> InvitationView:
        info = self._info(host, op_id)
        issued = self._issued.get(op_id)
        return InvitationView(
            op_id=op_id,
            ticket=None if issued is None else issued.row.ticket,
            role=info.role,
            expires_ms=info.expires_ms,
            uses_left=0 if self._is_expired(info) else max(0, info.max_uses - info.uses),
            is_revoked=info.is_revoked,
        )

    # ------------------------------------------------------------------ admitting

    def admit(self, request: JoinRequest, transcript: bytes) -> tuple[bytes, ...]:
        """Let a holder of a ticket in: adds the ops here and returns all the joiner needs.

        Raises:
            ProtocolViolation: no open invitation matches, or the request is unsound. The text
                is safe to send to the asker.
            StorageFailure: our disk takes nothing now.
        """
        host = self._library.find(request.space_id)
        if host is None:
            raise ProtocolViolation("this invitation is not known here")
        for invitation in self.open_invitations():
            if invitation.row.space_id != request.space_id:
                continue
            try:
                certificates = request.verify(invitation.keys.public, transcript)
            except ProtocolViolation:
                continue
            if self._reserved.get(invitation.row.op_id, certificates[0].user) != certificates[0].user:
                continue
            is_known = host.space.membership.is_active(certificates[0].device)
            if is_known or self._uses_left(host, invitation.row) > 0:
                return self._admit(host, invitation, request, certificates[0].raw)
        raise ProtocolViolation("this invitation is used up, expired, withdrawn or not known here")

    def _admit(
        self, host: SpaceHost, invitation: OpenInvitation, request: JoinRequest, first: bytes
    ) -> tuple[bytes, ...]:
        certificate = DeviceCertificate.decode(first)
        if not host.space.membership.is_active(certificate.device):
            try:
                self._add_member(host, invitation, request, certificate)
            except StorageFailure:
                raise
            except SheafError as error:
                logger.warning("could not admit", error=str(error))
                raise ProtocolViolation("the inviting device could not let you in") from error
            self._used_at[invitation.row.op_id] = self._clock.now()
        self._changed(host.space_id)
        return tuple(op.raw for op in host.space.control.topological())

    def _add_member(
        self,
        host: SpaceHost,
        invitation: OpenInvitation,
        request: JoinRequest,
        certificate: DeviceCertificate,
    ) -> None:
        now_ms = self._clock.wall_ms()
        device = self._identity.device
        proof = invitation.keys.sign(admission_statement(host.space_id, certificate))
        result = host.add_ops(
            [
                authoring.admit(
                    host.space,
                    device,
                    certificates=[certificate],
                    role=Role(invitation.row.role),
                    invite_op=invitation.row.op_id,
                    proof=proof,
                    now_ms=now_ms,
                )
            ]
        )
        if result.refused:
            raise UsageError(f"the admission was refused: {result.refused[0]}")
        host.add_ops(authoring.keyboxes(host.space, device, target=certificate, now_ms=now_ms))

    # ------------------------------------------------------------------ inside

    def _info(self, host: SpaceHost, op_id: OpId) -> InviteInfo:
        info = host.space.membership.invites.get(op_id)
        if info is None:
            raise NotFound("there is no such invitation")
        return info

    def _uses_left(self, host: SpaceHost, row: InvitationRow) -> int:
        try:
            info = self._info(host, row.op_id)
        except NotFound:
            return 0
        if info.is_revoked or row.is_revoked or self._is_expired(info):
            return 0
        return max(0, info.max_uses - info.uses)

    def _is_expired(self, info: InviteInfo) -> bool:
        return info.expires_ms is not None and self._clock.wall_ms() > info.expires_ms

    def _changed(self, space_id: SpaceId) -> None:
        self._events.publish("invitations_changed", space_id=space_id.text)
        self._on_change()
