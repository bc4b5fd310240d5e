"""The receiving half that every channel shares: early frames, the low-water mark, one farewell.

Knows nothing of how frames travel. Serves the `Channel` contract of `sheaf.ports`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sheaf.core.base.limits import FRAME_BYTES_MAX, KIB
from sheaf.ports import ChannelReceiver

CHANNEL_FRAME_BYTES_MAX: Final = FRAME_BYTES_MAX + 16
EARLY_FRAMES_MAX: Final = 64
LOW_WATER_BYTES: Final = 32 * KIB
CLOSED_HERE: Final = "closed here"


class Delivery:
    """Hands frames and events of one channel to its receiver.

    Invariants:
    1. Frames reach the receiver in the order they came, early ones first.
    2. `channel_closed` is told exactly once, after the last frame; nothing follows it.
    3. At most 64 frames wait for a receiver; one more is refused and the channel ends.
    """

    def __init__(self) -> None:
        self._receiver: ChannelReceiver | None = None
        self._early: deque[bytes] = deque()
        self._reason: str | None = None
        self._is_above_low_water = False

    @property
    def is_closed(self) -> bool:
        """True from the moment the end is known, whether or not anybody was told."""
        return self._reason is not None

    def attach(self, receiver: ChannelReceiver) -> None:
        """Deliver to `receiver` from now on, beginning with what came early (1)."""
        assert self._receiver is None, "a channel has one receiver"
        while self._early:
            receiver.frame_received(self._early.popleft())
        self._receiver = receiver
        if self._reason is not None:
            receiver.channel_closed(self._reason)

    def frame(self, frame: bytes) -> str | None:
        """Deliver one frame; returns why the channel must end, or None when all is well."""
        if self._reason is not None:
            return None
        if not 0 < len(frame) <= CHANNEL_FRAME_BYTES_MAX:
            return f"the peer sent a frame of {len(frame)} bytes"
        if self._receiver is not None:
            self._receiver.frame_received(frame)
            return None
        if len(self._early) >= EARLY_FRAMES_MAX:  # (3)
            return "the peer sent too much before anybody listened"
        self._early.append(frame)
        return None

    def sent(self, buffered_bytes: int) -> None:
        """Note the backlog after a send, so that falling below the mark is noticed later."""
        if buffered_bytes >= LOW_WATER_BYTES:
            self._is_above_low_water = True

    def drained(self, buffered_bytes: int) -> None:
        """Note the backlog after the network took some; tells `writable` when due."""
        if self._is_above_low_water and buffered_bytes < LOW_WATER_BYTES and self._reason is None:
            self._is_above_low_water = False
            if self._receiver is not None:
                self._receiver.writable()

    def closed(self, reason: str) -> bool:
        """The channel ended; False when that was known already (2)."""
        if self._reason is not None:
            return False
        self._reason = reason
        if self._receiver is not None:
            self._receiver.channel_closed(reason)
        return True


def check_outgoing(frame: bytes) -> None:
    """Refuse what the peer would refuse; a wrong size is a bug in the caller."""
    assert 0 < len(frame) <= CHANNEL_FRAME_BYTES_MAX, f"frame of {len(frame)} bytes"
