"""What a node remembers of the mailboxes in NATS: which item stands where, without the items.

JetStream finds a message by its position only; a mailbox must find one by its hash, and know its
sizes. An index is worth what its newest entry is worth: whoever uses it has read the mailbox's head
from NATS just before, and compares. Pure. Decision 0052.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sheaf.relay.store import ITEM_OVERHEAD_BYTES

ENTRIES_MAX: Final = 200_000
"""Of all mailboxes together, about 300 bytes each; the least recently used one is forgotten first."""
_MAILBOX: Final = 4
"""What a mailbox costs besides, in entries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored message. `digest` is the item's SHA-256; empty for a marker, which holds the place
    of a mailbox whose items have all expired."""

    position: int
    digest: bytes
    size_bytes: int
    stored_s: float
    is_rollup: bool = False
    """Everything before it is gone."""
    marked_last: int = 0
    """Only in a marker: the position of the last item there was."""

    @property
    def last(self) -> int:
        """The newest position of the mailbox, if this is its newest message."""
        return self.position if self.digest else self.marked_last


class MailboxIndex:
    """The items of one mailbox, oldest first."""

    def __init__(self) -> None:
        self.newest: Entry | None = None
        """The newest message seen, marker or not."""
        self.size_bytes = 0
        self._entries: list[Entry] = []
        self._positions: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def head(self) -> int:
        """Position of the newest message; 0: none."""
        return self.newest.position if self.newest else 0

    @property
    def charged_bytes(self) -> int:
        """What counts for the quota."""
        return self.size_bytes + len(self._entries) * ITEM_OVERHEAD_BYTES

    @property
    def oldest(self) -> Entry | None:
        """The first item, if any."""
        return self._entries[0] if self._entries else None

    def add(self, entry: Entry) -> None:
        """Take the next message of the mailbox."""
        if entry.is_rollup:
            self._entries.clear()
            self._positions.clear()
            self.size_bytes = 0
        self.newest = entry
        if entry.digest:
            self._entries.append(entry)
            self._positions[entry.digest] = entry.position
            self.size_bytes += entry.size_bytes

    def drop_before(self, stored_s: float) -> None:
        """Forget items that were stored before this moment: they have expired."""
        gone = 0
        while gone < len(self._entries) and self._entries[gone].stored_s < stored_s:
            entry = self._entries[gone]
            self._positions.pop(entry.digest, None)
            self.size_bytes -= entry.size_bytes
            gone += 1
        del self._entries[:gone]

    def is_followed_by(self, head: Entry) -> bool:
        """Whether a mailbox with this head may still hold what was seen: it is the newest seen, or newer."""
        newest = self.newest
        if newest is None or head.position > newest.position:
            return True
        return head.position == newest.position and head.digest == newest.digest

    def position_of(self, digest: bytes) -> int | None:
        """Where the item with this hash stands."""
        return self._positions.get(digest)

    def page(self, after: int, bytes_max: int, items_max: int) -> Sequence[Entry]:
        """The items above `after` that fit, at least one if there is any."""
        start = bisect_right(self._entries, after, key=lambda entry: entry.position)
        size = 0
        for end, entry in enumerate(self._entries[start : start + items_max], start):
            size += entry.size_bytes
            if size > bytes_max and end > start:
                return self._entries[start:end]
        return self._entries[start : start + items_max]


class Indexes:
    """The indexes of the mailboxes used last."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._by_mailbox: OrderedDict[tuple[bytes, bytes], MailboxIndex] = OrderedDict()

    def get(self, mailbox_id: bytes, incarnation: bytes) -> MailboxIndex:
        """The index of this life of the mailbox, perhaps a new, empty one."""
        key = (mailbox_id, incarnation)
        index = self._by_mailbox.setdefault(key, MailboxIndex())
        self._by_mailbox.move_to_end(key)
        return index

    def forget(self, mailbox_id: bytes, incarnation: bytes) -> None:
        """It is not to be trusted any more."""
        self._by_mailbox.pop((mailbox_id, incarnation), None)

    def clear(self) -> None:
        """None of them is."""
        self._by_mailbox.clear()

    def shrink(self) -> None:
        """Forget the least recently used ones until the rest is small enough; never the last one."""
        total = sum(len(index) + _MAILBOX for index in self._by_mailbox.values())
        while total > self._entries_max and len(self._by_mailbox) > 1:
            _, index = self._by_mailbox.popitem(last=False)
            total -= len(index) + _MAILBOX
