"""What is remembered of one mailbox on one relay, and whether the relay still tells the same story.

Pure. The relay is not trusted: what it says is compared with what it said before, and whatever does
not fit makes us read everything again (PROTOCOL §7, FAULTS N13, A10).

Invariants:
1. `position` is the newest item that was read and committed, `item_hash` its SHA-256.
2. Everything up to `resume` is on our disk; between the two some may only be held in memory, so after
   a restart reading goes on from `resume`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, OpId
from sheaf.core.protocol.coverage import OPS_KEPT_MAX, Coverage
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_words import INCARNATION_BYTES
from sheaf.core.wire.shape import Fields, as_bytes, as_uint
from sheaf.ports import MailboxItem, MailboxPage

NO_INCARNATION: Final = bytes(INCARNATION_BYTES)
_STATE_BYTES_MAX: Final = 4 * 1024 * 1024


class Trouble(StrEnum):
    """How a relay's story changed."""

    LOST = "lost"
    """Another life of the mailbox: the relay lost the earlier one."""
    ROLLED_BACK = "rolled_back"
    """The same life, but it is shorter than it was, or another item stands where we read."""
    REPLACED = "replaced"
    """What we read last is not there any more: compacted by a member, or expired. No harm by itself."""


@dataclass(slots=True)
class MailboxMemory:
    """See the module."""

    position: int = 0
    item_hash: bytes = b""
    resume: int = 0
    incarnation: bytes = NO_INCARNATION
    coverage: Coverage = field(default_factory=Coverage)
    touched_ms: int = 0
    """When something last came of it; for display and soft expiry."""
    warning: str = ""
    warned_ms: int = 0
    told: dict[DeviceId, int] = field(default_factory=dict)
    """By device, the newest receipt that was known when something was put there for it last."""
    hanging_ms: int = 0
    """Since when compaction is hindered by what hangs in the air (by our clock); 0 when it is not."""

    def judge(self, page: MailboxPage, after: int) -> Trouble | None:
        """Whether a page fits what is remembered; `after` is where it was asked from."""
        if self.incarnation == NO_INCARNATION:
            return None
        if page.incarnation != self.incarnation:
            return Trouble.LOST
        if page.last < self.position:
            return Trouble.ROLLED_BACK
        if after >= self.position or not self.position:
            return None
        for item in page.items:
            if item.position == self.position:
                is_same = hashlib.sha256(item.data).digest() == self.item_hash
                return None if is_same else Trouble.ROLLED_BACK
            if item.position > self.position:
                return Trouble.REPLACED
        is_at_end = not page.items or page.items[-1].position >= page.last
        return Trouble.REPLACED if is_at_end else None

    def read(self, item: MailboxItem, incarnation: bytes) -> None:
        """An item was taken in (and is committed together with this)."""
        if item.position > self.position:
            self.position = item.position
            self.item_hash = hashlib.sha256(item.data).digest()
        self.incarnation = incarnation

    def begin_anew(self) -> None:
        """Forget how far it was read and what stood there; read again from the start."""
        self.position = self.resume = 0
        self.item_hash = b""
        self.incarnation = NO_INCARNATION
        self.coverage = Coverage()
        self.hanging_ms = 0

    # ------------------------------------------------------------------ for the store

    def encode(self) -> bytes:
        """For `ports.MailboxRow`."""
        return cbor.encode(
            {
                0: self.position,
                1: self.item_hash,
                2: self.resume,
                3: self.incarnation,
                4: self.coverage.encode_spans(),
                5: b"".join(sorted(self.coverage.ops)[:OPS_KEPT_MAX]),
                6: [[device, counter] for device, counter in sorted(self.coverage.receipts.items())],
                7: self.touched_ms,
                8: self.warning,
                9: self.warned_ms,
                10: [[device, counter] for device, counter in sorted(self.told.items())],
                11: self.hanging_ms,
            }
        )

    @classmethod
    def decode(cls, state: bytes) -> MailboxMemory:
        """Undo `encode`.

        Raises:
            WireError: damaged.
        """
        fields = Fields(cbor.decode(state, bytes_max=_STATE_BYTES_MAX), "mailbox memory")
        memory = cls(
            position=fields.uint(0),
            item_hash=fields.octets(1, maximum=32),
            resume=fields.uint(2),
            incarnation=fields.octets(3, size=INCARNATION_BYTES),
        )
        memory.coverage.decode_spans(fields.octets(4))
        ops = fields.octets(5, maximum=OPS_KEPT_MAX * OpId.SIZE)
        if len(ops) % OpId.SIZE:
            raise WireError("mailbox memory: ops")
        memory.coverage.ops = {OpId(ops[at : at + OpId.SIZE]) for at in range(0, len(ops), OpId.SIZE)}
        memory.coverage.receipts = _counters(fields, 6)
        memory.touched_ms = fields.uint(7)
        memory.warning = fields.text(8, bytes_max=2000)
        memory.warned_ms = fields.uint(9)
        memory.told = _counters(fields, 10)
        memory.hanging_ms = fields.uint_or_none(11) or 0
        fields.done()
        return memory


def _counters(fields: Fields, key: int) -> dict[DeviceId, int]:
    pairs = fields.pairs(key, lambda value: DeviceId(as_bytes(value, size=32)), as_uint, maximum=1024)
    return {device: as_uint(counter) for device, counter in pairs}
