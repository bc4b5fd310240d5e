"""When to upload: a little later, so that more can go at once, and that another member may be first. Pure."""

from __future__ import annotations

from typing import Final

from sheaf.core.base.limits import KIB
from sheaf.node.mailbox_needs import Need

UPLOAD_AFTER_S: Final = 2.0
OTHERS_UPLOAD_AFTER_S: Final = 6.0
"""What another live member wrote, he uploads himself; so long he is given."""
RECEIPTS_AFTER_S: Final = 20.0
"""Receipts alone, while somebody else is live: he brings them along."""
UPLOAD_AT_BYTES: Final = 32 * KIB
"""So much is not held back."""


class UploadTiming:
    """Remembers since when each kind of need is there. `jitter` (0…1) makes devices differ by ±20 %."""

    def __init__(self, *, jitter: float) -> None:
        self._factor = 0.8 + 0.4 * jitter
        self._since: dict[str, float] = {}
        self.is_hurried = False
        """We are leaving: now or never."""

    def clear(self) -> None:
        """Everything is there, or nobody needs anything."""
        self._since.clear()

    def own_due(self, now: float, waiting_bytes: int) -> float | None:
        """When what was written here goes, if that was noticed and is to come: nothing is more urgent."""
        since = self._since.get("own")
        if since is None or self.is_hurried or waiting_bytes >= UPLOAD_AT_BYTES:
            return None
        due = since + UPLOAD_AFTER_S * self._factor
        return due if now < due else None

    def due(self, need: Need, now: float, *, has_own: bool, is_much: bool, others_live: bool) -> float | None:
        """When to upload, by the most urgent of what is needed; None when nothing is."""
        waits = {
            "own": (has_own, UPLOAD_AFTER_S),
            "others": (
                bool(need.spans or need.ops),
                OTHERS_UPLOAD_AFTER_S if others_live else UPLOAD_AFTER_S,
            ),
            "receipts": (bool(need.receipts), RECEIPTS_AFTER_S if others_live else UPLOAD_AFTER_S),
        }
        for kind, (is_needed, _) in waits.items():
            if is_needed:
                self._since.setdefault(kind, now)
            else:
                self._since.pop(kind, None)
        if self._since and (self.is_hurried or is_much):
            return now
        return min(
            (since + waits[kind][1] * self._factor for kind, since in self._since.items()), default=None
        )
