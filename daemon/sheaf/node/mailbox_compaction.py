"""When a member replaces everything in a mailbox by one item with what is still needed (PROTOCOL §7).

What hangs in the air is carried over: it may be honest, and its author away. If it does not fit, nothing
is replaced for a day, in which its author, or who has what lies before it, may come; after that what fits
is carried over, first what somebody signed for. So one member's junk stops compaction for a day at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Entropy
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node.mailbox import Mailbox
from sheaf.node.mailbox_needs import absent, needed
from sheaf.node.mailbox_writer import COMPACT_BYTES, COMPACT_ITEMS, MailboxWriter
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, Store

COMPACT_AGAIN_S: Final = 600.0
HANGING_MS_MAX: Final = 86_400_000


class Compaction:
    """The compactions of one worker."""

    def __init__(
        self,
        *,
        host: SpaceHost,
        own: DeviceId,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        counts: dict[str, float],
        wake_at: Callable[[float], None],
    ) -> None:
        self._host = host
        self._own = own
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._counts = counts
        self._wake_at = wake_at
        self._due: float | None = None
        self._is_urgent = False

    def needs_room(self, *, is_new: bool) -> None:
        """The relay is full: try at once when that `is_new`, then now and then."""
        self._is_urgent = is_new or (self._due is not None and self._clock.now() >= self._due)

    async def when_urgent(self, box: Mailbox) -> None:
        """Compact if there is no room, and that was not tried just now. Raises as `when_due`."""
        if self._is_urgent:
            self._is_urgent = False
            await self._compact(box)

    async def when_due(self, box: Mailbox) -> None:
        """One random member compacts a large mailbox.

        Raises:
            TransportFailure: the relay is gone, or refuses (RelayRefused).
            StorageFailure: our own disk.
        """
        if box.items_seen <= COMPACT_ITEMS and box.bytes_seen <= COMPACT_BYTES:
            return
        now = self._clock.now()
        if self._due is None:
            self._due = now + 5.0 + 55.0 * self._entropy(1)[0] / 255
        if now < self._due:
            self._wake_at(self._due)
        else:
            await self._compact(box)

    async def _compact(self, box: Mailbox) -> None:
        if box.wants_reading:
            return
        self._due = self._clock.now() + COMPACT_AGAIN_S
        host, now_ms = self._host, self._clock.wall_ms()
        devices = absent(host.space, host.delivery.book, {self._own}, now_ms)
        need = needed(host.space, host.delivery.book, devices, host.durable, Coverage())
        writer = MailboxWriter(mailbox=box, store=self._store, counts=self._counts)
        since_ms = box.memory.hanging_ms
        try:
            is_done = await writer.compact(need, may_drop=0 < since_ms <= now_ms - HANGING_MS_MAX)
        except RelayRefused as refused:
            if refused.code is not RefusalCode.CHANGED:
                raise
            self._due = None
            return
        if is_done:
            self._due = None
        elif writer.is_hindered and not 0 < since_ms <= now_ms:
            box.memory.hanging_ms = now_ms
            host.put_mailbox(box.row())
