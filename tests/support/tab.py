"""A y-websocket client in Python: a tab without a browser, for tests and benchmarks.

Speaks the same wire protocol as the stock provider (sync step 1/2, updates, awareness)
and understands the daemon's acknowledgement (message 101).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SYNC, AWARENESS, AUTH, ACK = 0, 1, 2, 101
STEP1, STEP2, UPDATE = 0, 1, 2


def write_uvar(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(128 | (value & 127))
        value >>= 7
    out.append(value)
    return bytes(out)


def read_uvar(data: bytes, pos: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7


def sync_frame(kind: int, payload: bytes) -> bytes:
    return bytes([SYNC, kind]) + write_uvar(len(payload)) + payload


class Tab:
    """One open document. `doc` is a real Y.Doc; edits made in `edit` are sent at once."""

    def __init__(self, socket: ClientConnection, doc: pycrdt.Doc[pycrdt.Text]) -> None:
        self.socket = socket
        self.doc = doc
        self.sent = 0
        self.acked = 0
        self.is_synced = False
        self.on_update: Callable[[bytes], None] | None = None
        self.is_closed = False
        self.acks: Callable[[int], None] | None = None
        """Called with the count of durable frames whenever the daemon says it."""
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._pending: list[bytes] = []
        self._text = doc.get("text", type=pycrdt.Text)
        self._is_remote = False
        self._subscription = doc.observe(self._observed)

    @property
    def text(self) -> str:
        return str(self._text)

    @property
    def is_saved(self) -> bool:
        """Everything sent on this connection is durable at the daemon."""
        return self.is_synced and self.acked >= self.sent

    def _observed(self, event: pycrdt.TransactionEvent) -> None:
        if not self._is_remote:
            self._pending.append(event.update)

    async def edit(self, change: Callable[[pycrdt.Text], None]) -> None:
        with self.doc.transaction():
            change(self._text)
        await self.flush()

    async def flush(self) -> None:
        pending, self._pending = self._pending, []
        for update in pending:
            self.sent += 1
            await self.socket.send(sync_frame(UPDATE, update))

    async def insert(self, index: int, text: str) -> None:
        """Insert at a UTF-8 byte index."""
        await self.edit(lambda shared: shared.insert(index, text))

    async def append(self, text: str) -> None:
        await self.edit(lambda shared: shared.insert(len(shared), text))

    async def run(self) -> None:
        """Receive until the socket closes; whoever waits in `until` is told."""
        try:
            async for message in self.socket:
                assert isinstance(message, bytes)
                await self._received(message)
                self._changed.set()
        except ConnectionClosed:
            pass
        except Exception as failure:  # noqa: BLE001  # raised where somebody waits for this tab
            self._failure = failure
        finally:
            self.is_closed = True
            self._changed.set()

    @property
    def close_code(self) -> int | None:
        """The code the daemon closed with, once it has."""
        return self.socket.close_code

    def forget(self) -> None:
        """The connection is over; the document may be opened again by another Tab."""
        self.doc.unobserve(self._subscription)

    async def _received(self, message: bytes) -> None:
        kind, pos = read_uvar(message, 0)
        if kind == SYNC:
            step, pos = read_uvar(message, pos)
            length, pos = read_uvar(message, pos)
            payload = message[pos : pos + length]
            if step == STEP1:
                self.sent += 1
                await self.socket.send(sync_frame(STEP2, self.doc.get_update(payload)))
            else:
                self._is_remote = True
                try:
                    self.doc.apply_update(payload)
                finally:
                    self._is_remote = False
                if step == STEP2:
                    self.is_synced = True
                if self.on_update is not None:
                    self.on_update(payload)
        elif kind == ACK:
            self.acked, pos = read_uvar(message, pos)
            if self.acks is not None:
                self.acks(self.acked)

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
        """Wait until something received makes `condition` true.

        Raises:
            TimeoutError: it did not.
            ConnectionError: the daemon closed the connection first.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                if self._failure is not None:
                    raise self._failure
                if self.is_closed:
                    raise ConnectionError(f"the daemon closed with {self.close_code}")
                self._changed.clear()
                await self._changed.wait()

    async def closed(self, timeout_s: float = 15.0) -> int | None:
        """Wait until the daemon has closed the connection; returns its close code."""
        async with asyncio.timeout(timeout_s):
            while not self.is_closed:
                self._changed.clear()
                await self._changed.wait()
        return self.close_code

    async def saved(self, timeout_s: float = 15.0) -> None:
        await self.until(lambda: self.is_saved, timeout_s=timeout_s)


@asynccontextmanager
async def open_tab(
    url: str,
    token: str,
    document_id: str,
    *,
    doc: pycrdt.Doc[pycrdt.Text] | None = None,
    sock: socket.socket | None = None,
) -> AsyncIterator[Tab]:
    """Open a document as a tab does; synced on entry.

    Args:
        url: the daemon's http URL.
        token: a bearer token.
        document_id: what to open.
        doc: goes on with a document that an earlier tab held; None begins an empty one.
        sock: already connected (for a daemon in another network namespace).

    Raises:
        ConnectionError, OSError, WebSocketException: the daemon is not there or said no.
    """
    address = url.replace("http://", "ws://") + f"/sync/{document_id}?ack=1"
    async with connect(
        address,
        subprotocols=[f"sheaf.bearer.{token}", "sheaf"],  # type: ignore[list-item]
        max_size=64 * 1024 * 1024,
        compression=None,
        proxy=None,
        sock=sock,
    ) as websocket:
        tab = Tab(websocket, doc if doc is not None else pycrdt.Doc())
        runner = asyncio.ensure_future(tab.run())
        try:
            await websocket.send(sync_frame(STEP1, tab.doc.get_state()))
            await tab.until(lambda: tab.is_synced)
            yield tab
        finally:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
            tab.forget()
