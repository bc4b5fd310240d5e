"""Bytes and turns on connections to peers, for /metrics, the log and the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Frames on one connection, or on all of them; what the transport adds is not counted.

    Args:
        of_all: the sum over all connections, which grows along.
    """

    of_all: Traffic | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    turns: int = 0
    """How often a frame came after we had sent: no fewer than the round trips that were needed."""
    _has_spoken: bool = False

    def sent(self, size: int) -> None:
        """A frame of `size` bytes went out."""
        self.sent_bytes += size
        self._has_spoken = True
        if self.of_all is not None:
            self.of_all.sent_bytes += size

    def received(self, size: int) -> None:
        """A frame of `size` bytes came in."""
        self.received_bytes += size
        if self._has_spoken:
            self.turns += 1
            self._has_spoken = False
        if self.of_all is not None:
            self.of_all.received_bytes += size

    def restart(self) -> None:
        """Count this connection from here on (the sum stays)."""
        self.sent_bytes = self.received_bytes = self.turns = 0
        self._has_spoken = False
