"""A tab with a stock y-websocket provider in a Node process (tests/e2e/js/tab.mjs)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.daemon import Daemon
from tests.support.node import node_executable, prepared
from tests.support.repository import ROOT

ANSWER_S_MAX = 90.0
SCRIPTS = ROOT / "tests" / "e2e" / "js"
_LINE_BYTES_MAX = 128 << 20


class StockTab:
    """The process; every command answers with what `look` says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._has_closed = asyncio.Event()
        self.closes: list[int] = []
        """The codes the daemon, or the line, hung up with."""
        self.reason = ""
        """Of the last one."""

    async def read(self) -> None:
        """Take in what the process says, until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "closed":
                self.closes.append(event["code"])
                self.reason = event["reason"]
                self._has_closed.set()
            else:
                self._answers.put_nowait(event)

    async def tell(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(ANSWER_S_MAX):
            return await self._answers.get()

    async def apply(self, update: bytes) -> dict[str, Any]:
        """Put an update into its document, as another provider would."""
        return await self.tell("apply", update=base64.b64encode(update).decode())

    async def until_closed(self, times: int) -> None:
        """Wait until it was hung up on so often."""
        async with asyncio.timeout(ANSWER_S_MAX):
            while len(self.closes) < times:
                self._has_closed.clear()
                await self._has_closed.wait()

    async def end(self) -> None:
        """It leaves when its input ends; one that does not is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def stock_tab(
    daemon: Daemon, document_id: str, *, version: int = 3, origin: str | None = None, connect: bool = True
) -> AsyncIterator[StockTab]:
    """Open a document with y-websocket 2.1 or 3.1; through `origin`, if that is another way to the daemon."""
    prepared(SCRIPTS)
    options = {
        "version": version,
        "url": (origin or daemon.url).replace("http://", "ws://") + "/sync",
        "token": daemon.token,
        "document_id": document_id,
        "connect": connect,
    }
    process = await asyncio.create_subprocess_exec(
        str(node_executable()),
        str(SCRIPTS / "tab.mjs"),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
    )
    tab = StockTab(process)
    reading = asyncio.ensure_future(tab.read())
    try:
        yield tab
    finally:
        await tab.end()
        await reading
