"""Ctrl-C in a command that waits: looked at between two requests, so that it cannot get lost.

An exception in the middle of a request may leave the HTTP library's lock taken (it is raised between
taking the lock and entering the `with`), and whatever is asked next, such as taking a code back, then
waits for ever. So the first Ctrl-C is only noted. A second one interrupts at once, for a daemon that
does not answer. Must not know what is waited for.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_SLICE_S = 0.05


class Waiting:
    """`with Waiting() as waiting:` around everything from the first request to the last.

    Where Python cannot set handlers (outside the main thread), Ctrl-C stays what it was.
    """

    def __init__(self) -> None:
        self._is_interrupted = False
        self._before: Any = None

    def __enter__(self) -> Waiting:
        is_settable = threading.current_thread() is threading.main_thread()
        if is_settable and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """A safe place to be interrupted. Raises KeyboardInterrupt after a Ctrl-C; each counts once."""
        if self._is_interrupted:
            self._is_interrupted = False
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Wait this long, or until Ctrl-C. Raises KeyboardInterrupt."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(_SLICE_S, left_s))
        self.check()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_interrupted:
            self._is_interrupted = False
            raise KeyboardInterrupt
        self._is_interrupted = True
