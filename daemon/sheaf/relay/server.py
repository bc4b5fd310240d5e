"""The relay's port: WebSockets for clients, `/healthz` and `/metrics` for operators (PROTOCOL §7).

Admits, looks after silence, and drains. Knows sockets and HTTP; what frames mean is the sessions'
business. Strangers who are no client get an empty 404.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.server import ServerProtocol

from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX, ErrorCode
from sheaf.relay.client import CLOSE_S_MAX, Client
from sheaf.relay.flood_guard import guard_frames
from sheaf.relay.limits import UNKNOWN_ADDRESS, Addresses, RelayLimits, is_loopback, is_private
from sheaf.relay.listening import BACKLOG, READ_BYTES_MAX
from sheaf.relay.metrics import CONTENT_TYPE, RelayMetrics
from sheaf.relay.session import Sessions

PATH: Final = "/sheaf"
"""The WebSocket's path ends in this; a proxy may have put something before it."""
DRAIN_S: Final = 3.0
_NO_HANDSHAKE: Final = (400, 426)
"""What the library answers to a request that is no proper handshake."""
_PAUSE_S_MIN: Final = 0.02
_library_log = logging.getLogger("sheaf.relay.websockets")
"""What the library says: of strangers' handshakes at error, with a traceback. They are only counted."""


class RelayServer:
    """Accepts connections on sockets that are bound already.

    Invariants:
    1. Every wait for a stranger has a deadline: handshake, first frame, silence, sending.
    2. Connections are bounded altogether and per address before a byte of them is read.
    3. Draining tells everybody within three seconds, and new ones are refused meanwhile.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        limits: RelayLimits,
        addresses: Addresses,
        metrics: RelayMetrics,
        now: Callable[[], float],
        is_healthy: Callable[[], bool],
        is_behind_proxy: bool,
    ) -> None:
        self._sessions = sessions
        self._limits = limits
        self._addresses = addresses
        self._metrics = metrics
        self._now = now
        self._is_healthy = is_healthy
        self._is_behind_proxy = is_behind_proxy
        self._servers: list[Server] = []
        self._connections = 0
        self._clients: set[Client] = set()
        self._is_draining = False

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Serve on these sockets."""
        _library_log.setLevel(logging.ERROR)
        _library_log.addFilter(_is_no_handshake)
        for bound in sockets:
            self._servers.append(
                await serve(
                    self._serve,
                    sock=bound,
                    ssl=tls,
                    ssl_handshake_timeout=self._limits.handshake_s_max if tls else None,
                    process_request=self._answer_http,
                    create_connection=self._make_connection,  # type: ignore[arg-type]  # any factory will do
                    open_timeout=self._limits.handshake_s_max,
                    close_timeout=CLOSE_S_MAX,
                    ping_interval=None,
                    compression=None,
                    max_size=RELAY_FRAME_BYTES_MAX,
                    max_queue=(2, 1),
                    write_limit=self._limits.tunnel_buffer_bytes,
                    server_header=None,
                    logger=_library_log,
                )
            )
            bound.listen(BACKLOG)  # asyncio has set it to the 100 that it accepts in one turn

    def look_around(self) -> None:
        """Let go of who has been silent for too long (1); called about once a second."""
        now, limits = self._now(), self._limits
        for client in list(self._clients):
            patience_s = limits.first_frame_s_max if client.is_new else limits.silence_s_max
            if now - client.heard_at > patience_s or client.is_overdue():
                self._metrics.dropped.labels("silent").inc()
                client.drop()

    async def drain(self) -> None:
        """Refuse new connections, tell everybody to go, spread over three seconds (3)."""
        self._is_draining = True
        clients = list(self._clients)
        pause_s = DRAIN_S / max(1, len(clients))
        owed_s = 0.0
        for client in clients:
            if owed_s >= _PAUSE_S_MIN:
                await asyncio.sleep(owed_s)
                owed_s = 0.0
            client.part(ErrorCode.GOING_AWAY)
            owed_s += pause_s

    async def close(self) -> None:
        """Stop listening and end every connection. Idempotent."""
        self._is_draining = True
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for server in servers:
            try:
                async with asyncio.timeout(2 * CLOSE_S_MAX):
                    await server.wait_closed()
            except TimeoutError:
                for client in list(self._clients):
                    client.drop()

    # ------------------------------------------------------------------ one connection

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _GatedConnection)
        client = Client(
            connection,
            address=connection.address or UNKNOWN_ADDRESS,
            limits=self._limits,
            now=self._now(),
        )
        connection.client = client
        self._clients.add(client)
        self._metrics.accepted.inc()
        self._metrics.connections.set(len(self._clients))
        try:
            await self._sessions.serve(client)
        finally:
            self._clients.discard(client)
            self._metrics.connections.set(len(self._clients))

    def _make_connection(
        self, protocol: WebSocketProtocol, server: Server, **options: object
    ) -> _GatedConnection:
        connection = _GatedConnection(cast(ServerProtocol, protocol), server, **options)  # type: ignore[arg-type]  # passed through
        connection.gate = self
        guard_frames(protocol, now=self._now, stop=connection.stop_reading)
        return connection

    def admit(self, connection: _GatedConnection) -> bool:
        """Whether a connection may begin (2); called before its first byte is read."""
        if self._connections >= self._limits.connections_max:
            self._metrics.rejected.labels("full").inc()
            return False
        host = _host(connection.transport.get_extra_info("peername"))
        if self._is_behind_proxy and is_loopback(host):
            self._connections += 1  # whose it is, the request will say
            return True
        if not self._admit_address(connection, host):
            return False
        self._connections += 1
        return True

    def leave(self, connection: _GatedConnection) -> None:
        """A connection that was admitted ended."""
        self._connections -= 1
        if connection.address is not None:
            self._addresses.leave(connection.address)
        if connection.client is not None:
            connection.client.lost()

    def never_asked(self) -> None:
        """A connection ended that brought no handshake and no request: a scanner, say."""
        self._metrics.strangers.labels("no_handshake").inc()

    def _admit_address(self, connection: _GatedConnection, host: str) -> bool:
        if not self._addresses.admit(host):
            self._metrics.rejected.labels("address").inc()
            return False
        connection.address = host
        return True

    # ------------------------------------------------------------------ HTTP

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """None for a client's handshake; the operator's pages; an empty 404 for everything else."""
        assert isinstance(connection, _GatedConnection)
        path = request.path.partition("?")[0]
        if path.endswith(PATH) and "Origin" not in request.headers:
            return self._answer_client(connection, request)
        if path == "/healthz":
            return self._answer_health()
        if path == "/metrics" and _is_near(connection, request):
            return _response(200, "OK", self._metrics.text(), CONTENT_TYPE)
        self._metrics.strangers.labels("not_here").inc()
        return _response(404, "Not Found", b"", "text/plain")

    def _answer_client(self, connection: _GatedConnection, request: Request) -> Response | None:
        if self._is_draining:
            self._metrics.rejected.labels("draining").inc()
            return _response(503, "Service Unavailable", b"", "text/plain")
        if connection.address is None:
            forwarded = request.headers.get_all("X-Forwarded-For")
            host = forwarded[-1].rpartition(",")[2].strip() if forwarded else UNKNOWN_ADDRESS
            if not self._admit_address(connection, host):
                return _response(429, "Too Many Requests", b"", "text/plain")
        return None

    def _answer_health(self) -> Response:
        if self._is_draining:
            return _response(503, "Service Unavailable", b"draining\n", "text/plain")
        if not self._is_healthy():
            return _response(503, "Service Unavailable", b"store out of reach\n", "text/plain")
        return _response(200, "OK", b"ok\n", "text/plain")


