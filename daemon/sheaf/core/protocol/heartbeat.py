"""PING and PONG: noticing that the other side died silently, and the round trip (FAULTS N3, PROTOCOL §5)."""

from __future__ import annotations

from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.limits import PEER_DEAD_S, PEER_PROBE_S, PING_INTERVAL_S, UNAUTHENTICATED_S_MAX
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.message_codec import encode_message
from sheaf.core.protocol.messages import Ping, Pong
from sheaf.core.protocol.mux import Mux
from sheaf.core.wire.frames import Stream

_NEVER: Final = float("inf")


class Heartbeat:
    """Until `authenticated`, only the deadline for HELLO; then a PING every 5 s and the deadline
    for any sign of life."""

    def __init__(self, *, mux: Mux) -> None:
        self._mux = mux
        self._deadline: Seconds = 0.0
        self._ping_due: Seconds = _NEVER
        self._number = 0
        self._sent: Seconds | None = None

    def start(self, now: Seconds) -> None:
        """The channel is open."""
        self._deadline = now + UNAUTHENTICATED_S_MAX

    def authenticated(self, now: Seconds) -> None:
        """The other side proved who it is."""
        self._ping_due = now
        self.frame_came(now)
        self.wake(now)

    def frame_came(self, now: Seconds) -> None:
        """A sign of life; before HELLO it buys no time."""
        if self._ping_due is not _NEVER:
            self._deadline = now + PEER_DEAD_S

    def probe(self, now: Seconds) -> None:
        """The connection is in doubt: ask at once, and wait less long. Nothing before HELLO."""
        if self._ping_due is not _NEVER:
            self._deadline = min(self._deadline, now + PEER_PROBE_S)
            self._ping_due = now
            self.wake(now)

    def is_dead(self, now: Seconds) -> bool:
        """Whether the deadline has passed."""
        return now >= self._deadline

    def wake(self, now: Seconds) -> None:
        """Send the PING that is due."""
        if now >= self._ping_due:
            self._ping_due = now + PING_INTERVAL_S
            self._number += 1
            self._sent = now
            self._mux.queue(Stream.SESSION, encode_message(Ping(self._number)), slot="ping")

    def next_wake(self) -> Seconds:
        """The next PING, or the deadline."""
        return min(self._deadline, self._ping_due)

    def ping_came(self, number: int) -> None:
        """Answer; of many unanswered PINGs only the last matters."""
        self._mux.queue(Stream.SESSION, encode_message(Pong(number)), slot="pong")

    def pong_came(self, number: int, now: Seconds) -> float | None:
        """The round trip in milliseconds, when it answers the last PING.

        Raises:
            ProtocolViolation: it answers a PING that was never sent.
        """
        if number > self._number:
            raise ProtocolViolation("a PONG before its PING")
        if number != self._number or self._sent is None:
            return None
        elapsed_ms, self._sent = (now - self._sent) * 1000.0, None
        return elapsed_ms
