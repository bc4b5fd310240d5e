"""A y-websocket client in Python: a tab without a browser, for tests and benchmarks.

Speaks the same wire protocol as the stock provider (sync step 1/2, updates, awareness)
and understands the daemon's acknowledgement (message 101).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pycrdt
from websockets.asyncio.client import ClientConnection, connect

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

    def __init__(self, socket: ClientConnection, doc: pycrdt.Doc) -> None:
        self.socket = socket
        self.doc = doc
        self.sent = 0
        self.acked = 0
        self.is_synced = False
        self.on_update: Callable[[bytes], None] | None = None
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
        """Receive until the socket closes."""
        async for message in self.socket:
            assert isinstance(message, bytes)
            await self._received(message)
            self._changed.set()

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

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
        """Wait until something received makes `condition` true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def saved(self, timeout_s: float = 15.0) -> None:
        await self.until(lambda: self.is_saved, timeout_s=timeout_s)


@asynccontextmanager
async def open_tab(
    url: str, token: str, document_id: str, *, doc: pycrdt.Doc | None = None
) -> AsyncIterator[Tab]:
    """Open a document as a tab does; synced on entry. `url` is the daemon's http URL."""
    address = url.replace("http://", "ws://") + f"/sync/{document_id}"
    async with connect(
        address,
        subprotocols=[f"sheaf.bearer.{token}", "sheaf"],  # type: ignore[list-item]
        max_size=64 * 1024 * 1024,
        compression=None,
        proxy=None,
    ) as socket:
        tab = Tab(socket, doc if doc is not None else pycrdt.Doc())
        async with asyncio.TaskGroup() as group:
            runner = group.create_task(tab.run())
            await socket.send(sync_frame(STEP1, tab.doc.get_state()))
            await tab.until(lambda: tab.is_synced)
            try:
                yield tab
            finally:
                runner.cancel()
