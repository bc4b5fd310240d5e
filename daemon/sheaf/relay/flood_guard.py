"""WebSocket frames that none of Sheaf's clients sends in numbers: pings, pongs, fragments (FAULTS A5).

The library answers pings by itself, collects fragments however many there are, and does all that for
everything one read brought before anybody is asked. Here each frame is looked at as it is parsed. Knows
neither the frames of PROTOCOL §7 nor clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol

from sheaf.relay.limits import Budget

CONTROLS_BURST: Final = 20.0
CONTROLS_PER_S: Final = 1.0
"""Proxies send one ping in tens of seconds."""
FRAGMENTS_MAX: Final = 64
"""Of one message; only proxies cut messages up."""


def guard_frames(protocol: Protocol, *, now: Callable[[], float], stop: Callable[[], None]) -> None:
    """End the connection with close code 1002 when more come than a proxy would send.

    Args:
        now: a clock in seconds.
        stop: called then; it ends reading, since what follows is of the same kind.
    """
    guard = _FrameGuard(protocol.recv_frame, now, stop)
    protocol.recv_frame = guard.check  # type: ignore[method-assign]  # the one place every frame passes


class _FrameGuard:
    __slots__ = ("_budget", "_fragments", "_now", "_pass_on", "_stop")

    def __init__(
        self, pass_on: Callable[[Frame], None], now: Callable[[], float], stop: Callable[[], None]
    ) -> None:
        self._pass_on = pass_on
        self._now = now
        self._stop = stop
        self._budget: Budget | None = None
        self._fragments = 0

    def check(self, frame: Frame) -> None:
        """Look at one frame. Raises ProtocolError, which ends the connection."""
        opcode = frame.opcode
        if opcode is Opcode.BINARY or opcode is Opcode.TEXT:
            self._fragments = 0
        elif opcode is Opcode.CONT:
            self._fragments += 1
            if self._fragments > FRAGMENTS_MAX:
                self._refuse("too many fragments")
        elif opcode is not Opcode.CLOSE and not self._affords_control():
            self._refuse("too many control frames")
        self._pass_on(frame)

    def _affords_control(self) -> bool:
        now = self._now()
        if self._budget is None:
            self._budget = Budget(burst=CONTROLS_BURST, now=now)
        return self._budget.afford(1, now, burst=CONTROLS_BURST, per_s=CONTROLS_PER_S)

    def _refuse(self, why: str) -> None:
        self._stop()
        raise ProtocolError(why)
