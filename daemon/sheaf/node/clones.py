"""Notices that two daemons use one device's identity: a copied data folder (decision 0073).

A daemon makes a TLS certificate at each start and names its fingerprint in every offer, answer and poke,
under the device's signature. So the fingerprint tells processes of one device apart. A process that was
followed by another has ended, unless both run: then it comes back, or is still there.

Knows no links, addresses or spaces.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Seconds
from sheaf.ports import Clock

REMEMBERED_S: Final = 900.0
"""So long after it was last noticed it is still shown: whoever was turned away comes back much sooner."""
PROCESSES_MAX: Final = 16
DEVICES_MAX: Final = 1024

logger = structlog.get_logger("sheaf.peers")


@dataclass(slots=True)
class _Device:
    """What is known of the processes of one device."""

    newest: bytes | None = None
    before: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Processes that another one followed."""
    noticed_at: Seconds = -REMEMBERED_S
    noticed_ms: int = 0


class Clones:
    """Which devices, this one included, are used by two daemons at once.

    Invariants:
    1. A restart is no clone, however often: only a process that comes back after another one, or that
       was shown to live beside it, is.
    2. At most 1024 devices are remembered, and of each 16 processes; the longest unseen are forgotten.
    3. It is logged and told once, and again only after it was forgotten.
    """

    def __init__(self, *, own: DeviceId, clock: Clock, on_news: Callable[[], None]) -> None:
        self._own = own
        self._clock = clock
        self._on_news = on_news
        self._devices: OrderedDict[DeviceId, _Device] = OrderedDict()

    def met(self, device: DeviceId, process: bytes | None) -> bool:
        """A process of `device` proved who it is; None: it did not say which. Whether there are two."""
        known = self._of(device)
        if process is not None and process != known.newest:
            if process in known.before:
                self.noticed(device)
            if known.newest is not None:
                known.before[known.newest] = None
                known.before.move_to_end(known.newest)
            known.newest = process
            while len(known.before) > PROCESSES_MAX:  # (2)
                known.before.popitem(last=False)
        return self.is_cloned(device)

    def noticed(self, device: DeviceId) -> None:
        """It was shown that two daemons use this device's identity."""
        is_news = not self.is_cloned(device)
        known = self._of(device)
        known.noticed_at, known.noticed_ms = self._clock.now(), self._clock.wall_ms()
        if not is_news:
            return
        if device == self._own:  # (3)
            logger.warning(
                "another computer uses this device's identity: its data folder is a copy of this one, or "
                "the other way round. Stop one of the two for good"
            )
        else:
            logger.warning(
                "two computers use the identity of one device: one has a copy of the other's data folder",
                device=device.short,
            )
        self._on_news()

    def noticed_own(self) -> None:
        """Another daemon uses our identity."""
        self.noticed(self._own)

    def is_cloned(self, device: DeviceId) -> bool:
        """Whether two daemons use this identity, as far as is known."""
        known = self._devices.get(device)
        return known is not None and self._clock.now() < known.noticed_at + REMEMBERED_S

    def cloned(self) -> dict[DeviceId, int]:
        """The devices that are, and when that was last noticed (wall clock, milliseconds)."""
        return {device: known.noticed_ms for device, known in self._devices.items() if self.is_cloned(device)}

    def _of(self, device: DeviceId) -> _Device:
        known = self._devices.setdefault(device, _Device())
        self._devices.move_to_end(device)
        while len(self._devices) > DEVICES_MAX:  # (2)
            self._devices.popitem(last=False)
        return known
