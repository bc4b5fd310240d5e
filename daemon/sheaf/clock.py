"""The real clocks and the real entropy; only `compose` hands them out."""

from __future__ import annotations

import os
import time


class SystemClock:
    """The `Clock` port over the operating system."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000


def system_entropy(size: int) -> bytes:
    """`size` random bytes from the operating system."""
    return os.urandom(size)
