"""What every pure state machine of the core looks like.

A machine is told of events together with the time and returns effects; it says when
it next wants to be woken. It has no clock, no entropy and no I/O of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Seconds = float
"""Monotonic time, seconds; only differences mean something."""

Entropy = Callable[[int], bytes]
"""`entropy(n)` returns n random bytes: `os.urandom` in the daemon, seeded in the simulator."""

EffectT = TypeVar("EffectT")


class Machine(Protocol[EffectT]):
    """The part of a machine's shape that the driver needs; events are methods of their own."""

    def wake(self, now: Seconds) -> list[EffectT]:
        """The time returned by `next_wake` has come (waking early is harmless)."""
        ...

    def next_wake(self) -> Seconds | None:
        """When to call `wake`, or None for never."""
        ...
