"""The long-lived connections of the door, so that a stopping daemon can end them first."""

from __future__ import annotations

from collections.abc import Callable


class Hangups:
    """Callbacks that end one connection each. Callbacks only enqueue."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self.is_stopping = False

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, hang_up: Callable[[], None]) -> Callable[[], None]:
        """Register a connection; returns how to take it off the list."""
        number = self._next
        self._next += 1
        self._callbacks[number] = hang_up

        def remove() -> None:
            self._callbacks.pop(number, None)

        return remove

    def hang_up_all(self) -> None:
        """End every connection, and those that still come."""
        self.is_stopping = True
        for hang_up in tuple(self._callbacks.values()):
            hang_up()
