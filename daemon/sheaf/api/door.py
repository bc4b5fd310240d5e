"""The outermost layer of the local door: who may knock at all (PROTOCOL §9).

A pure-ASGI wrapper that runs before any routing. It refuses requests whose Host is not
exactly one of this door's three names (DNS rebinding), whose Origin is not this door
(cross-site requests, foreign WebSockets), and bodies above the limit; and it puts the
same protective headers on every answer. The checks compare bytes and never raise.
It must not know who is signed in; that is `access`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sheaf.core.base.limits import KIB, MIB

CONTENT_BODY_BYTES_MAX: Final = 16 * MIB
BODY_BYTES_MAX: Final = 64 * KIB
_DRAINED_BYTES_MAX: Final = 64 * MIB
"""How much of a refused body is read and thrown away, so that its sender lives to see the 413."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_PRIVATE_PREFIXES: Final = ("/api/", "/sync/", "/metrics")
_OWN_FETCH_SITES: Final = frozenset({b"same-origin", b"none"})
_CONTENT_ENDINGS: Final = ("/content", "/append")
_ASSET_PREFIX: Final = "/assets/"
_BEARER_PROTOCOL: Final = b"sheaf.bearer."

Headers = Sequence[tuple[bytes, bytes]]


class Refusal(StrEnum):
    """Why the door stayed shut; counted, never told to the stranger."""

    HOST = "host"
    ORIGIN = "origin"
    SITE = "site"
    TARGET = "target"
    BODY = "body"
    MALFORMED = "malformed"
    """No HTTP, or no WebSocket, at all; the server answers this itself."""


_ANSWERS: Final[Mapping[Refusal, tuple[int, bytes]]] = {
    Refusal.HOST: (421, b"Misdirected Request\n"),
    Refusal.ORIGIN: (403, b"Forbidden\n"),
    Refusal.SITE: (403, b"Forbidden\n"),
    Refusal.TARGET: (400, b"Bad Request\n"),
    Refusal.BODY: (413, b"Content Too Large\n"),
    Refusal.MALFORMED: (400, b"Bad Request\n"),
}


@dataclass(frozen=True, slots=True)
class DoorNames:
    """The exact Host values of the door on `port`; lower-case as browsers send them."""

    port: int
    hosts: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        names = {f"{name}:{self.port}".encode() for name in ("127.0.0.1", "[::1]", "localhost")}
        object.__setattr__(self, "hosts", frozenset(names))


def judge(
    names: DoorNames, *, is_websocket: bool, method: str, path: str, headers: Headers
) -> Refusal | None:
    """Decide about one request from its first lines alone.

    Args:
        names: the Host values that are us.
        is_websocket: a WebSocket handshake; the browser sends no preflight for these.
        method: upper case, ignored for WebSockets.
        path: the decoded path of the request.
        headers: as received, names in lower case, repeated ones repeated.

    Returns:
        None to let it in, else the reason to refuse.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or hosts[0] not in names.hosts:
        return Refusal.HOST
    if not path.startswith("/"):
        return Refusal.TARGET
    origins = [value for name, value in headers if name == b"origin"]
    if origins:
        if origins != [b"http://" + hosts[0]]:
            return Refusal.ORIGIN
    elif (is_websocket or method not in _SAFE_METHODS) and not _offers_bearer(headers):
        return Refusal.ORIGIN
    sites = [value for name, value in headers if name == b"sec-fetch-site"]
    if path.startswith(_PRIVATE_PREFIXES) and not _OWN_FETCH_SITES.issuperset(sites):
        return Refusal.SITE
    return None


def _offers_bearer(headers: Headers) -> bool:
    """Whether a script's credential is there (checked later): a web page cannot add one unasked."""
    return any(
        (name == b"authorization" and value[:7].lower() == b"bearer ")
        or (name == b"sec-websocket-protocol" and _BEARER_PROTOCOL in value)
        for name, value in headers
    )


class LocalDoor:
    """ASGI middleware: judge, limit the body, decorate the answer."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self._app = app
        self._names = DoorNames(port)
        self.refusals: dict[Refusal, int] = dict.fromkeys(Refusal, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of any ASGI type."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = _with_headers(scope, send)
        refusal = judge(
            self._names,
            is_websocket=False,
            method=scope["method"],
            path=scope["path"],
            headers=scope["headers"],
        )
        bytes_max = _body_bytes_max(scope)
        if refusal is None and _declared_length(scope["headers"]) > bytes_max:
            refusal = Refusal.BODY
        if refusal is not None:
            self.refusals[refusal] += 1
            if refusal is Refusal.BODY:
                await _drain(receive)
            await _answer(guarded, "http.response", *_ANSWERS[refusal])
            return
        await self._app(scope, self._limited(receive, bytes_max), guarded)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = judge(
            self._names, is_websocket=True, method="GET", path=scope["path"], headers=scope["headers"]
        )
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self.refusals[refusal] += 1
        if "websocket.http.response" in scope.get("extensions", {}):
            await _answer(_with_headers(scope, send), "websocket.http.response", *_ANSWERS[refusal])
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _limited(self, receive: Receive, bytes_max: int) -> Receive:
        left = bytes_max

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                self.refusals[Refusal.BODY] += 1
                if message.get("more_body"):
                    await _drain(receive)
                raise HTTPException(413, "The request is too large.")
            return message

        return limited


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < _DRAINED_BYTES_MAX:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


def _declared_length(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 16 else CONTENT_BODY_BYTES_MAX + 1
    return 0


def _body_bytes_max(scope: Scope) -> int:
    path = scope["path"]
    if path.startswith("/api/v1/documents/") and path.endswith(_CONTENT_ENDINGS):
        return CONTENT_BODY_BYTES_MAX
    return BODY_BYTES_MAX


async def _answer(send: Send, kind: str, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _with_headers(scope: Scope, send: Send) -> Send:
    """Wrap `send` so that every answer carries the protective headers."""

    async def decorated(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message = {**message, "headers": _protected(scope, message)}
        await send(message)

    return decorated


def _protected(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    keeps_cache = scope["path"].startswith(_ASSET_PREFIX) and message["status"] in (200, 206, 304)
    dropped = {name for name, _ in _PROTECTION} | (set() if keeps_cache else {b"cache-control"})
    headers: list[tuple[bytes, bytes]] = [
        (name, value) for name, value in message.get("headers", ()) if name.lower() not in dropped
    ]
    headers += _PROTECTION
    headers.append((b"content-security-policy", _content_security_policy(scope)))
    if not keeps_cache:
        headers.append((b"cache-control", b"no-store"))
    return headers


_PROTECTION: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def _content_security_policy(scope: Mapping[str, Any]) -> bytes:
    return (
        b"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; connect-src 'self'" + _socket_source(scope["headers"]) + b"; "
        b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _socket_source(headers: Headers) -> bytes:
    """The door's own ws: address for browsers whose 'self' leaves it out; CSP cannot write IPv6."""
    hosts = [value for name, value in headers if name == b"host"]
    if (
        len(hosts) == 1
        and hosts[0].startswith((b"127.0.0.1:", b"localhost:"))
        and hosts[0].split(b":")[1].isdigit()
    ):
        return b" ws://" + hosts[0]
    return b""
