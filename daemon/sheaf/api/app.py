"""The app factory: routes, gate and door put together, in the order a request meets them.

`LocalDoor` (Host, Origin, limits, headers) → `AccessGate` (signed in?) → FastAPI's routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from sheaf import __version__
from sheaf.api import problems
from sheaf.api.access import AccessGate
from sheaf.api.auth import Authenticator
from sheaf.api.context import DoorContext
from sheaf.api.door import LocalDoor, Refusal
from sheaf.api.facade import NodeFacade
from sheaf.api.hangups import Hangups
from sheaf.api.metrics import CONTENT_TYPE, DoorMetrics, OutsideNumbers
from sheaf.api.outbox import SEND_DEADLINE_S
from sheaf.api.routes import content, documents, events, invitations, network, session, spaces, status
from sheaf.api.sync_socket import SyncSocket
from sheaf.api.webui import WebEditor

OPENAPI_PATH = "/api/openapi.json"
_TROUBLES = {
    "read_only": "storage takes no changes; reading goes on",
    "failed": "storage cannot be read",
}
"""What `/healthz` says of a storage state that is no health."""
_ROUTERS = (status, network, spaces, documents, content, invitations, events, session)


class LocalApp:
    """The whole local door as one ASGI app."""

    def __init__(
        self,
        *,
        context: DoorContext,
        webui_dir: Path | None,
        send_deadline_s: float,
        outside: OutsideNumbers,
    ) -> None:
        self.context = context
        self.api = make_api()
        self.api.state.door = context
        self._door = LocalDoor(AccessGate(self.api, auth=context.auth, port=context.port), port=context.port)
        self.metrics = DoorMetrics(node=context.node.metrics, refusals=lambda: self.refusals, outside=outside)
        socket = SyncSocket(context, self.metrics, send_deadline_s=send_deadline_s)
        self.api.router.routes += [
            WebSocketRoute("/sync/{document_id}", socket),
            Route("/healthz", self._health),
            Route("/metrics", self._scrape),
            *WebEditor(webui_dir).routes(),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._door(scope, receive, send)

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many requests the door refused before routing, by reason."""
        return {reason.value: count for reason, count in self._door.refusals.items()}

    def refused_malformed(self) -> None:
        """Count a client that did not speak HTTP."""
        self._door.refusals[Refusal.MALFORMED] += 1

    @property
    def hangups(self) -> Hangups:
        """The long-lived connections."""
        return self.context.hangups

    async def _health(self, _request: Request) -> Response:
        """Whether the daemon does its work; no more, as everybody on the machine may ask."""
        trouble = _TROUBLES.get(self.context.node.storage().state)
        return PlainTextResponse(f"{trouble or 'ok'}\n", 200 if trouble is None else 503)

    async def _scrape(self, _request: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)


def create_app(
    node: NodeFacade,
    *,
    auth: Authenticator,
    port: int,
    webui_dir: Path | None,
    send_deadline_s: float = SEND_DEADLINE_S,
    outside: OutsideNumbers | None = None,
) -> LocalApp:
    """Make the local door.

    Args:
        node: answers everything.
        auth: loaded (`Authenticator.load`).
        port: the bound port; Host and Origin are checked against it.
        webui_dir: the built web editor, or None when there is none.
        send_deadline_s: how long a tab may take to accept a frame.
        outside: more numbers for /metrics.
    """
    context = DoorContext(node=node, auth=auth, hangups=Hangups(), port=port)
    return LocalApp(
        context=context,
        webui_dir=webui_dir,
        send_deadline_s=send_deadline_s,
        outside=outside or OutsideNumbers(),
    )


def make_api() -> FastAPI:
    """The FastAPI part alone: `/api/v1` and its description."""
    app = FastAPI(
        title="Sheaf",
        version=__version__,
        description="The local API of a Sheaf daemon. Errors are RFC 9457 problem documents.",
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    v1 = APIRouter(prefix="/api/v1")
    for module in _ROUTERS:
        v1.include_router(module.router)
    app.include_router(v1)
    return app
