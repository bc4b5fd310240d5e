"""What the daemon's relay clients need of the world, for tests."""

from __future__ import annotations

import time

from sheaf.signaling.relay_client import RelayTiming, RelayWorld
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver

CALM = RelayTiming(backoff_first_s=0.01, backoff_s_max=0.05, refused_s_min=0.02)
"""Comes back quickly, and is in no hurry with pings."""


def relay_world(timing: RelayTiming = CALM) -> RelayWorld:
    """With the real clock, the real resolver, and no chance."""
    return RelayWorld(
        door=RelayDoor(resolver=Resolver()),
        now=time.monotonic,
        wall_ms=lambda: 1,
        chance=lambda: 0.5,
        timing=timing,
    )
