"""What a load on a relay is told to do, and how it says what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """What to do, against whom."""

    host: str
    port: int
    count: int
    seconds: float = 3.0
    payload_bytes: int = 600
    other_port: int | None = None
    """Of a second node, where every other connection goes."""
    sources: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens."""
        return self.host, self.port

    def address_of(self, number: int) -> tuple[str, int]:
        """Where the n-th connection goes."""
        if self.other_port is None or number % 2 == 0:
            return self.host, self.port
        return self.host, self.other_port

    def source(self, number: int) -> str | None:
        """Where the n-th connection comes from."""
        return self.sources[number % len(self.sources)] if self.sources else None


def kind_of(message: bytes) -> int:
    """The type of a frame, without reading the rest."""
    return message[3] if message[2] == 24 else message[2]


def say(**facts: object) -> None:
    """One line for who started us."""
    print(json.dumps(facts), flush=True)


def spread(taken_ms: Sequence[float]) -> dict[str, float]:
    """Median and p99."""
    ordered = sorted(taken_ms)
    return {
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }
