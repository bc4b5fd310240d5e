"""The tab that every server is measured with: the same Python, the same document, three framings.

The y-websocket wire protocol, which Hocuspocus puts behind the document's name. A keystroke is
seen when it is in the other tab's document, so merged and split updates count the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pycrdt
from websockets.asyncio.client import ClientConnection, connect

from tests.support.tab import STEP1, STEP2, SYNC, UPDATE, read_uvar, sync_frame, write_uvar

SYNC_REPLY, HOCUSPOCUS_AUTH, QUERY_AWARENESS = 4, 2, 3
SEEN_S_MAX = 30.0


class BenchTab:
    """One open document; it only ever grows at the end, so its length says what has come."""

    def __init__(self, socket: ClientConnection, prefix: bytes) -> None:
        self.socket = socket
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("text", type=pycrdt.Text)
        self.arrivals: list[float] = []
        """When each character arrived, by its place; what is typed here is not in it."""
        self._prefix = prefix
        self._is_synced = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_over = False

    async def begin(self) -> None:
        """Exchange states; returns when the server's is here."""
        await self.socket.send(self._prefix + sync_frame(STEP1, self.doc.get_state()))
        await asyncio.wait_for(self._is_synced.wait(), SEEN_S_MAX)

    async def type(self) -> None:
        """Append one character and send it."""
        before = self.doc.get_state()
        self.text.insert(len(self.text), "x")
        await self.socket.send(self._prefix + sync_frame(UPDATE, self.doc.get_update(before)))

    async def keep_alive(self) -> None:
        """Say something: Hocuspocus hangs up on a tab that has been silent for a minute."""
        await self.socket.send(self._prefix + bytes([QUERY_AWARENESS]))

    async def seen(self, length: int) -> None:
        """Wait until that many characters are here. Raises TimeoutError, ConnectionError."""
        async with asyncio.timeout(SEEN_S_MAX):
            while len(self.arrivals) < length:
                if self._is_over:
                    raise ConnectionError(f"the server closed with {self.socket.close_code}")
                self._changed.clear()
                await self._changed.wait()

    async def run(self) -> None:
        """Receive until the socket closes."""
        try:
            await self._receive_all()
        finally:
            self._is_over = True
            self._changed.set()

    async def _receive_all(self) -> None:
        async for message in self.socket:
            assert isinstance(message, bytes)
            now = time.perf_counter()
            if not message.startswith(self._prefix):
                continue
            kind, pos = read_uvar(message, len(self._prefix))
            if kind not in (SYNC, SYNC_REPLY):
                continue
            step, pos = read_uvar(message, pos)
            length, pos = read_uvar(message, pos)
            payload = message[pos : pos + length]
            if step == STEP1:
                await self.socket.send(self._prefix + sync_frame(STEP2, self.doc.get_update(payload)))
                continue
            self.doc.apply_update(payload)
            if step == STEP2:
                self._is_synced.set()
            self.arrivals += [now] * (len(self.text) - len(self.arrivals))
            self._changed.set()


@asynccontextmanager
async def open_bench_tab(
    url: str, *, subprotocols: Sequence[str] = (), hocuspocus_document: str | None = None
) -> AsyncIterator[BenchTab]:
    """A synced tab.

    Args:
        url: ws://…, document included (for Hocuspocus it does not matter).
        subprotocols: to offer.
        hocuspocus_document: speak Hocuspocus' framing, for this document.
    """
    prefix = b""
    if hocuspocus_document is not None:
        prefix = _var_string(hocuspocus_document)
    options = {"subprotocols": list(subprotocols)} if subprotocols else {}
    async with connect(url, compression=None, proxy=None, max_size=None, **options) as socket:  # type: ignore[arg-type]
        tab = BenchTab(socket, prefix)
        runner = asyncio.ensure_future(tab.run())
        try:
            if prefix:
                greeting = bytes([HOCUSPOCUS_AUTH, 0]) + _var_string("token") + _var_string("4.7.0")
                await socket.send(prefix + greeting)
            await tab.begin()
            yield tab
        finally:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)


def _var_string(text: str) -> bytes:
    data = text.encode()
    return write_uvar(len(data)) + data
