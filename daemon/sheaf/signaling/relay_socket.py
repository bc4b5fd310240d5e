"""Opens connections to a relay: name, TCP, TLS, WebSocket, WELCOME, and the operator's token (PROTOCOL §7).

Every step has a deadline, and every failure a sentence for people. Knows nothing of what is then said.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from dataclasses import dataclass, replace
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.wire.relay_frames import Accepted, Auth, Error, Welcome
from sheaf.core.wire.relay_url import SOCKET_PATH, RelayUrl
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX, RELAY_VERSION, ErrorCode
from sheaf.signaling.resolver import Resolver, open_tcp
from sheaf.signaling.websocket import (
    CLOSE_S_MAX,
    CountingConnection,
    FrameSocket,
    RawStream,
    TunnelIsElsewhere,
    join_tunnel,
)

OPEN_S_MAX: Final = 10.0
"""From the name to WELCOME (and ACCEPTED)."""
JOIN_S_MAX: Final = 25.0
"""For the other side of a tunnel to come; the relay gives up after 20 s."""
HOPS_MAX: Final = 3
"""Connections for one tunnel: the first, and two that it was sent on to."""
STRANGERS_WORDS_MAX: Final = 120
_BUSY: Final = (429, 500, 502, 503, 504)


class RelayUnwelcoming(TransportFailure):
    """The relay answers and does not want us; trying again soon changes nothing."""


@dataclass(frozen=True, slots=True)
class OpenRelay:
    """A connection that is ready for frames, and what the relay said of itself."""

    socket: FrameSocket
    welcome: Welcome


class RelayDoor:
    """Opens connections to relays.

    Args:
        tls: for wss://; None makes one that trusts what the system trusts, at the first need.
    """

    def __init__(self, *, resolver: Resolver, tls: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver
        self._tls = tls

    async def open(self, url: RelayUrl) -> OpenRelay:
        """A fresh connection.

        Raises:
            RelayUnwelcoming: no relay there, another version, or the token is missing or wrong.
            TransportFailure: not reachable within 10 s.
        """
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                socket = await self._dial(url)
                try:
                    return OpenRelay(socket, await _greet(socket, url))
                except BaseException:
                    socket.abort()
                    raise
        except TimeoutError as error:
            raise TransportFailure(f"The relay {url.text} does not answer.") from error

    async def join(self, url: RelayUrl, token: bytes) -> RawStream:
        """The tunnel of `token`, on a connection of its own.

        Raises:
            TransportFailure: not reachable, or the other side did not come.
        """
        here = url
        for _ in range(HOPS_MAX):
            opened = await self.open(here)
            try:
                return await join_tunnel(opened.socket, token, answer_s_max=JOIN_S_MAX)
            except TunnelIsElsewhere as elsewhere:
                here = _next_hop(url, elsewhere.url)
        raise TransportFailure(f"the nodes of the relay {url.text} send a tunnel back and forth")

    async def _dial(self, url: RelayUrl) -> FrameSocket:
        tls = await self._context() if url.is_encrypted else None
        try:
            opened = await open_tcp(self._resolver, url.host, url.port)
            connection = await connect(
                url.text + SOCKET_PATH,
                sock=opened,
                create_connection=CountingConnection,
                ssl=tls,
                open_timeout=None,
                close_timeout=CLOSE_S_MAX,
                ping_interval=None,
                compression=None,
                max_size=RELAY_FRAME_BYTES_MAX,
                max_queue=4,
                proxy=None,
                user_agent_header=None,
            )
        except ssl.SSLCertVerificationError as error:
            raise RelayUnwelcoming(
                f"The certificate of the relay {url.text} is not trusted here: {error.verify_message}."
            ) from error
        except InvalidStatus as error:
            status = error.response.status_code
            if status in _BUSY:
                raise TransportFailure(f"The relay {url.text} is too busy or restarts ({status}).") from error
            raise RelayUnwelcoming(f"There is no relay at {url.text} (status {status}).") from error
        except (TransportFailure, OSError, WebSocketException, ValueError) as error:
            raise TransportFailure(f"The relay {url.text} cannot be reached: {_reason(error)}.") from error
        return FrameSocket(connection, url.text, frame_bytes_max=RELAY_FRAME_BYTES_MAX)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # reads a few hundred certificates: not on the event loop
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        is_plain = isinstance(error, ConnectionError) or type(error) is OSError
        if is_plain and error.errno:  # asyncio's own text names a call and a tuple
            return os.strerror(error.errno).lower()
        return error.strerror or str(error) or "no connection"
    words = "".join(character if character.isprintable() else " " for character in str(error))
    return words.rstrip(".")[:STRANGERS_WORDS_MAX]  # may quote what answered there


async def _greet(socket: FrameSocket, url: RelayUrl) -> Welcome:
    """Hear WELCOME, show the token."""
    try:
        welcome = await socket.receive()
        if not isinstance(welcome, Welcome):
            raise TransportFailure(_turned_away(welcome, url))
        if welcome.version != RELAY_VERSION:
            raise RelayUnwelcoming(
                f"The relay {url.text} speaks version {welcome.version}, this Sheaf version {RELAY_VERSION}: "
                "update the older one."
            )
        if welcome.needs_token:
            if url.token is None:
                raise RelayUnwelcoming(f"The relay {url.text} asks for a token: {_WITH_TOKEN}")
            await socket.send(Auth(url.token))
            if not isinstance(await socket.receive(), Accepted):
                raise RelayUnwelcoming(f"The relay {url.text} does not accept the token: {_WITH_TOKEN}")
    except WireError as error:
        raise RelayUnwelcoming(f"What answers at {url.text} is not a relay of this version.") from error
    return welcome


_WITH_TOKEN: Final = "ask who runs it, and start with --relay wss://TOKEN@host."  # a sentence


def _turned_away(answer: object, url: RelayUrl) -> str:
    if isinstance(answer, Error) and answer.code is ErrorCode.GOING_AWAY:
        return f"The relay {url.text} restarts."
    if isinstance(answer, Error) and answer.code is ErrorCode.TOO_MUCH:
        return f"The relay {url.text} has no room for another connection from here."
    return f"The relay {url.text} hangs up."


def _next_hop(first: RelayUrl, text: str) -> RelayUrl:
    """Where a relay sends us for a tunnel: another node of the same operator, who knows the token anyway.

    Raises:
        TransportFailure: not a relay, without the TLS of the first, or this machine itself.
    """
    try:
        url = RelayUrl.parse(text)
    except WireError as error:
        raise TransportFailure(f"the relay {first.text} names a node that is none") from error
    if (first.is_encrypted and not url.is_encrypted) or (_is_here(url.host) and not _is_here(first.host)):
        raise TransportFailure(f"the relay {first.text} names a node that is not used: {url.text}")
    return replace(url, token=first.token)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or address.is_link_local
