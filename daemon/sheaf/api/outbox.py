"""What waits to be sent to one tab: bounded, ordered, with a deadline on every send.

uvicorn never drops a client that does not read (TRAPS 1.5), so the outbox does: a send
that takes longer than the deadline, or a queue above its limits, ends the connection,
and the tab resyncs when it is back. When nothing waits, a frame is written in the very
call that pushed it: a keystroke costs no task switch here.

Invariants:
1. Frames leave in the order they were pushed.
2. At most one send is under way.
3. After `close` or a failure nothing is accepted; pushing is then harmless.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final

from sheaf.core.base.limits import MIB

QUEUE_FRAMES_MAX: Final = 256
QUEUE_BYTES_MAX: Final = 4 * MIB
SEND_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 2.0

SendFrame = Callable[[bytes], Coroutine[Any, Any, None]]
SendClose = Callable[[int, str], Awaitable[None]]


class SendFailed(Exception):
    """The client is gone or did not read in time; the transport should be aborted."""


class _Rest:
    """A coroutine that was started by hand and stopped at its first wait; await it to finish it."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waiting_for: object) -> None:
        self._coroutine = coroutine
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waiting_for
        except BaseException as error:
            self._coroutine.throw(error)
            raise
        yield from self._coroutine.__await__()

    def close(self) -> None:
        """Give up on it."""
        self._coroutine.close()


class Outbox:
    """The outgoing side of one connection; `run` is its one task."""

    def __init__(
        self,
        *,
        send_frame: SendFrame,
        send_close: SendClose,
        deadline_s: float = SEND_DEADLINE_S,
        close_code_when_full: int,
    ) -> None:
        self._send_frame = send_frame
        self._send_close = send_close
        self._deadline_s = deadline_s
        self._close_code_when_full = close_code_when_full
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._under_way: _Rest | None = None
        self._closing: tuple[int, str] | None = None
        self._has_failed = False
        self._wakeup = asyncio.Event()

    def push(self, frame: bytes) -> None:
        """Send `frame`, now if possible; above the limits the connection is closed instead."""
        if self._closing is not None or self._has_failed:
            return
        if self._under_way is None and not self._queue:
            self._start(frame)
            return
        if len(self._queue) >= QUEUE_FRAMES_MAX or self._queued_bytes + len(frame) > QUEUE_BYTES_MAX:
            self.close(self._close_code_when_full, "too slow")
            return
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        self._wakeup.set()

    def close(self, code: int, reason: str) -> None:
        """End the connection with `code`; frames still waiting are dropped. The first call counts."""
        if self._closing is None:
            self._closing = (code, reason)
            self._queue.clear()
            self._queued_bytes = 0
            self._wakeup.set()

    async def run(self) -> None:
        """Send until closed.

        Raises:
            SendFailed: the client did not take a frame within the deadline, or is gone.
        """
        try:
            while True:
                await self._drain()
                if self._closing is not None:
                    await self._finish(*self._closing)
                    return
                await self._wakeup.wait()
                self._wakeup.clear()
        finally:
            self._has_failed = True
            if self._under_way is not None:
                self._under_way.close()

    def _start(self, frame: bytes) -> None:
        """Run the send by hand until it waits; uvicorn's does so only when the client lags."""
        coroutine = self._send_frame(frame)
        try:
            waiting_for = coroutine.send(None)
        except StopIteration:
            return
        except (OSError, RuntimeError):
            self._has_failed = True
        else:
            self._under_way = _Rest(coroutine, waiting_for)
        self._wakeup.set()

    async def _drain(self) -> None:
        """Finish the send under way, then start the next: by hand again, as most do not wait."""
        while not self._has_failed:
            if self._under_way is not None:
                await self._complete(self._under_way)
                self._under_way = None
            if not self._queue:
                return
            frame = self._queue.popleft()
            self._queued_bytes -= len(frame)
            self._start(frame)
        raise SendFailed("the client is gone")

    async def _complete(self, sending: _Rest) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await sending
        except TimeoutError as error:
            self._has_failed = True
            raise SendFailed("the client does not read") from error
        except (OSError, RuntimeError) as error:
            self._has_failed = True
            raise SendFailed("the client is gone") from error

    async def _finish(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(min(CLOSE_DEADLINE_S, self._deadline_s)):
                await self._send_close(code, reason)
        except (TimeoutError, OSError, RuntimeError) as error:
            raise SendFailed("the client did not take the close") from error
