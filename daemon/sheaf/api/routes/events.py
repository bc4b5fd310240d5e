"""`GET /events`: what changed, as server-sent events."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from sheaf.api.context import Context, GrantDep
from sheaf.api.eventstream import event_stream

router = APIRouter(tags=["events"])


@router.get(
    "/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
)
async def events(context: Context, grant: GrantDep) -> StreamingResponse:
    """`documents_changed`, `spaces_changed`, `members_changed`, `invitations_changed`, `peers_changed`,
    `join_changed`, `storage_changed`, `profile_changed`, `delivery_changed`, `relays_changed`,
    `clones_changed`, `relay_warning`; `resync` after an overflow. Refetch on each."""

    def is_signed_in() -> bool:
        return grant is not None and context.auth.renew(grant)

    stream = event_stream(context.node.events.subscribe(), hangups=context.hangups, is_signed_in=is_signed_in)
    return StreamingResponse(stream, media_type="text/event-stream")
