"""A TCP proxy with a thin line behind it: so many bytes a second in each direction, and it counts them.

Its buffers are small, so that what is on its way waits at the sender, as it does on a real line.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_METHODS = (b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")
_CHUNK_BYTES = 8 * 1024
_SOCKET_BUFFER_BYTES = 32 * 1024


class SlowLine:
    """`bytes_per_s` may be changed at any time; None is as fast as the machine."""

    def __init__(self, target_port: int, bytes_per_s: float | None) -> None:
        self._target_port = target_port
        self.bytes_per_s = bytes_per_s
        self.port = 0
        self.sent_bytes = 0
        """From clients to the target."""
        self.received_bytes = 0
        self.connections = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            onward = socket.socket()
            onward.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
            onward.setblocking(False)
            await asyncio.get_running_loop().sock_connect(onward, ("127.0.0.1", self._target_port))
            target_reader, target_writer = await asyncio.open_connection(sock=onward, limit=_CHUNK_BYTES)
            there = asyncio.ensure_future(self._copy(reader, target_writer, is_sent=True))
            back = asyncio.ensure_future(self._copy(target_reader, writer, is_sent=False))
            try:
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copying in (there, back):
                    copying.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
                target_writer.transport.abort()
        writer.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_sent: bool) -> None:
        sink.transport.set_write_buffer_limits(high=_CHUNK_BYTES)
        while data := await source.read(_CHUNK_BYTES):
            if is_sent and data.startswith(_METHODS):  # the local door looks at Host and Origin
                data = data.replace(b":%d" % self.port, b":%d" % self._target_port)
            sink.write(data)
            await sink.drain()
            if is_sent:
                self.sent_bytes += len(data)
            else:
                self.received_bytes += len(data)
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.bytes_per_s)


@asynccontextmanager
async def slow_line(target_port: int, bytes_per_s: float | None) -> AsyncIterator[SlowLine]:
    """Run the proxy on a free port of 127.0.0.1."""
    line = SlowLine(target_port, bytes_per_s)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    server = await asyncio.start_server(line.serve_one, sock=listener, limit=_CHUNK_BYTES)
    line.port = listener.getsockname()[1]
    try:
        yield line
    finally:
        server.close()
