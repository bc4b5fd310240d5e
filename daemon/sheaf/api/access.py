"""Who may pass from the door into the house: finds the credential of a request and checks it.

Everything under `/api/` and `/metrics` needs a session cookie or a bearer token, except
signing in itself and the API description. `/sync/` asks `find_grant` itself, because a
refused WebSocket is told so by a close code. Runs before routing, so that a stranger
learns nothing from how a request fails.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from sheaf.api.auth import Authenticator, Grant
from sheaf.api.problems import problem

BEARER_PROTOCOL: Final = "sheaf.bearer."
_GUARDED_PREFIXES: Final = ("/api/", "/metrics")
_OPEN_PATHS: Final = frozenset({("POST", "/api/v1/session"), ("GET", "/api/openapi.json")})
_SECRET_CHARS_MAX: Final = 128


def cookie_name(port: int) -> str:
    """Cookies ignore ports; the name keeps two daemons of one person apart."""
    return f"sheaf_session_{port}"


def find_grant(scope: Scope, auth: Authenticator, *, port: int) -> Grant | None:
    """The grant that an HTTP request or WebSocket handshake carries, renewed; None if there is none.

    A bearer token, when offered, is the only thing looked at: a wrong one is not
    rescued by a cookie.
    """
    bearer = _bearer(scope)
    if bearer is not None:
        return auth.bearer(bearer)
    secret = _cookie(scope, cookie_name(port))
    return auth.session(secret) if secret else None


def _bearer(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7 : 7 + _SECRET_CHARS_MAX].decode("latin-1")).strip()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(BEARER_PROTOCOL):
            return str(protocol[len(BEARER_PROTOCOL) :][:_SECRET_CHARS_MAX])
    return None


def _cookie(scope: Scope, wanted: str) -> str | None:
    for name, value in scope["headers"]:
        if name == b"cookie" and wanted.encode() in value:
            for part in value.decode("latin-1").split(";"):
                key, _, secret = part.strip().partition("=")
                if key == wanted:
                    return str(secret[:_SECRET_CHARS_MAX])
    return None


class AccessGate:
    """ASGI middleware that answers 401 to whoever is not signed in."""

    def __init__(self, app: ASGIApp, *, auth: Authenticator, port: int) -> None:
        self._app = app
        self._auth = auth
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check guarded HTTP requests; the grant is left in `scope["state"]["grant"]`."""
        if scope["type"] == "http" and scope["path"].startswith(_GUARDED_PREFIXES):
            grant = find_grant(scope, self._auth, port=self._port)
            if grant is None and (scope["method"], scope["path"]) not in _OPEN_PATHS:
                refusal = problem(
                    401,
                    "Not signed in",
                    "Open Sheaf with the link that `sheaf open` prints, or send a token.",
                )
                await refusal(scope, receive, send)
                return
            scope.setdefault("state", {})["grant"] = grant
        await self._app(scope, receive, send)
