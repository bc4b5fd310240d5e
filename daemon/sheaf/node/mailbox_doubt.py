"""When a mailbox is read again from its start: does what we put there still stand there?

Sooner while there is reason to doubt it, seldom otherwise, ever less often while nothing changes, and
never while nobody is owed anything. Pure; see `mailbox_worker`.
"""

from __future__ import annotations

from typing import Final

LOOK_AGAIN_S: Final = 3600.0
DOUBT_S: Final = 30.0
"""So long a doubt may resolve itself."""
DOUBT_AGAIN_S: Final = 600.0
DOUBLINGS_MAX: Final = 5


class Doubts:
    """The moments of one worker."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._looks = 0
        self._doubted_at: float | None = None

    def due(self, now: float, *, is_doubtful: bool, is_owed: bool) -> float | None:
        """When to look again; None while there is no reason to."""
        if self._looked_at is None:
            self._looked_at = now
        if is_doubtful and self._doubted_at is None:
            self._doubted_at = now
        elif not is_doubtful:
            self._doubted_at = None
        factor = 2 ** min(self._looks, DOUBLINGS_MAX)
        if self._doubted_at is not None:
            again = self._looked_at + (DOUBT_AGAIN_S * factor if self._looks else 0.0)
            return max(self._doubted_at + DOUBT_S, again)
        return self._looked_at + LOOK_AGAIN_S * factor if is_owed else None

    def looked(self, now: float) -> None:
        """It was read again."""
        self._looked_at = now
        self._looks += 1

    def changed(self) -> None:
        """Something was put there: begin with short pauses again."""
        self._looks = 0
