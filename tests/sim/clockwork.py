"""Virtual time: actions in order of their moment, ties in order of arrival."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Clockwork:
    """The only clock of a simulation."""

    def __init__(self) -> None:
        self.now = 1.0
        self._heap: list[tuple[float, int, Action]] = []
        self._count = 0

    def at(self, moment: float, action: Action) -> None:
        """Do `action` at `moment` (now, when that has passed)."""
        self._count += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._count, action))

    def after(self, delay_s: float, action: Action) -> None:
        """Do `action` in `delay_s` seconds."""
        self.at(self.now + delay_s, action)

    def run_until(self, moment: float) -> None:
        """Let time pass."""
        while self._heap and self._heap[0][0] <= moment:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = moment