class _GatedConnection(ServerConnection):
    """A connection that is admitted before its first byte is read.

    The library answers a WebSocket ping by itself, whether the other side reads the pongs or not, and
    parses whatever one read brought before anybody can object. So reads are short, and who sends more
    control frames than a proxy would is let go.
    """

    gate: RelayServer | None = None
    client: Client | None = None
    address: str | None = None
    """Where it comes from; None until a trusted proxy has said so."""
    _is_admitted: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.gate is not None and self.gate.admit(self):
            self._is_admitted = True
            if hasattr(transport, "max_size"):
                transport.max_size = READ_BYTES_MAX  # of asyncio's plain sockets; TLS has its own
        else:
            self.transport.abort()

    def stop_reading(self) -> None:
        """Leave unread what still comes; the closing handshake's deadline ends it."""
        self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_admitted and self.gate is not None:
            self._is_admitted = False
            self.gate.leave(self)
            if self.response is None or self.response.status_code in _NO_HANDSHAKE:
                self.gate.never_asked()
        super().connection_lost(exc)


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return record.msg != "opening handshake failed"


def _is_near(connection: ServerConnection, request: Request) -> bool:
    """Whether the operator's own network asks, and not through a proxy that serves everybody."""
    return "X-Forwarded-For" not in request.headers and is_private(
        _host(connection.transport.get_extra_info("peername"))
    )


def _response(status: int, reason: str, body: bytes, content_type: str) -> Response:
    headers = Headers(
        {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Cache-Control": "no-store",
        }
    )
    return Response(status, reason, headers, body)


def _host(address: object) -> str:
    """The host part of a socket address, IPv4-mapped ones unmapped."""
    return (
        str(address[0]).removeprefix("::ffff:") if isinstance(address, tuple) and address else UNKNOWN_ADDRESS
    )
