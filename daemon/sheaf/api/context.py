"""What the routes share: handed to the app factory once, found by FastAPI's dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from sheaf.api.auth import Authenticator, Grant
from sheaf.api.facade import NodeFacade
from sheaf.api.hangups import Hangups
from sheaf.core.base.ids import DocId, SpaceId


@dataclass(frozen=True, slots=True)
class DoorContext:
    """The collaborators of the local door."""

    node: NodeFacade
    auth: Authenticator
    hangups: Hangups
    port: int

    def launch_link(self) -> str:
        """A fresh one-time link; the token is in the fragment, which browsers do not send."""
        return f"http://127.0.0.1:{self.port}/#token={self.auth.issue_launch_token()}"


async def _context(request: Request) -> DoorContext:
    context = request.app.state.door
    assert isinstance(context, DoorContext)
    return context


async def _node(context: Annotated[DoorContext, Depends(_context)]) -> NodeFacade:
    return context.node


async def _grant(request: Request) -> Grant | None:
    return getattr(request.state, "grant", None)


async def _space_id(space_id: str) -> SpaceId:
    return SpaceId.parse(space_id)


async def _doc_id(document_id: str) -> DocId:
    return DocId.parse(document_id)


Context = Annotated[DoorContext, Depends(_context)]
NodeDep = Annotated[NodeFacade, Depends(_node)]
GrantDep = Annotated[Grant | None, Depends(_grant)]
SpaceIdPath = Annotated[SpaceId, Depends(_space_id)]
DocIdPath = Annotated[DocId, Depends(_doc_id)]
