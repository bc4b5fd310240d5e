"""The LAN listener: takes sealed signalling messages and tunnels from other daemons.

Serves nothing else and tells strangers nothing: a request that is not exactly a Sheaf
WebSocket handshake gets an empty 404, an unknown token a closed connection. Knows rendezvous
ids only as opaque bytes. PROTOCOL §6 (LAN signalling), §11; decision 0017.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.server import ServerProtocol

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Error, Nobody, Send, Sent, TunnelJoin, TunnelJoined
from sheaf.core.wire.relay_words import ErrorCode
from sheaf.ports import TunnelDoor
from sheaf.signaling.admission import Admission, ListenerLimits, RateBudget
from sheaf.signaling.websocket import CLOSE_S_MAX, MESSAGE_BYTES_MAX, PATH, FrameSocket, RawStream, host_port

_library_log = logging.getLogger("sheaf.signaling.websockets")
"""What the library says: of strangers' handshakes at error, with a traceback. They are only counted."""

REFUSALS: Final = ("admission", "handshake")
_BACKLOG: Final = 64
_BIND_TRIES: Final = 8

OnMessage = Callable[[RendezvousId, bytes, FrameSocket], bool]
"""(rid, sealed message, where an answer can go) -> whether anybody here answers to rid."""


class LanListener:
    """Accepts connections on one port over IPv4 and IPv6.

    Invariants:
    1. Every wait for a stranger has a deadline: handshake, first frame, idleness, sending.
    2. Connections, handshakes per address and frames per connection are bounded.
    3. Closing ends every connection it accepted.
    """

    def __init__(
        self,
        *,
        limits: ListenerLimits,
        on_message: OnMessage,
        door: TunnelDoor | None,
        now: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._on_message = on_message
        self._door = door
        self._now = now
        self._admission = Admission(limits=limits, now=now)
        self._servers: list[Server] = []
        self._address: str | None = None
        self.refused: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        """Connections that came to nothing, by reason."""

    @property
    def address(self) -> str | None:
        """host:port it listens on, None before `start` and after `close`."""
        return self._address

    async def start(self, host: str, port: int) -> None:
        """Listen on `host`; '', '0.0.0.0' and '::' mean every address of both families.

        Raises:
            TransportFailure: the address cannot be had, with the reason in words.
        """
        _library_log.setLevel(logging.ERROR)
        _library_log.addFilter(_is_no_handshake)
        try:
            sockets = _bind(host, port)
        except OSError as error:
            raise TransportFailure(
                f"cannot listen on {host or '0.0.0.0'}:{port}: {error.strerror or error}. "
                "Choose another with --lan HOST:PORT"
            ) from error
        for bound in sockets:
            self._servers.append(await self._serve(bound))
        self._address = host_port(sockets[0].getsockname())

    async def close(self) -> None:
        """Stop listening and end every connection. Idempotent."""
        self._address = None
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for server in servers:
            await server.wait_closed()

    async def _serve(self, bound: socket.socket) -> Server:
        return await serve(
            self._serve_connection,
            sock=bound,
            process_request=_refuse_strangers,
            create_connection=self._make_connection,  # type: ignore[arg-type]  # any factory will do
            open_timeout=self._limits.handshake_s_max,
            close_timeout=CLOSE_S_MAX,
            ping_interval=None,
            compression=None,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=4,
            server_header=None,
            logger=_library_log,
        )

    def _make_connection(
        self, protocol: WebSocketProtocol, server: Server, **options: object
    ) -> _GatedConnection:
        connection = _GatedConnection(cast(ServerProtocol, protocol), server, **options)  # type: ignore[arg-type]  # passed through
        connection.gate = self._admission
        connection.refused = self.refused
        return connection

    async def _serve_connection(self, connection: ServerConnection) -> None:
        link = FrameSocket(connection, host_port(connection.remote_address))
        try:
            await self._serve_frames(link)
        except WireError:
            await _say_last(link, ErrorCode.BAD_FRAME)
        except TimeoutError:
            pass  # silent or idle (1)
        except TransportFailure:
            return

    async def _serve_frames(self, link: FrameSocket) -> None:
        limits = self._limits
        budget = RateBudget(burst=limits.frames_burst, per_s=limits.frames_per_s, now=self._now())
        patience_s = limits.first_frame_s_max
        while True:
            async with asyncio.timeout(patience_s):
                frame = await link.receive()
            patience_s = limits.idle_s_max
            if frame is None:
                return
            if not budget.take(self._now()):  # (2)
                await _say_last(link, ErrorCode.TOO_MUCH)
                return
            match frame:
                case Send(rid, payload):
                    is_taken = self._on_message(rid, payload, link)
                    await link.send(Sent(rid) if is_taken else Nobody(rid))
                case TunnelJoin(token):
                    await self._join(link, token)
                    return
                case _:
                    await _say_last(link, ErrorCode.NOT_HERE)
                    return

    async def _join(self, link: FrameSocket, token: bytes) -> None:
        serve_stream = self._door.accept(token) if self._door is not None else None
        if serve_stream is None:
            await _say_last(link, ErrorCode.NOT_HERE)
            return
        await link.send(TunnelJoined())
        await serve_stream(RawStream(link))


class _GatedConnection(ServerConnection):
    """A connection that asks the admission before its first byte is read."""

    gate: Admission | None = None
    refused: Counter[str] | None = None
    _host: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        host, own = (_host(transport.get_extra_info(name)) for name in ("peername", "sockname"))
        if self.gate is not None and self.gate.admit(host, is_local=host == own):
            self._host = host
        else:
            self._count("admission")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._host is not None and self.gate is not None:
            self.gate.leave(self._host)
            self._host = None
            if self.response is None or self.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                self._count("handshake")
        super().connection_lost(exc)

    def _count(self, reason: str) -> None:
        if self.refused is not None:
            self.refused[reason] += 1


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return record.msg != "opening handshake failed"


def _host(address: object) -> str:
    """The host part of a socket address; a name for what has none (gone already)."""
    return str(address[0]) if isinstance(address, tuple) and address else "unknown"


def _refuse_strangers(connection: ServerConnection, request: Request) -> Response | None:
    """An empty 404 for everything but another daemon; web pages always send Origin."""
    if request.path == PATH and "Origin" not in request.headers:
        return None
    return Response(404, "Not Found", Headers({"Content-Length": "0", "Connection": "close"}))


async def _say_last(link: FrameSocket, code: ErrorCode) -> None:
    try:
        await link.send(Error(code))
    except TransportFailure:
        return
    await link.close()


def _bind(host: str, port: int) -> list[socket.socket]:
    """Bound sockets of one port: both families for a wildcard, else the one that `host` has."""
    if host not in ("", "0.0.0.0", "::"):
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )[0]
        return [_bound(family, address)]
    for _ in range(_BIND_TRIES):
        four = _bound(socket.AF_INET, ("0.0.0.0", port))
        chosen = four.getsockname()[1]
        try:
            return [four, _bound(socket.AF_INET6, ("::", chosen))]
        except OSError as error:
            if port != 0 or not _is_taken(error):
                return [four]  # no IPv6 here, or somebody else has that half of a fixed port
            four.close()
    return [_bound(socket.AF_INET, ("0.0.0.0", port))]


def _bound(family: socket.AddressFamily | int, address: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE
