"""A WebSocket spoken by hand, for crowds: a tenth of what a library's connection costs, and it may misbehave.

Messages go out with a mask of zeros and whole; answers are expected unmasked and whole, as servers send
them. Knows nothing of what is inside. RFC 6455.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Final

HANDSHAKE: Final = (
    b"GET %b HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
PATH: Final = b"/sheaf"
BINARY, TEXT, CLOSE = 2, 1, 8
_MASK: Final = bytes(4)

Receive = Callable[["RawWebSocket", bytes], None]


def handshake(*, path: bytes = PATH, headers: bytes = b"") -> bytes:
    """The request that opens a WebSocket; `headers`: more lines, each with its CRLF."""
    return HANDSHAKE % (path, headers)


def masked(payload: bytes, opcode: int = BINARY, *, is_first_reserved_bit_set: bool = False) -> bytes:
    """One whole frame from a client; with the reserved bit it claims to be compressed (RFC 7692)."""
    first = 0x80 | opcode | (0x40 if is_first_reserved_bit_set else 0)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + _MASK + payload


class RawWebSocket(asyncio.Protocol):
    """One connection. `receive(self, message)` is called for each message, while reading."""

    __slots__ = (
        "_buffer",
        "_can_write",
        "_receive",
        "close_code",
        "ended",
        "is_open",
        "opened",
        "response",
        "tag",
        "transport",
    )

    def __init__(self, receive: Receive, tag: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._receive = receive
        self._buffer = b""
        self._can_write: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport
        self.tag = tag
        self.is_open = False
        self.opened: asyncio.Future[bool] = loop.create_future()
        """True when the server agreed, False when it did not."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self.close_code: int | None = None
        """Of the server's closing frame."""
        self.response = b""
        """The head of its answer to the handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self.is_open:
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self.response, self.is_open = head, True
            if not self.opened.done():
                self.opened.set_result(b" 101 " in head[:16])
        self._buffer = self._take_messages(buffer)

    def _take_messages(self, buffer: bytes) -> bytes:
        position, available = 0, len(buffer)
        while available - position >= 2:
            size, head = buffer[position + 1], 2
            if size == 126 and available - position >= 4:
                size, head = int.from_bytes(buffer[position + 2 : position + 4], "big"), 4
            elif size == 127 and available - position >= 10:
                size, head = int.from_bytes(buffer[position + 2 : position + 10], "big"), 10
            elif size >= 126:
                break
            if available - position < head + size:
                break
            message = buffer[position + head : position + head + size]
            if buffer[position] & 0x0F == CLOSE:
                self.close_code = int.from_bytes(message[:2], "big")
            else:
                self._receive(self, message)
            position += head + size
        return buffer[position:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_result(False)
        if not self.ended.done():
            self.ended.set_result(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._can_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        waiting, self._can_write = self._can_write, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def drain(self) -> None:
        """Wait until the server has read enough of what was sent."""
        if self._can_write is not None:
            await self._can_write

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Send a message without waiting."""
        self.transport.write(masked(payload, opcode))


async def open_raw(
    address: tuple[str, int],
    receive: Receive,
    *,
    source: str | None = None,
    tag: int = 0,
    headers: bytes = b"",
    path: bytes = PATH,
) -> RawWebSocket:
    """Connect and shake hands.

    Args:
        source: the local address to come from.

    Raises:
        ConnectionError: the server did not agree.
    """
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(
        lambda: RawWebSocket(receive, tag), *address, local_addr=(source, 0) if source else None
    )
    made.transport.write(handshake(path=path, headers=headers))
    if not await made.opened:
        made.transport.abort()
        raise ConnectionError(f"no WebSocket: {made.response[:100]!r}")
    return made


def sources(count: int) -> Sequence[str]:
    """Loopback addresses to come from: 127.0.0.2, 127.0.0.3 …"""
    return [f"127.0.0.{2 + number}" for number in range(count)]
