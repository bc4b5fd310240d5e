"""The signals that end a long command, heard until the process is gone.

Handlers are set with `signal.signal` and not with the loop's `add_signal_handler`: the loop takes
its handlers away when it closes, and a second Ctrl-C or SIGTERM would then kill a process that is
just ending cleanly. Must not know what stops; knows no loop but the one it is made in.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

import structlog

FORCED_EXIT_CODE: Final = 130
"""What a shell reports for a process ended by Ctrl-C."""
_PRESSES_TO_FORCE: Final = 3
_STOPPING: Final = ("SIGTERM", "SIGINT", "SIGBREAK")
_TERMINAL: Final = "/dev/tty"

_log = structlog.get_logger("sheaf.signals")


class StopSignals:
    """Waits for a signal that asks this process to stop. Make it in the main thread, inside the loop.

    Invariants:
    1. SIGTERM and SIGINT ask for a clean end; further ones change nothing, except that the third
       SIGINT ends the process at once, for a stop that hangs. Nothing that was saved depends on it.
    2. No SIGHUP kills the process. With a terminal at the start, SIGHUP means that the terminal went
       away, and asks for a clean end. Without one (a service) it means: read again what can be read again.
    3. A SIGHUP that was ignored at the start (nohup) stays ignored, unless there is something to read again.
    """

    def __init__(self, *, reload: Callable[[], None] | None = None) -> None:
        self._reload = reload
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._presses = 0
        self._is_told = False
        self._is_ignoring_hangups = False
        self._had_terminal = False

    def listen(self) -> StopSignals:
        """Set the handlers. They stay for the rest of the process."""
        for name in _STOPPING:
            if (number := getattr(signal, name, None)) is not None:
                signal.signal(number, self._on_stop)
        if (hangup := getattr(signal, "SIGHUP", None)) is not None:
            self._had_terminal = _has_terminal()
            self._is_ignoring_hangups = signal.getsignal(hangup) == signal.SIG_IGN
            if not self._is_ignoring_hangups or self._reload is not None:
                signal.signal(hangup, self._on_hangup)
        atexit.register(_ignore_all)  # Python resets handlers before it is gone, but keeps SIG_IGN
        return self

    @property
    def is_wanted(self) -> bool:
        """Whether the end was asked for."""
        return self._wanted.is_set()

    async def wait(self) -> None:
        """Return once the end was asked for."""
        await self._wanted.wait()

    # ------------------------------------------------------------------ in the handler: count and hand on

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._presses += 1
            if self._presses >= _PRESSES_TO_FORCE:
                os._exit(FORCED_EXIT_CODE)
        elif self._is_told:  # short, since the next signal may interrupt it already
            return
        else:
            self._is_told = True
        self._hand_on(lambda: self._stop(signal.Signals(number).name))

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._hand_on(self._hang_up)

    def _hand_on(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the end has come already
            self._loop.call_soon_threadsafe(work)

    # ------------------------------------------------------------------ in the loop

    def _stop(self, why: str) -> None:
        if not self._wanted.is_set():
            _log.info("asked to stop", signal=why)
        elif self._presses > 1:
            _log.info("still stopping; another Ctrl-C ends it at once, nothing saved is lost")
        self._wanted.set()

    def _hang_up(self) -> None:
        is_terminal_gone = self._had_terminal and not self._is_ignoring_hangups and not _has_terminal()
        if self._reload is not None and not is_terminal_gone:
            self._reload()
        elif self._had_terminal and not self._is_ignoring_hangups:
            self._stop("SIGHUP: the terminal went away")
            _forget_terminal()
        else:
            _log.info("SIGHUP changes nothing: settings are read at the start")


def _ignore_all() -> None:
    sys.unraisablehook = _drop  # Python tells of a signal that it drops because it came just before
    for name in (*_STOPPING, "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def _drop(_told: object) -> None:
    """The process is at its end: nothing is left that could be told."""


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal that is still there (tty(4))."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _forget_terminal() -> None:
    """Send what is still printed nowhere: a failed write at the very end would become the exit code."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        if not _goes_to_a_file(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _goes_to_a_file(descriptor: int) -> bool:
    try:
        return not stat.S_ISCHR(os.fstat(descriptor).st_mode)
    except OSError:
        return False
