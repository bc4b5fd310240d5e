"""Telling the service manager that we are ready, alive and stopping (FAULTS A11).

The sd_notify protocol is one datagram to `$NOTIFY_SOCKET`. `WATCHDOG=1` is sent from the
event loop only after a real probe: the loop was not late, and the storage thread answered.
So a blocked loop or a stuck writer sends nothing, and the manager restarts us. A disk that
refuses is no reason for that: a restart makes no room.
Must not know what the probe does; `compose` hands it in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

LAG_MAX_S: Final = 5.0
PROBE_DEADLINE_S: Final = 10.0

_log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]


class Notifier:
    """Sends state to the service manager; without one, every call does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_interval_s = _half_watchdog_s(environment)
        """How often `alive` is due, in seconds; None when no watchdog waits for us."""

    def ready(self, status: str) -> None:
        """Start-up is over; `status` is one line for `systemctl status`."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The probe succeeded."""
        self._send("WATCHDOG=1")

    def extend_start(self, seconds: float, *, status: str = "") -> None:
        """Start-up (a migration, say) needs `seconds` more from now; say it again while it moves.

        `status` is as in `ready`; empty leaves it as it is.
        """
        line = f"\nSTATUS={status}" if status else ""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}{line}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            _log.warning("the service manager cannot be told", extra={"state": state, "error": str(error)})


async def watch(notifier: Notifier, probe: Probe, *, lag_max_s: float = LAG_MAX_S) -> None:
    """Report life at half the watchdog's interval until cancelled; returns at once without a watchdog.

    Args:
        notifier: says how often, and sends.
        probe: returns when everything that must go on has answered; raises when something is dead.
        lag_max_s: a loop that wakes later than this is not alive.
    """
    interval_s = notifier.watchdog_interval_s
    if interval_s is None:
        return
    loop = asyncio.get_running_loop()
    lag_s = 0.0
    while True:
        due = loop.time() + interval_s
        if lag_s > lag_max_s:
            _log.error("the event loop was blocked", extra={"lag_s": round(lag_s, 1)})
        elif await _is_healthy(probe, deadline_s=min(PROBE_DEADLINE_S, interval_s)):
            notifier.alive()
        await asyncio.sleep(due - loop.time())
        lag_s = loop.time() - due


async def _is_healthy(probe: Probe, *, deadline_s: float) -> bool:
    try:
        async with asyncio.timeout(deadline_s):
            await probe()
    except Exception as error:  # noqa: BLE001  # whatever it is, we are not healthy
        _log.error("the watchdog's probe failed", extra={"error": str(error) or type(error).__name__})
        return False
    return True


def _half_watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Half of `$WATCHDOG_USEC`, unless it is meant for another process."""
    pid = environment.get("WATCHDOG_PID")
    if pid is not None and pid != str(os.getpid()):
        return None
    try:
        interval_s = int(environment.get("WATCHDOG_USEC", "0")) / 2_000_000
    except ValueError:
        return None
    return interval_s if interval_s > 0 else None
