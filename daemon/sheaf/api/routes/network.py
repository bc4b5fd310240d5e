"""The network as this daemon finds it, for `sheaf doctor network`."""

from __future__ import annotations

from fastapi import APIRouter

from sheaf.api.context import NodeDep
from sheaf.api.schemas_network import Network

router = APIRouter(tags=["daemon"])


@router.get("/network")
async def network(node: NodeDep) -> Network:
    """Interfaces, multicast, STUN, relays, how each peer is reached and why, and what to change."""
    return Network.of(node.network())
