"""A TCP proxy that deals connections out in turn, as a load balancer without memory does.

It runs on a thread with an event loop of its own, so that synchronous tests can use it too.
A target that refuses is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

_CHUNK_BYTES = 64 * 1024


class RoundRobin:
    """Listens on a free port of `host` and hands each connection to the next port there that takes it."""

    def __init__(self, targets: Sequence[int], *, host: str) -> None:
        self._targets = list(targets)
        self._host = host
        self._turn = 0
        self.port = 0
        self.served: list[int] = []
        """The targets of all connections so far, in order."""

    async def serve(self, started: threading.Event, ended: asyncio.Event) -> None:
        """Accept until `ended`."""
        server = await asyncio.start_server(self._serve_one, self._host, 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            found = await self._next_target()
            if found is not None:
                await asyncio.gather(_copy(reader, found[1]), _copy(found[0], writer))
        writer.close()

    async def _next_target(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            port = self._targets[self._turn % len(self._targets)]
            self._turn += 1
            with contextlib.suppress(OSError):
                streams = await asyncio.open_connection(self._host, port)
                self.served.append(port)
                return streams
        return None


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


@contextlib.contextmanager
def round_robin(
    targets: Sequence[int],
    *,
    host: str = "127.0.0.1",
    enter: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[RoundRobin]:
    """Run a proxy in front of these ports for as long as the block lasts.

    Its thread lives in `enter()`: a network namespace, say.
    """
    proxy = RoundRobin(targets, host=host)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    def run() -> None:
        with enter(), asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.serve(started, ended))

    thread = threading.Thread(target=run, name="round robin")
    thread.start()
    assert started.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
