"""One connection to the relay: how frames get out of it and in, and what is remembered of it.

Knows the WebSocket library; neither what frames mean nor whom else there is. PROTOCOL §7.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Error, Frame, encode_frame
from sheaf.core.wire.relay_words import ErrorCode
from sheaf.relay.limits import Budget, RelayLimits

CLOSE_S_MAX: Final = 2.0
DISCARDED_MAX: Final = 64


class Client:
    """A connection that finished its WebSocket handshake.

    Invariants:
    1. What goes out is written at once into a bounded buffer; who does not read is let go.
    2. One task reads; anybody on the event loop may `push`.
    """

    __slots__ = (
        "_answer_bytes",
        "_bytes",
        "_connection",
        "_frames",
        "_limits",
        "_lost",
        "_owed",
        "address",
        "heard_at",
        "is_accepted",
        "is_dropped",
        "is_new",
        "is_tunnel",
        "plates",
        "rids",
        "side",
        "watches",
    )

    def __init__(
        self, connection: ServerConnection, *, address: str, limits: RelayLimits, now: float
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._lost: asyncio.Future[None] | None = None
        self.address = address
        """For limits; never logged."""
        self.heard_at = now
        self.is_new = True
        """Until its first frame."""
        self.is_accepted = False
        """Said the operator's token, or none is asked for."""
        self.is_dropped = False
        self.is_tunnel = False
        """It carries raw bytes by now."""
        self._frames = Budget(burst=limits.frames_burst, now=now)
        self._bytes = Budget(burst=limits.bytes_burst, now=now)
        self._owed = 0
        self._answer_bytes = 0
        self.rids: set[RendezvousId] | None = None
        self.watches: dict[bytes, Watch] | None = None
        self.plates: set[int] | None = None
        self.side: str | None = None
        _keep_kernel_queue_short(connection)

    # ------------------------------------------------------------------ out

    def push(self, frame: Frame) -> None:
        """Send a frame without waiting (1)."""
        self.push_raw(encode_frame(frame))

    def push_raw(self, data: bytes) -> bool:
        """Send an encoded frame without waiting; False when the connection is ending, or the client was let
        go for not reading (1)."""
        transport = self._connection.transport
        if self._connection.state is not State.OPEN or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > self._limits.unsent_bytes_max + self._answer_bytes:
            self.drop()
            return False
        broadcast((self._connection,), data)
        return True

    async def answered(self) -> None:
        """Wait until the buffer has drained, so that nobody asks faster than it reads.

        Raises:
            TransportFailure: it has read nothing for a long time; it is let go.
        """
        transport = self._connection.transport
        while self._connection.paused:
            unsent = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.send_s_max):
                    await self._connection.drain()
            except TimeoutError as error:
                if transport.get_write_buffer_size() < unsent:
                    continue  # a slow line, not a deaf client
                self.drop()
                raise TransportFailure("the client does not read") from error
            except (ConnectionClosed, OSError) as error:
                raise TransportFailure("the client is gone") from error
        self._answer_bytes = 0

    async def send_raw(self, data: bytes) -> None:
        """Send bytes of a tunnel; waits while more than the buffer is unsent.

        Raises:
            TransportFailure: gone, or it has not read anything for a long time.
        """
        connection = self._connection
        if connection.state is not State.OPEN or connection.transport.is_closing():
            raise TransportFailure("the client is gone")
        broadcast((connection,), data)
        await self.answered()

    # ------------------------------------------------------------------ in

    async def receive_raw(self) -> bytes | None:
        """The next binary message, or None at the end. Raises WireError on text."""
        try:
            data = await self._connection.recv()
        except (ConnectionClosed, OSError):
            return None
        except UnicodeDecodeError as error:
            raise WireError("a text message") from error
        if isinstance(data, str):
            raise WireError("a text message")
        return data

    def owe(self, size_bytes: int) -> None:
        """Count bytes of an answer that it asked for: towards its rate, and not as unread."""
        self._owed += size_bytes
        self._answer_bytes = size_bytes

    def spend(self, size_bytes: int, now: float, limits: RelayLimits) -> float:
        """Count a frame of `size_bytes` and what is owed; returns how long to wait before the next."""
        size_bytes, self._owed = size_bytes + self._owed, 0
        return max(
            self._frames.spend(1, now, burst=limits.frames_burst, per_s=limits.frames_per_s),
            self._bytes.spend(size_bytes, now, burst=limits.bytes_burst, per_s=limits.bytes_per_s),
        )

    # ------------------------------------------------------------------ the end

    async def say_last(self, code: ErrorCode) -> None:
        """Say why, and close. Called by the task that reads.

        Some of what the other side still sends is thrown away: unread, it would keep its good-bye
        from us. Whoever goes on and on is cut off when the time for closing is over.
        """
        self.push(Error(code))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.close())
            group.create_task(self._discard())

    async def _discard(self) -> None:
        for _ in range(DISCARDED_MAX):
            try:
                if await self.receive_raw() is None:
                    return
            except WireError:
                continue

    def part(self, code: ErrorCode) -> None:
        """Say why; the other side is expected to go. A tunnel carries no frames: it just ends later."""
        if not self.is_tunnel:
            self.push(Error(code))

    async def close(self) -> None:
        """Close in order, or by force within two seconds."""
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._connection.close()
        except (TimeoutError, OSError):
            self.drop()

    def is_overdue(self) -> bool:
        """Whether it should have ended long ago: the library waits for the other side's good-bye."""
        deadline = self._connection.close_deadline
        return deadline is not None and self._connection.loop.time() > deadline

    def drop(self) -> None:
        """Let it go at once."""
        self.is_dropped = True
        self._connection.transport.abort()

    def is_lost(self) -> asyncio.Future[None]:
        """A future that is done when the connection has ended; for who waits for something else."""
        if self._lost is None:
            self._lost = asyncio.get_running_loop().create_future()
        return self._lost

    def lost(self) -> None:
        """The connection has ended (told by the server)."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)


class Watch:
    """One mailbox that a client watches."""

    __slots__ = ("incarnation", "last", "token_hash")

    def __init__(self, token_hash: bytes) -> None:
        self.token_hash = token_hash
        self.last = 0
        """The newest position told."""
        self.incarnation: bytes | None = None
        """The one told; None before the first news."""


def _keep_kernel_queue_short(connection: ServerConnection) -> None:
    """Let the kernel hold at most 64 KiB unsent, so that what waits is counted here."""
    raw = connection.transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if raw is not None and option is not None:
        raw.setsockopt(socket.IPPROTO_TCP, option, 64 * 1024)
