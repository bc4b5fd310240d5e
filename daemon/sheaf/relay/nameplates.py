"""Nameplates: numbered meeting places for exactly two, for ten minutes (PROTOCOL §7, §8 "Spoken code").

A machine without I/O: the clock and the dice are given to it, and what it has to say goes to two
callbacks. Sides are opaque names. It reads nothing of what is said. A fleet may run one for all its
nodes, or one per node for the numbers that node gave out.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.wire.relay_words import NAMEPLATE_MAX, RefusalCode, RelayRefused

LIFE_S: Final = 600.0
SAYINGS_MAX: Final = 8
"""Kept for a second side that has not come."""
NAMEPLATES_MAX: Final = 10_000
"""Numbers out at one time, those that rest included."""
_TRIES: Final = 32
_RANGES: Final = ((1, 9), (10, 99), (100, 999), (1000, 9999), (10_000, NAMEPLATE_MAX))


@dataclass(slots=True)
class _Plate:
    ends_at: float
    sides: list[str]
    sayings: list[bytes] = field(default_factory=list)
    over: RefusalCode | None = None
    """Why it is worthless; it rests until `ends_at`, so that no late comer meets a stranger."""


class NameplateDesk:
    """Gives out numbers and passes on what the two sides say.

    Invariants:
    1. A number has at most two sides; a third makes it worthless for all.
    2. A number is not given out again before its ten minutes are over.
    3. After `on_closed` a side hears nothing more of that number.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        choose: Callable[[int], int],
        on_heard: Callable[[str, int, bytes], None],
        on_closed: Callable[[str, int, RefusalCode], None],
    ) -> None:
        self._now = now
        self._choose = choose
        self._on_heard = on_heard
        self._on_closed = on_closed
        self._plates: dict[int, _Plate] = {}

    def allocate(self, side: str) -> int:
        """A free number, from the lowest range that has any, at random within it.

        Raises:
            RelayRefused: FULL.
        """
        self.sweep()
        if len(self._plates) >= NAMEPLATES_MAX:
            raise RelayRefused(RefusalCode.FULL)
        number = free_number(self._plates, self._choose)
        self.hold(number, side)
        return number

    def knows(self, number: int) -> bool:
        """Whether a number is out, or rests."""
        return number in self._plates

    def hold(self, number: int, side: str) -> None:
        """`side` is the first at a number that was chosen elsewhere, and that is not known here."""
        assert number not in self._plates
        self._plates[number] = _Plate(ends_at=self._now() + LIFE_S, sides=[side])

    def claim(self, number: int, side: str) -> None:
        """`side` is the second, and hears what was said so far.

        Raises:
            RelayRefused: GONE or CROWDED; see `Fleet.claim_nameplate`.
        """
        self.sweep()
        plate = self._plates.get(number)
        if plate is None:
            raise RelayRefused(RefusalCode.GONE)
        if plate.over is not None:
            raise RelayRefused(plate.over)
        if len(plate.sides) == 2:
            self._end(number, plate, RefusalCode.CROWDED)  # (1)
            raise RelayRefused(RefusalCode.CROWDED)
        if side in plate.sides:
            raise RelayRefused(RefusalCode.GONE)
        plate.sides.append(side)
        sayings, plate.sayings = plate.sayings, []
        for saying in sayings:
            self._on_heard(side, number, saying)

    def say(self, number: int, side: str, payload: bytes) -> None:
        """Pass on or keep.

        Raises:
            RelayRefused: RATE, when eight sayings wait already.
        """
        plate = self._plates.get(number)
        if plate is None or plate.over is not None or side not in plate.sides:
            return
        for other in plate.sides:
            if other != side:
                self._on_heard(other, number, payload)
                return
        if len(plate.sayings) >= SAYINGS_MAX:
            raise RelayRefused(RefusalCode.RATE)
        plate.sayings.append(payload)

    def release(self, number: int, side: str) -> None:
        """`side` is done; the other is told GONE."""
        plate = self._plates.get(number)
        if plate is None or side not in plate.sides:
            return
        plate.sides.remove(side)
        if plate.over is None:
            self._end(number, plate, RefusalCode.GONE)

    def sweep(self) -> None:
        """Let go of numbers whose time is over."""
        now = self._now()
        for number in [number for number, plate in self._plates.items() if plate.ends_at <= now]:
            plate = self._plates.pop(number)
            if plate.over is None:
                self._end(number, plate, RefusalCode.GONE)

    def _end(self, number: int, plate: _Plate, code: RefusalCode) -> None:
        plate.over = code
        plate.sayings.clear()
        sides, plate.sides = plate.sides, []
        for side in sides:
            self._on_closed(side, number, code)  # (3)


def free_number(taken: Container[int], choose: Callable[[int], int]) -> int:
    """A number that is not taken, from the lowest range that has any, at random within it.

    Raises:
        RelayRefused: FULL.
    """
    for low, high in _RANGES:
        size = high - low + 1
        for _ in range(_TRIES):
            number = low + choose(size)
            if number not in taken:
                return number
        if size <= 100:
            free = [number for number in range(low, high + 1) if number not in taken]
            if free:
                return free[choose(len(free))]
    raise RelayRefused(RefusalCode.FULL)
