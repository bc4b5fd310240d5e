"""uvicorn on two loopback sockets that we bind ourselves (PROTOCOL §9).

Binding first tells the port before the app is made (`--port 0`), and makes sure that
nothing but 127.0.0.1 and ::1 listens. Signals belong to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from asyncio import CancelledError
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sheaf.api.app import LocalApp
from sheaf.api.socket_protocol import SyncProtocol
from sheaf.core.base.errors import SheafError
from sheaf.core.base.limits import BACKLOG_BYTES_MAX, KIB

SOCKET_MESSAGE_BYTES_MAX: Final = BACKLOG_BYTES_MAX + KIB
"""The largest update and its frame. Of a longer message nothing is read; the app is told and says 4413."""
STOP_DEADLINE_S: Final = 3
_BIND_TRIES: Final = 16
_BACKLOG: Final = 128
_MALFORMED: Final = ("Invalid HTTP request", "Unsupported upgrade", "Invalid UTF-8")
_ENDED_EARLY: Final = ("ASGI callable returned without completing handshake",)
"""How uvicorn's messages about clients begin; the latter is what it says of a handshake that we refused."""


class PortTaken(SheafError):
    """Another program listens on the wanted port."""


@dataclass(frozen=True, slots=True)
class BoundDoor:
    """Listening sockets and the port they share; ::1 is left out where IPv6 is switched off."""

    port: int
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        """Let the port go (only needed when no server took the sockets over)."""
        for bound in self.sockets:
            bound.close()


def bind_door(port: int) -> BoundDoor:
    """Bind the loopback addresses.

    Args:
        port: 1…65535, or 0 for a free one (the same on both addresses).

    Raises:
        PortTaken: the port is in use on one of them.
    """
    for _ in range(_BIND_TRIES):
        first = _bind(socket.AF_INET, "127.0.0.1", port)
        chosen = int(first.getsockname()[1])
        try:
            second = _bind(socket.AF_INET6, "::1", chosen)
        except PortTaken:
            first.close()
            if port:
                raise
            continue
        except OSError:
            return BoundDoor(chosen, (first,))
        return BoundDoor(chosen, (first, second))
    raise PortTaken("No free port was found on 127.0.0.1 and ::1.")


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio asks accepted sockets for it before it turns Nagle's
    # algorithm off; with a 0 here an answer that follows another one waits up to 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"Port {port} on {host} is taken; choose another with --port.") from error
        if error.errno == errno.EACCES:
            raise PortTaken(f"Port {port} needs more rights; choose one above 1023 with --port.") from error
        raise
    return bound


class _ClientLog(logging.LoggerAdapter[logging.Logger]):
    """What uvicorn says of a client that breaks off or speaks no HTTP: counted, and a line at debug only.

    Port scanners and closed tabs are ordinary. What is our own fault stays the error that it is.
    """

    def __init__(self, logger: logging.Logger, count: Callable[[], None]) -> None:
        super().__init__(logger)
        self._count = count

    @property
    def level(self) -> int:
        """The logger's; uvicorn asks for it."""
        return self.logger.level

    def log(self, level: int, msg: object, *args: Any, **options: Any) -> None:
        """As the logger's own, but for these messages."""
        text = str(msg)
        if text.startswith(_MALFORMED):
            self._count()
        if text.startswith((*_MALFORMED, *_ENDED_EARLY)) or isinstance(sys.exception(), CancelledError):
            level, options = logging.DEBUG, {**options, "exc_info": None}
        super().log(level, msg, *args, **options)


class _HttpProtocol(H11Protocol):
    """uvicorn's HTTP, without a warning for each stranger."""

    def __init__(self, config: uvicorn.Config, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        self.logger = _client_log(self.logger, config)


class _SocketProtocol(SyncProtocol):
    """The sync socket's WebSocket, without a warning for each stranger."""

    def __init__(self, config: uvicorn.Config, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        self.logger = _client_log(self.logger, config)


def _client_log(logger: logging.Logger, config: uvicorn.Config) -> Any:
    assert isinstance(config.app, LocalApp)
    return _ClientLog(logger, config.app.refused_malformed)


def _is_no_late_request(record: logging.LogRecord) -> bool:
    """Requests that are still unfinished when the stop deadline has come are cut off: no error."""
    return not str(record.msg).startswith("Cancel %s running task")


class _Server(uvicorn.Server):
    """uvicorn without signal handlers and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self.stop_wanted = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        await self.stop_wanted.wait()


class LocalServer:
    """Serves the app on the bound sockets: run `serve` in a task group, `stop` ends it."""

    def __init__(self, app: LocalApp, *, door: BoundDoor, stop_deadline_s: int = STOP_DEADLINE_S) -> None:
        self._app = app
        self._door = door
        config = uvicorn.Config(
            app,
            loop="none",
            http=_HttpProtocol,
            ws=_SocketProtocol,
            ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=stop_deadline_s,
        )
        self._server = _Server(config)

    @property
    def port(self) -> int:
        """The port both sockets listen on."""
        return self._door.port

    async def serve(self) -> None:
        """Answer until `stop`; then end the connections within the stop deadline. Call once."""
        logger = logging.getLogger("uvicorn.error")
        logger.addFilter(_is_no_late_request)
        try:
            await self._server.serve(sockets=list(self._door.sockets))
        finally:
            logger.removeFilter(_is_no_late_request)

    async def wait_started(self) -> None:
        """Return once connections are accepted."""
        await self._server.is_up.wait()

    def stop(self) -> None:
        """Begin to stop: tabs are told 1001, then the rest ends; `serve` returns when done."""
        self._app.hangups.hang_up_all()
        self._server.should_exit = True
        self._server.stop_wanted.set()
