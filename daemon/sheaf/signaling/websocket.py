"""A WebSocket as signalling uses it: binary frames, deadlines on every send, nothing unbounded.

Knows the frame codec of the core and the `websockets` library; neither subscriptions nor
tunnels. PROTOCOL §6 (LAN signalling), §7. Relays are dialled by `relay_socket`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed, WebSocketException

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.limits import KIB
from sheaf.core.wire.relay_frames import (
    LAN_FRAME_BYTES_MAX,
    Frame,
    TunnelElsewhere,
    TunnelJoin,
    TunnelJoined,
    decode_frame,
    encode_frame,
)
from sheaf.core.wire.relay_url import SOCKET_PATH
from sheaf.core.wire.relay_words import TUNNEL_BYTES_MAX
from sheaf.signaling.resolver import Resolver, open_tcp

PATH: Final = SOCKET_PATH
DIAL_S_MAX: Final = 3.0
SEND_S_MAX: Final = 5.0
"""A peer that stops reading is never dropped by the library itself."""
SEND_BYTES_PER_S_MIN: Final = 8 * KIB
"""What a large message is given in addition: half a megabyte may take a minute."""
MESSAGE_BYTES_MAX: Final = TUNNEL_BYTES_MAX
CLOSE_S_MAX: Final = 1.0
UNSENT_BYTES_MAX: Final = TUNNEL_BYTES_MAX


class CountingConnection(ClientConnection):
    """Counts what has come, also of a message that is not whole yet."""

    received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)


class FrameSocket:
    """One signalling connection, dialled or accepted.

    Invariants:
    1. A send that does not finish within five seconds (and more for a large message) aborts the connection.
    2. Foreign exceptions become `TransportFailure` here.

    Args:
        frame_bytes_max: the largest frame taken from the other side.
    """

    def __init__(
        self, connection: Connection, label: str, *, frame_bytes_max: int = LAN_FRAME_BYTES_MAX
    ) -> None:
        self._connection = connection
        self._frame_bytes_max = frame_bytes_max
        self.label = label
        _keep_kernel_queue_short(connection)

    async def send(self, frame: Frame) -> None:
        """Send one frame (1).

        Raises:
            TransportFailure: the connection is gone or does not read.
        """
        await self.send_raw(encode_frame(frame))

    async def send_raw(self, data: bytes) -> None:
        """Send one binary message (1). Raises TransportFailure."""
        try:
            async with asyncio.timeout(SEND_S_MAX + len(data) / SEND_BYTES_PER_S_MIN):
                await self._connection.send(data)
        except TimeoutError as error:
            self.abort()
            raise TransportFailure(f"{self.label} does not read") from error
        except (ConnectionClosed, OSError) as error:
            raise TransportFailure(f"the connection to {self.label} is gone") from error

    async def receive(self) -> Frame | None:
        """The next frame, or None at the end.

        Raises:
            WireError: a text message, or not a frame.
        """
        data = await self.receive_raw()
        return None if data is None else decode_frame(data, bytes_max=self._frame_bytes_max)

    async def receive_raw(self) -> bytes | None:
        """The next binary message, or None at the end. Raises WireError on text."""
        try:
            data = await self._connection.recv()
        except (ConnectionClosed, OSError):
            return None
        if isinstance(data, str):
            raise WireError("a text message")
        return data

    async def close(self) -> None:
        """Close in order, or within a second by force."""
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._connection.close()
        except (TimeoutError, OSError):
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._connection.transport.abort()

    @property
    def received_bytes(self) -> int:
        """What has come so far; moves while a large message is on its way. 0 unless we dialled a relay."""
        return getattr(self._connection, "received_bytes", 0)

    @property
    def unsent_bytes(self) -> int:
        """What waits to leave."""
        return self._connection.transport.get_write_buffer_size()

    @property
    def local_host(self) -> str | None:
        """This machine's address on the connection; None when it is gone."""
        own = self._connection.transport.get_extra_info("sockname")
        return str(own[0]) if own else None


class RawStream:
    """A `sheaf.ports.ByteStream` over the socket of a joined tunnel."""

    def __init__(self, socket: FrameSocket) -> None:
        self._socket = socket

    @property
    def label(self) -> str:
        """'host:port' of the far end."""
        return self._socket.label

    async def receive(self) -> bytes | None:
        """The next chunk, or None at the end (also after a text message: nobody sends one)."""
        try:
            return await self._socket.receive_raw()
        except WireError:
            return None

    async def send(self, data: bytes) -> None:
        """Hand over a chunk. Raises TransportFailure."""
        await self._socket.send_raw(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()


def _keep_kernel_queue_short(connection: Connection) -> None:
    """Let the kernel hold at most 64 KiB unsent, so that what waits is still ours to order."""
    raw = connection.transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if raw is not None and option is not None:
        raw.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES_MAX)


async def dial(
    address: str, *, resolver: Resolver | None = None, timeout_s: float = DIAL_S_MAX
) -> FrameSocket:
    """Open a connection to the listener at `host:port`.

    Args:
        resolver: looks names up.

    Raises:
        TransportFailure: nobody listens there, or not in time.
    """
    host, _, port = address.rpartition(":")
    shown = re.sub("%[^]]*", "", address)  # the scope is nobody else's business
    try:
        async with asyncio.timeout(timeout_s):
            opened = await open_tcp(resolver or Resolver(), host.strip("[]"), int(port))
            connection = await connect(
                f"ws://{shown}{PATH}",
                sock=opened,
                open_timeout=None,
                close_timeout=CLOSE_S_MAX,
                ping_interval=None,
                compression=None,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=4,
                proxy=None,
                user_agent_header=None,
            )
    except (TimeoutError, OSError, WebSocketException, ValueError) as error:
        raise TransportFailure(f"no Sheaf answers at {address}") from error
    return FrameSocket(connection, address)


async def dial_tunnel(address: str, token: bytes, *, resolver: Resolver | None = None) -> RawStream:
    """Join the tunnel that `token` was agreed for, at the listener of `host:port`.

    Raises:
        TransportFailure: nobody listens there, or the token is not expected.
    """
    return await join_tunnel(await dial(address, resolver=resolver), token, answer_s_max=DIAL_S_MAX)


async def join_tunnel(link: FrameSocket, token: bytes, *, answer_s_max: float) -> RawStream:
    """Turn a fresh connection into the tunnel of `token`; it is closed when that fails.

    Raises:
        TransportFailure: the token is not expected there, or nobody answers in time.
    """
    try:
        async with asyncio.timeout(answer_s_max):
            await link.send(TunnelJoin(token))
            answer = await link.receive()
    except (TimeoutError, WireError) as error:
        link.abort()
        raise TransportFailure(f"{link.label} did not join the tunnel") from error
    except BaseException:
        link.abort()
        raise
    match answer:
        case TunnelJoined():
            return RawStream(link)
        case TunnelElsewhere(url):
            await link.close()
            raise TunnelIsElsewhere(url)
        case _:
            await link.close()
            raise TransportFailure(f"{link.label} does not expect this tunnel")


class TunnelIsElsewhere(TransportFailure):
    """Another node of the relay has the other side; `url` is what it said, unchecked."""

    def __init__(self, url: str) -> None:
        super().__init__("the other side waits at another node of the relay")
        self.url = url


def host_port(peer: object) -> str:
    """'host:port' of a socket address tuple, with IPv4-mapped addresses unmapped."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return "unknown"
    host, port = str(peer[0]).removeprefix("::ffff:"), peer[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
