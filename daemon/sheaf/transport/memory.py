"""A pair of channels inside one process: for tests, demonstrations and `sheaf doctor`.

Behaves as the network ones do towards `sheaf.ports.Channel`: delivery on a later turn of
the event loop, in order, with a visible backlog. Knows no addresses and no encryption.
"""

from __future__ import annotations

import asyncio
from collections import deque

from sheaf.ports import ChannelReceiver, PathKind
from sheaf.transport.delivery import CLOSED_HERE, Delivery, check_outgoing

_FRAMES_PER_TURN = 16


class MemoryChannel:
    """One end; make pairs with `memory_pair`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._delivery = Delivery()
        self._outgoing: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._is_pumping = False
        self._other: MemoryChannel | None = None

    @property
    def path(self) -> PathKind:
        return PathKind.MEMORY

    @property
    def description(self) -> str:
        return f"{self._label} (in memory)"

    @property
    def buffered_bytes(self) -> int:
        return self._buffered_bytes

    def attach(self, receiver: ChannelReceiver) -> None:
        self._delivery.attach(receiver)

    def send(self, frame: bytes) -> None:
        if self._delivery.is_closed:
            return
        check_outgoing(frame)
        self._outgoing.append(frame)
        self._buffered_bytes += len(frame)
        self._delivery.sent(self._buffered_bytes)
        if not self._is_pumping:
            self._is_pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    async def close(self) -> None:
        """Deliver what was accepted, then end both sides."""
        while self._outgoing and not self._delivery.is_closed:
            self._deliver_some()
        self._end(CLOSED_HERE)
        if self._other is not None:
            self._other._end("closed by the peer")

    def join(self, other: MemoryChannel) -> None:
        """Make `other` the far end of this channel."""
        self._other = other

    def _pump(self) -> None:
        self._deliver_some()
        self._is_pumping = bool(self._outgoing) and not self._delivery.is_closed
        if self._is_pumping:
            asyncio.get_running_loop().call_soon(self._pump)
        self._delivery.drained(self._buffered_bytes)

    def _deliver_some(self) -> None:
        assert self._other is not None
        for _ in range(min(_FRAMES_PER_TURN, len(self._outgoing))):
            if not self._outgoing:
                return
            frame = self._outgoing.popleft()
            self._buffered_bytes -= len(frame)
            refusal = self._other._delivery.frame(frame)
            if refusal is not None:
                self._other._end(refusal)
                self._end("closed by the peer")
                return

    def _end(self, reason: str) -> None:
        self._outgoing.clear()
        self._buffered_bytes = 0
        self._delivery.closed(reason)


def memory_pair(left: str = "left", right: str = "right") -> tuple[MemoryChannel, MemoryChannel]:
    """Two joined channels; what one sends the other receives."""
    one, two = MemoryChannel(f"{left} ⇄ {right}"), MemoryChannel(f"{right} ⇄ {left}")
    one.join(two)
    two.join(one)
    return one, two
