"""A channel over a byte stream: TLS inside, and inside that length-prefixed frames.

Works over any `ByteStream`: to a peer's LAN listener, or through a relay. PROTOCOL §5 "Paths",
§7 TUNNEL_JOIN. Knows nothing of WebSockets or of what the frames mean.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import KIB, UNAUTHENTICATED_BYTES_MAX
from sheaf.ports import ByteStream, ChannelReceiver, PathKind
from sheaf.transport.delivery import CHANNEL_FRAME_BYTES_MAX, CLOSED_HERE, Delivery, check_outgoing
from sheaf.transport.tls import TlsSession

_log = logging.getLogger(__name__)

HANDSHAKE_S_MAX: Final = 10.0
FLUSH_S_MAX: Final = 1.0
CHUNK_BYTES_MAX: Final = 32 * KIB
_LENGTH_BYTES: Final = 4


class TunnelChannel:
    """One end of a tunnel; `run` drives it and returns when it is over.

    Invariants:
    1. One reader and one writer per channel; no task per message.
    2. Received plaintext held back is less than one frame.
    3. `channel_closed` comes after the last whole frame.
    """

    def __init__(self, *, stream: ByteStream, tls: TlsSession, path: PathKind = PathKind.TUNNEL) -> None:
        self._path = path
        self._stream = stream
        self._tls = tls
        self._delivery = Delivery()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._unsent = asyncio.Event()
        self._flushed = asyncio.Event()
        self._ended = asyncio.Event()
        self._released = asyncio.Event()
        self._is_closing = False

    # ------------------------------------------------------------------ the channel

    @property
    def path(self) -> PathKind:
        return self._path

    @property
    def description(self) -> str:
        how = "relayed, tls" if self._path is PathKind.RELAY else "tcp, tls"
        return f"{self._stream.label} ({how})"

    @property
    def buffered_bytes(self) -> int:
        return 0 if self._delivery.is_closed else len(self._outgoing)

    def attach(self, receiver: ChannelReceiver) -> None:
        self._delivery.attach(receiver)

    def send(self, frame: bytes) -> None:
        if self._is_closing or self._delivery.is_closed:
            return
        check_outgoing(frame)
        try:
            self._tls.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)
        except TransportFailure as error:
            self._end(str(error))
            return
        self._collect()
        self._delivery.sent(len(self._outgoing))

    async def close(self) -> None:
        """Flush for at most a second, then end. Idempotent."""
        if not self._is_closing:
            self._is_closing = True
            self._tls.shutdown()
            self._collect()
            try:
                await self._flush()
            finally:  # also when whoever closes is cancelled: another close waits for the release
                self._end(CLOSED_HERE)
        await self._released.wait()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S_MAX):
                while self._outgoing and not self._delivery.is_closed:
                    self._flushed.clear()
                    await self._flushed.wait()
        except TimeoutError:
            _log.info("tunnel closed with unsent data bytes=%d", len(self._outgoing))

    # ------------------------------------------------------------------ the driver

    async def handshake(self) -> None:
        """Make the TLS connection.

        Raises:
            TransportFailure: not within 10 s, not the pinned peer, or too much said before.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_S_MAX):
                await self._shake_hands()
        except TimeoutError as error:
            raise TransportFailure("the secure handshake took too long") from error

    async def _shake_hands(self) -> None:
        received = 0
        self._tls.handshake()
        while True:
            if answer := self._tls.outgoing():
                await self._stream.send(answer)
            if self._tls.is_ready:
                return
            data = await self._stream.receive()
            if data is None:
                raise TransportFailure("the other end hung up during the handshake")
            received += len(data)
            if received > UNAUTHENTICATED_BYTES_MAX:
                raise TransportFailure("the other end talks too much before saying who it is")
            self._tls.feed(data, self._incoming)

    async def run(self) -> None:
        """Carry frames until the end of the connection, whoever ends it. After `handshake`."""
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._read()), group.create_task(self._write())]
                await self._ended.wait()
                for worker in workers:
                    worker.cancel()
        finally:
            await self.abandon("the connection broke")

    async def abandon(self, reason: str) -> None:
        """End without flushing; also for a channel whose handshake failed."""
        self._end(reason)
        await self._stream.close()
        self._released.set()

    async def _read(self) -> None:
        reason = self._deliver()
        while reason is None and (data := await self._stream.receive()) is not None:
            try:
                self._tls.feed(data, self._incoming)
            except TransportFailure as error:
                reason = self._deliver() or str(error)  # (3)
            else:
                reason = self._deliver()
        self._end(reason or "the connection broke")

    async def _write(self) -> None:
        while True:
            if not self._outgoing:
                self._flushed.set()
                self._unsent.clear()
                await self._unsent.wait()
            chunk = bytes(self._outgoing[:CHUNK_BYTES_MAX])
            try:
                await self._stream.send(chunk)
            except TransportFailure as error:
                self._end(str(error))
                return
            del self._outgoing[: len(chunk)]
            self._delivery.drained(len(self._outgoing))

    def _collect(self) -> None:
        self._outgoing += self._tls.outgoing()
        if self._outgoing:
            self._unsent.set()

    def _end(self, reason: str) -> None:
        self._delivery.closed(reason)
        self._flushed.set()
        self._ended.set()

    def _deliver(self) -> str | None:
        """Hand over every whole frame; returns why the channel must end, or None."""
        buffer = self._incoming
        position = 0
        while len(buffer) - position >= _LENGTH_BYTES:
            start = position + _LENGTH_BYTES
            length = int.from_bytes(buffer[position:start], "big")
            if not 0 < length <= CHANNEL_FRAME_BYTES_MAX:
                return f"the peer sent a frame of {length} bytes"
            if len(buffer) - start < length:
                break
            position = start + length
            if (refusal := self._delivery.frame(bytes(buffer[start:position]))) is not None:
                return refusal
        del buffer[:position]
        return None
