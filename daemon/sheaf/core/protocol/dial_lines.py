"""What the dialer remembers of one device: lines to call it on, and how often they failed (PROTOCOL §5, §6).

Three lines, because they must not wait for each other: straight to addresses, over relays, and, once there
is a connection, upwards to a better path. Pure; `dialer` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sheaf.core.base.machine import Seconds

NEVER: Final = float("inf")


class PathRank(IntEnum):
    """The kinds of path, better ones higher (PROTOCOL §5 "Paths")."""

    RELAY = 1
    """TLS through a relay."""
    TUNNEL = 2
    """TLS straight to the other's listener."""
    DIRECT = 3
    """WebRTC."""


@dataclass(slots=True)
class Line:
    """Calls of one kind to one device, one at a time, with their back-off."""

    calling: str | None = None
    """The address that is being called; '' along the route a poke came by."""
    is_poking: bool = False
    """The call under way is only a poke: we wait to be dialled."""
    is_again: bool = False
    """It is the second to one that seems to have got lost."""
    called_at: Seconds = -NEVER
    calling_until: Seconds = 0.0
    due: Seconds = 0.0
    failures: int = 0
    turn: int = 0
    """How many calls were made since the addresses changed; they are called in turn."""

    def begin(
        self, address: str, now: Seconds, patience_s: float, *, is_poking: bool, is_again: bool = False
    ) -> None:
        """A call is under way; without a report it counts as failed after `patience_s`."""
        self.calling, self.called_at, self.calling_until = address, now, now + patience_s
        self.is_poking, self.is_again = is_poking, is_again

    def end(self) -> None:
        """No call is under way any more."""
        self.calling = None

    @property
    def is_busy(self) -> bool:
        """More than a poke is under way."""
        return self.calling is not None and not self.is_poking

    def restart(self, due: Seconds) -> None:
        """Something changed: what failed before says nothing any more."""
        self.failures, self.turn, self.due = 0, 0, due

    def next_address(self, addresses: Sequence[str]) -> str:
        """The one whose turn it is."""
        address = addresses[self.turn % len(addresses)]
        self.turn += 1
        return address

    def has_tried_all(self, addresses: Sequence[str]) -> bool:
        """Whether each address had its turn since the last pause."""
        return not addresses or self.turn % len(addresses) == 0


@dataclass(slots=True)
class KnownDevice:
    """One device."""

    addresses: dict[str, bool] = field(default_factory=dict)
    """Seen on the LAN, the latest last (a set that keeps its order)."""
    relays: tuple[str, ...] = ()
    """Relays at which it may be met and which we are connected with."""
    is_wanted: bool = False
    rank: PathRank | None = None
    """Of the connection there is."""
    ranked_at: Seconds = 0.0
    missed_at: Seconds = -NEVER
    """When it last asked to be called."""
    direct: Line = field(default_factory=Line)
    relay: Line = field(default_factory=Line)
    upgrade: Line = field(default_factory=lambda: Line(due=NEVER))

    @property
    def lines(self) -> tuple[Line, Line, Line]:
        """All three."""
        return self.direct, self.relay, self.upgrade

    @property
    def is_connected(self) -> bool:
        """Whether there is a session with it."""
        return self.rank is not None

    @property
    def is_at_best(self) -> bool:
        """Whether no better path could be found."""
        return self.rank is PathRank.DIRECT
