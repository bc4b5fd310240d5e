"""The daemon itself: status, profile, peers."""

from __future__ import annotations

from fastapi import APIRouter

from sheaf.api.context import Context, NodeDep
from sheaf.api.schemas import Peer, Peers, Profile, ProfileIn, Status

router = APIRouter(tags=["daemon"])


@router.get("/status")
async def status(context: Context) -> Status:
    """Daemon, spaces, peers and what is saved."""
    return Status.of(context.node.status(), port=context.port)


@router.patch("/profile")
async def update_profile(body: ProfileIn, node: NodeDep) -> Profile:
    """Change the names this device shows to others, and whether they learn what was seen here."""
    view = await node.update_profile(
        user_name=body.user_name, device_name=body.device_name, share_seen=body.share_seen
    )
    return Profile.of(view)


@router.get("/peers")
async def peers(node: NodeDep) -> Peers:
    """Every other device this one knows, connected or not."""
    return Peers(peers=[Peer.of(view) for view in node.peers()])
