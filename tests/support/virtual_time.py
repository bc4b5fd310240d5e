"""An event loop whose clock jumps to the next timer whenever nothing else is to be done.

For tests of things that wait for seconds: two seconds pass in no time, in the right order. Only for
code without threads and sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WALL_BEGIN_MS = 1_800_000_000_000
STUCK_S = 3600.0 * 24 * 365


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time is what the timers say."""

    def __init__(self) -> None:
        self.virtual_s = 1.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.virtual_s


class _Jumping(selectors.DefaultSelector):
    """Where the loop would sleep, the clock jumps."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits and nothing will ever happen")
        if not ready and timeout is not None and timeout > 0:
            self._loop.virtual_s += timeout + 1e-6
        return ready


class LoopClock:
    """`ports.Clock` on the running loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return WALL_BEGIN_MS + int(self.now() * 1000)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
