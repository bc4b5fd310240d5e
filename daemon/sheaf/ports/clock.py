"""The clock port (see `sheaf.ports`)."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Both clocks, injected everywhere."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC; for display and soft expiry only."""
        ...
