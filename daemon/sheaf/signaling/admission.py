"""Who may knock at the LAN listener, and how often (PROTOCOL §11, FAULTS A3 in the LAN form).

Pure accounting with an injected clock: no sockets here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.limits import LAN_HANDSHAKES_PER_MIN

_ADDRESSES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What one listener bears.

    This machine itself is not counted per address: whoever connects from it is here already,
    and several daemons may run on one host.
    """

    handshakes_per_min: int = LAN_HANDSHAKES_PER_MIN
    handshakes_burst: int = 3 * LAN_HANDSHAKES_PER_MIN
    """A daemon that restarts a few times in a row is not locked out for it."""
    connections_max: int = 128
    connections_per_address_max: int = 16
    handshake_s_max: float = 5.0
    first_frame_s_max: float = 10.0
    idle_s_max: float = 60.0
    frames_burst: int = 256
    frames_per_s: float = 16.0
    """A dialler with a fixed address tries every device it misses there, most in vain."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateBudget:
    """A token bucket: `burst` at once, `per_s` afterwards."""

    def __init__(self, *, burst: float, per_s: float, now: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._bucket = _Bucket(burst, now)

    def take(self, now: float) -> bool:
        """Use one token; False when none is left."""
        bucket = self._bucket
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class Admission:
    """Counts connections and handshakes per address.

    Invariants:
    1. At most 1,024 addresses are remembered; the longest unseen is forgotten first.
    2. Refusing costs no memory beyond that.
    """

    def __init__(self, *, limits: ListenerLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._budgets: OrderedDict[str, RateBudget] = OrderedDict()
        self._open: dict[str, int] = {}

    def admit(self, host: str, *, is_local: bool = False) -> bool:
        """Whether a connection from `host` may begin; when True, `leave` must follow.

        Args:
            host: the address it comes from.
            is_local: it comes from this machine.
        """
        limits = self._limits
        if sum(self._open.values()) >= limits.connections_max:
            return False
        held = self._open.get(host, 0)
        if not is_local and held >= limits.connections_per_address_max:
            return False
        if not is_local and not self._budget(host).take(self._now()):
            return False
        self._open[host] = held + 1
        return True

    def leave(self, host: str) -> None:
        """A connection that was admitted ended."""
        held = self._open.get(host, 0) - 1
        if held > 0:
            self._open[host] = held
        else:
            self._open.pop(host, None)

    def _budget(self, host: str) -> RateBudget:
        budget = self._budgets.get(host)
        if budget is None:
            limits = self._limits
            budget = RateBudget(
                burst=limits.handshakes_burst, per_s=limits.handshakes_per_min / 60, now=self._now()
            )
            self._budgets[host] = budget
            while len(self._budgets) > _ADDRESSES_MAX:  # (1)
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(host)
        return budget
