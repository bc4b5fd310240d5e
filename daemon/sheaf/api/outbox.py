"""What waits to be sent to one tab: bounded, ordered, with a deadline on every send.

uvicorn never drops a client that does not read, so the outbox does: when none
of what was given to the transport leaves it for as long as the deadline, the connection
ends. A slow line is no reason: as long as bytes move, the deadline moves too. What waits
behind a slow frame is condensed when there is too much of it. When nothing waits, a frame is
written in the very call that pushed it: a keystroke costs no task switch here.

Invariants:
1. Frames leave in the order they were pushed, but for what `condense` puts together.
2. At most one send is under way.
3. After `close` or a failure nothing is accepted; pushing is then harmless.
4. Beside what was reserved, at most `QUEUE_FRAMES_MAX` frames and `QUEUE_BYTES_MAX` bytes wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sheaf.core.base.limits import MIB

QUEUE_FRAMES_MAX: Final = 256
QUEUE_BYTES_MAX: Final = 4 * MIB
SEND_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 2.0
_LOOKS_PER_DEADLINE: Final = 10

SendFrame = Callable[[bytes], Coroutine[Any, Any, None]]
SendClose = Callable[[int, str], Awaitable[None]]
Condense = Callable[[Sequence[bytes]], list[bytes]]


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


@dataclass(slots=True)
class _Reserved:
    """A place in the queue for frames that are still being made (`frames` is None), or wait their turn."""

    when_sent: Callable[[], None]
    frames: deque[bytes] | None = None


class Outbox:
    """The outgoing side of one connection; `run` is its one task.

    Args:
        unsent_bytes: how much of what was sent has not left the process yet.
        condense: makes fewer frames with the same news of those that wait.
    """

    def __init__(
        self,
        *,
        send_frame: SendFrame,
        send_close: SendClose,
        deadline_s: float = SEND_DEADLINE_S,
        close_code_when_full: int,
        unsent_bytes: Callable[[], int] = lambda: 0,
        condense: Condense = list,
    ) -> None:
        self._send_frame = send_frame
        self._send_close = send_close
        self._deadline_s = deadline_s
        self._close_code_when_full = close_code_when_full
        self._unsent_bytes = unsent_bytes
        self._condense = condense
        self._queue: deque[bytes | _Reserved] = deque()
        self._queued_frames = self._queued_bytes = 0
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
        self._queue.append(frame)
        self._queued_frames += 1
        self._queued_bytes += len(frame)
        if self._is_full:
            self._make_room()
        self._wakeup.set()

    def reserve(self, when_sent: Callable[[], None]) -> Callable[[Iterable[bytes]], None]:
        """Keep the next place for frames that take a while to make; the result is called with them.

        `when_sent` is called once the last of them has been sent. The caller bounds how much this is.
        """
        place = _Reserved(when_sent)
        self._queue.append(place)

        def fill(frames: Iterable[bytes]) -> None:
            place.frames = deque(frames)
            self._wakeup.set()

        return fill

    @property
    def _is_full(self) -> bool:
        return self._queued_frames > QUEUE_FRAMES_MAX or self._queued_bytes > QUEUE_BYTES_MAX

    def _make_room(self) -> None:
        if self._queued_bytes <= QUEUE_BYTES_MAX:
            self._condense_queue()
        if self._is_full:
            self.close(self._close_code_when_full, "too slow")

    def _condense_queue(self) -> None:
        reserved = [place for place in self._queue if isinstance(place, _Reserved)]
        frames = self._condense([frame for frame in self._queue if isinstance(frame, bytes)])
        self._queue = deque([*reserved, *frames])
        self._queued_frames, self._queued_bytes = len(frames), sum(map(len, frames))

    def close(self, code: int, reason: str) -> None:
        """End the connection with `code`; frames still waiting are dropped. The first call counts."""
        if self._closing is None:
            self._closing = (code, reason)
            self._queue.clear()
            self._queued_frames = self._queued_bytes = 0
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
            frame = self._next_frame()
            if frame is None:
                return
            self._start(frame)
        raise SendFailed("the client is gone")

    def _next_frame(self) -> bytes | None:
        while self._queue:
            head = self._queue[0]
            if isinstance(head, bytes):
                self._queue.popleft()
                self._queued_frames -= 1
                self._queued_bytes -= len(head)
                return head
            if head.frames is None:
                return None
            if head.frames:
                return head.frames.popleft()
            self._queue.popleft()
            head.when_sent()
            self._condense_queue()  # what came meanwhile is news of one moment to who has waited so long
        return None

    async def _complete(self, sending: _Rest) -> None:
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                watch = _Progress(self._unsent_bytes, deadline, self._deadline_s)
                try:
                    await sending
                finally:
                    watch.end()
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


class _Progress:
    """Moves a deadline on whenever less is unsent than before."""

    def __init__(self, unsent_bytes: Callable[[], int], deadline: asyncio.Timeout, patience_s: float) -> None:
        self._unsent_bytes = unsent_bytes
        self._deadline = deadline
        self._patience_s = patience_s
        self._least = unsent_bytes()
        self._loop = asyncio.get_running_loop()
        self._look_again()

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(self._patience_s / _LOOKS_PER_DEADLINE, self._look)

    def _look(self) -> None:
        unsent = self._unsent_bytes()
        if unsent < self._least and not self._deadline.expired():
            self._least = unsent
            self._deadline.reschedule(self._loop.time() + self._patience_s)
        self._look_again()

    def end(self) -> None:
        self._timer.cancel()
