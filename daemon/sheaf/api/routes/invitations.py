"""Tickets and joining."""

from __future__ import annotations

import io

import segno
from fastapi import APIRouter, Response

from sheaf.api.context import NodeDep, SpaceIdPath
from sheaf.api.schemas_joining import Invitation, InvitationIn, Invitations, Join, JoinIn
from sheaf.core.base.ids import OpId
from sheaf.node.views import InvitationView

router = APIRouter(tags=["invitations"])


@router.post("/spaces/{space_id}/invitations", status_code=201)
async def create_invitation(space_id: SpaceIdPath, body: InvitationIn, node: NodeDep) -> Invitation:
    """Make a ticket; whoever holds it can join while it lasts. With `code`, a code to say aloud."""
    view = await node.create_invitation(
        space_id,
        role=body.role,
        expires_in_s=body.expires_in_s,
        max_uses=body.max_uses,
        by_code=body.code,
    )
    return _with_qr(view)


@router.get("/spaces/{space_id}/invitations")
async def list_invitations(space_id: SpaceIdPath, node: NodeDep) -> Invitations:
    """The invitations that can still be used, and codes that were over in the last minutes."""
    views = [view for view in node.invitations(space_id) if view.code or not view.is_revoked]
    return Invitations(invitations=[_with_qr(view) for view in views])


@router.get("/spaces/{space_id}/invitations/{invitation_id}")
async def show_invitation(space_id: SpaceIdPath, invitation_id: str, node: NodeDep) -> Invitation:
    """One invitation, also one that is over."""
    return _with_qr(node.invitation(space_id, OpId.parse(invitation_id)))


@router.delete("/spaces/{space_id}/invitations/{invitation_id}", status_code=204, response_class=Response)
async def revoke_invitation(space_id: SpaceIdPath, invitation_id: str, node: NodeDep) -> Response:
    """Make a ticket or a code useless; put a code away that is over."""
    await node.revoke_invitation(space_id, OpId.parse(invitation_id))
    return Response(status_code=204)


@router.post("/join", status_code=202)
async def join(body: JoinIn, node: NodeDep) -> Join:
    """Begin to join with a ticket or a spoken code; follow it with GET or the `join_changed` events."""
    return Join.of(await node.join(body.ticket, body.relay))


@router.get("/join/{join_id}")
async def show_join(join_id: str, node: NodeDep) -> Join:
    """How far a join has come."""
    return Join.of(node.join_status(join_id))


@router.delete("/join/{join_id}", status_code=204, response_class=Response)
async def cancel_join(join_id: str, node: NodeDep) -> Response:
    """Give up."""
    await node.cancel_join(join_id)
    return Response(status_code=204)


def _with_qr(view: InvitationView) -> Invitation:
    return Invitation.of(view, qr_svg=_qr_svg(view.ticket) if view.ticket else None)


def _qr_svg(ticket: str) -> str:
    out = io.BytesIO()
    segno.make(ticket, error="m").save(out, kind="svg", xmldecl=False, svgns=True, border=2, omitsize=True)
    return out.getvalue().decode()
