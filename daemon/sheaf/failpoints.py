"""Places where the fault suite may kill the process (FAULTS S2, S11).

`SHEAF_FAILPOINT=name` makes the process vanish, as after `kill -9`, the first time it
passes `failpoint("name")`; `name:3` the third time. Without the variable a call is one
comparison. Must not know what it interrupts. Sits beside `ports`, so that node and
storage can both use it.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "SHEAF_FAILPOINT"
EXIT_CODE: Final = 137
"""What a shell reports for a process ended by signal 9."""


class Failpoint:
    """One armed place: ends the process at its `nth` passing."""

    def __init__(self, *, name: str, nth: int) -> None:
        self.name = name
        self._remaining = nth

    @classmethod
    def parse(cls, text: str) -> Failpoint | None:
        """Read `name` or `name:n`; None for an empty text.

        Raises:
            ValueError: `n` is not a whole number of at least 1.
        """
        if not text:
            return None
        name, _, count = text.partition(":")
        nth = int(count or "1")
        if nth < 1:
            raise ValueError(f"{VARIABLE}={text}: the count starts at 1")
        return cls(name=name, nth=nth)

    def passed(self, name: str) -> bool:
        """Count a passing of `name`; True when the process has to end here."""
        if name != self.name:
            return False
        self._remaining -= 1
        return self._remaining == 0


_armed: Final = Failpoint.parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """End the process here if the environment asked for it. No clean-up, no flushing."""
    if _armed is not None and _armed.passed(name):
        os._exit(EXIT_CODE)
