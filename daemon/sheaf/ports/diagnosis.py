"""What adapters tell about themselves so that a person can find out why something does not connect.

Read-only and cheap; nothing decides by it. See `sheaf.ports` and `sheaf doctor network`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """One network interface of this machine that has an address."""

    name: str
    addresses: tuple[str, ...]
    is_used: bool
    reason: str
    """Why it is used or is not; a clause: 'it is down'."""


@dataclass(frozen=True, slots=True)
class MulticastStatus:
    """How finding each other on the local network goes."""

    state: str
    """'on', 'off' or 'no interface'."""
    is_announcing: bool = False
    """An announcement of this daemon is out."""
    hears_itself: bool = False
    """Our own announcement came back, as the system loops it: packets leave and arrive here at all."""
    others_now: int = 0
    """Other daemons announced at the moment."""
    others_ever: int = 0
    """Announcements of others seen since the start."""


@unique
class NatKind(StrEnum):
    """What STUN servers tell about the way out."""

    UNKNOWN = "unknown"
    """No two of them answered, or none."""
    NONE = "none"
    """They see this computer's own address."""
    STABLE = "stable"
    """A router translates, the same for every destination: a hole can be punched."""
    SYMMETRIC = "symmetric"
    """A router translates, and every destination sees something else."""


@dataclass(frozen=True, slots=True)
class StunServerStatus:
    """One STUN server; `mapped` is 'host:port' as it saw us last, None while it does not answer."""

    address: str
    is_alive: bool
    mapped: str | None = None
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True)
class StunReport:
    """What was found out by STUN in the background."""

    servers: tuple[StunServerStatus, ...] = ()
    nat: NatKind = NatKind.UNKNOWN
