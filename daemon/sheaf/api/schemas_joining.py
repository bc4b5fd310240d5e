"""The JSON shapes of invitations and joins (see `schemas` for the rules)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from sheaf.api.schemas import RequestBody, iso
from sheaf.core.space.roles import Role
from sheaf.node.views import CodeState, InvitationView, JoinState, JoinView


class InvitationIn(RequestBody):
    """What a new ticket allows; `code` asks for a code to say aloud, for one person and ten minutes."""

    role: Literal[Role.EDITOR, Role.READER] = Role.EDITOR
    expires_in_s: Annotated[int, Field(ge=60, le=366 * 86_400)] | None = None
    max_uses: Annotated[int, Field(ge=1, le=1000)] = 1
    code: bool = False


class JoinIn(RequestBody):
    """A ticket as text or link, or a spoken code; `relay` is where the code waits, if it is none of ours."""

    ticket: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4200)]
    relay: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)] | None = (
        None
    )


class Invitation(BaseModel):
    """A ticket and what it allows; the ticket is known only to the device that issued it.

    The fields from `code` on are for one that is said aloud: `guest_name` and `safety_words` once somebody
    proved to know the code, `code_problem` when it brought nobody new: a `used` code has
    one when its guest was in the space already.
    """

    invitation_id: str
    ticket: str | None
    link: str | None
    qr_svg: str | None
    role: Role
    expires_at: str | None
    uses_left: int
    code: str | None
    code_relay: str | None
    code_state: CodeState | None
    code_expires_ms: int | None
    code_problem: str | None
    safety_words: list[str] | None
    guest_name: str | None

    @classmethod
    def of(cls, view: InvitationView, *, qr_svg: str | None) -> Invitation:
        """From the node's view."""
        code = view.code
        return cls(
            invitation_id=view.op_id.text,
            ticket=view.ticket,
            link=f"sheaf:join#{view.ticket}" if view.ticket else None,
            qr_svg=qr_svg,
            role=view.role,
            expires_at=iso(view.expires_ms) if view.expires_ms is not None else None,
            uses_left=view.uses_left,
            code=None if code is None else code.text,
            code_relay=None if code is None else code.relay_url,
            code_state=None if code is None else code.state,
            code_expires_ms=None if code is None else code.expires_ms,
            code_problem=None if code is None else code.problem,
            safety_words=None if code is None or code.safety_words is None else list(code.safety_words),
            guest_name=None if code is None else code.guest_name,
        )


class Invitations(BaseModel):
    """The open invitations of a space."""

    invitations: list[Invitation]


class JoinError(BaseModel):
    """Why a join failed and what to do."""

    title: str
    detail: str


class Join(BaseModel):
    """A join in progress, or its end.

    `space_id` is null until a code has brought a ticket; `safety_words` and `inviter_name` come with a code.
    """

    join_id: str
    space_id: str | None
    space_name: str | None
    state: JoinState
    done_bytes: int
    total_bytes: int
    error: JoinError | None
    safety_words: list[str] | None
    inviter_name: str | None

    @classmethod
    def of(cls, view: JoinView) -> Join:
        """From the node's view."""
        return cls(
            join_id=view.join_id,
            space_id=view.space_id.text if view.space_id is not None else None,
            space_name=view.space_name,
            state=view.state,
            done_bytes=view.done_bytes,
            total_bytes=view.total_bytes,
            error=JoinError(title=view.error[0], detail=view.error[1]) if view.error else None,
            safety_words=list(view.safety_words) if view.safety_words else None,
            inviter_name=view.inviter_name,
        )
