"""Spaces and the people in them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sheaf.api.context import NodeDep, SpaceIdPath
from sheaf.api.schemas import Member, Members, Space, SpaceIn, SpacePatch, Spaces

router = APIRouter(tags=["spaces"])


@router.get("/spaces")
async def list_spaces(node: NodeDep) -> Spaces:
    """Every space this device takes part in."""
    return Spaces(spaces=[Space.of(view) for view in node.spaces()])


@router.post("/spaces", status_code=201)
async def create_space(body: SpaceIn, node: NodeDep) -> Space:
    """Make a space; this user owns it."""
    return Space.of(await node.create_space(body.name))


@router.get("/spaces/{space_id}")
async def show_space(space_id: SpaceIdPath, node: NodeDep) -> Space:
    """One space."""
    return Space.of(node.space(space_id))


@router.patch("/spaces/{space_id}")
async def change_space(space_id: SpaceIdPath, body: SpacePatch, node: NodeDep) -> Space:
    """Give a space another name, or other relays, for everybody in it."""
    if body.relay_urls is not None:
        await node.set_relays(space_id, body.relay_urls)
    if body.name is not None:
        await node.rename_space(space_id, body.name)
    return Space.of(node.space(space_id))


@router.delete("/spaces/{space_id}", status_code=204, response_class=Response)
async def leave_space(space_id: SpaceIdPath, node: NodeDep) -> Response:
    """Remove a space from this device."""
    await node.leave_space(space_id)
    return Response(status_code=204)


@router.get("/spaces/{space_id}/members")
async def list_members(space_id: SpaceIdPath, node: NodeDep) -> Members:
    """Everybody in the space, with their devices."""
    return Members(members=[Member.of(view) for view in node.members(space_id)])
