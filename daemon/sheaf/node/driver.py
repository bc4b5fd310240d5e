"""Wakes pure machines when they asked to be woken; the only place that sets their timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sheaf.ports import Clock


class WakeTimer:
    """One machine's alarm. `arm` after every event with the machine's `next_wake()`."""

    def __init__(self, *, clock: Clock, on_wake: Callable[[float], None]) -> None:
        self._clock = clock
        self._on_wake = on_wake
        self._handle: asyncio.TimerHandle | None = None
        self._due: float | None = None

    @property
    def due(self) -> float | None:
        """When it is set to wake."""
        return self._due

    def arm(self, due: float | None) -> None:
        """Wake at monotonic time `due`; None cancels. Keeps an alarm that is already right."""
        if due == self._due and (self._handle is not None or due is None):
            return
        self.cancel()
        self._due = due
        if due is not None:
            delay_s = max(0.0, due - self._clock.now())
            self._handle = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def cancel(self) -> None:
        """No alarm."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        self._due = None

    def _fire(self) -> None:
        self._handle = None
        self._due = None
        self._on_wake(self._clock.now())
