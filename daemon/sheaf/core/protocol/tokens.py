"""Tokens: what the shell was asked to do and will answer, exactly once each."""

from __future__ import annotations

from typing import TypeVar

_PendingT = TypeVar("_PendingT")


class Tokens:
    """Numbers for pending work of one session; how many there can be is bounded by credit."""

    def __init__(self) -> None:
        self._pending: dict[int, object] = {}
        self._last = 0

    def issue(self, pending: object) -> int:
        """A fresh token that stands for `pending`."""
        self._last += 1
        self._pending[self._last] = pending
        return self._last

    def take(self, token: int, kind: type[_PendingT]) -> _PendingT | None:
        """What the token stands for; None when the session closed meanwhile."""
        pending = self._pending.pop(token, None)
        assert pending is None or isinstance(pending, kind), "a token answered with the wrong method"
        return pending

    def clear(self) -> None:
        """Nothing is waited for any more."""
        self._pending.clear()
