"""uvicorn's WebSocket, with what it lacks for a tab on a slow line and for one that does not behave.

* The app can drop the connection, and see how much of what it sent has not left yet.
* Any byte from the client is life. uvicorn wants its pong, which may wait behind a large message.
* A message above the limit is not answered with 1009, after which stock providers come back and send it
  again: nothing of it is read, and the app closes with a code and a reason of its own.
* No lingering with a client that does not read.

Must not know documents or frames.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close, CloseCode, Frame, Opcode

from sheaf.core.base.limits import KIB

ABORT_EXTENSION: Final = "sheaf.abort"
"""Where the app finds the function that drops the TCP connection."""
UNSENT_EXTENSION: Final = "sheaf.unsent"
"""Where the app finds the function that counts bytes that have not left yet."""
OVERSIZED_MESSAGE: Final = "sheaf.oversized"
"""The type of what the app receives in place of a message above the limit."""
_LINGER_S: Final = 10.0
_SEEN_S: Final = 1.0
"""How long a client whose message is too large has for reading why."""
_NOT_SENT_BYTES: Final = 128 * KIB
"""What the kernel takes beyond what the client has room for; so progress is seen in small steps."""


class SyncProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection of the local door."""

    _heard_at = 0.0
    _given_bytes = 0
    _left_at_ping = 0
    _is_oversized = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)

    async def run_asgi(self) -> None:
        transport = self.transport
        extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]  # uvicorn says dict of dicts
        extensions[ABORT_EXTENSION] = transport.abort
        extensions[UNSENT_EXTENSION] = transport.get_write_buffer_size
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(_LINGER_S, transport.abort)

    # ------------------------------------------------------------------ life

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)

    def send_keepalive_ping(self) -> None:
        self._left_at_ping = self._left_bytes
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        is_alive = self._heard_at > self.ping_sent_at or self._left_bytes > self._left_at_ping
        if is_alive or self.read_paused:  # when paused, it is we who do not listen
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.transport.abort()

    @property
    def _left_bytes(self) -> int:
        """How much of what the app gave us the client has taken, or the kernel for it."""
        return self._given_bytes - self.transport.get_write_buffer_size()

    # ------------------------------------------------------------------ what is too large

    def handle_parser_exception(self) -> None:
        close = self.conn.close_sent
        if close is None or close.code != CloseCode.MESSAGE_TOO_BIG:
            super().handle_parser_exception()
            return
        self._is_oversized = True
        self.conn.data_to_send()  # the 1009 that is not said
        self.read_paused = True
        self.transport.pause_reading()
        oversized: Any = {"type": OVERSIZED_MESSAGE}  # no message of ASGI
        self.queue.put_nowait(oversized)

    async def send(self, message: Any) -> None:
        if not self._is_oversized:
            self._given_bytes += len(message.get("bytes") or b"")
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        if message["type"] != "websocket.close" or self.close_sent:
            return  # the parser is past sending anything else
        payload = Close(message["code"], message["reason"]).serialize()
        self.transport.write(Frame(Opcode.CLOSE, payload).serialize(mask=False))
        self.close_sent = True
        # Closing with bytes unread resets the connection: the client is given time to see the code first.
        self.close_timer = self.loop.call_later(_SEEN_S, self.transport.close)

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty() and not self._is_oversized:
            self.read_paused = False
            self.transport.resume_reading()
        return message
