"""Receipts over a session: verified, not too many, and only news (PROTOCOL §5 RECEIPTS, RECEIPT_HEADS).

Whoever passes a receipt on has verified it himself, so a forged one, or one of another space, is the
peer's fault. Who may speak in the space is not decided here: members are known to the shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sheaf.core.base.limits import KIB
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.messages import RECEIPTS_PER_MESSAGE_MAX, Receipts
from sheaf.core.protocol.receipt import Receipt, read_receipt
from sheaf.core.protocol.space_link import Lane

BURST: Final = 1024.0
"""Everything that 64 devices have said, once."""
PER_S: Final = 16.0
HEADS_BURST: Final = 4.0
HEADS_PER_S: Final = 0.2
MESSAGE_BYTES: Final = 360 * KIB


class ReceiptGate:
    """One space's receipts from one peer; what comes beyond any honest rate is dropped."""

    def __init__(self, *, lane: Lane) -> None:
        self._lane = lane
        self._receipts, self._heads = BURST, HEADS_BURST
        self._refilled: Seconds = 0.0

    def came(self, message: Receipts, now: Seconds) -> tuple[Receipt, ...]:
        """The verified receipts of a message; empty when there were too many.

        Raises:
            ProtocolViolation: malformed, forged, or about another space.
        """
        self._refill(now)
        if len(message.receipts) > self._receipts:
            return ()
        self._receipts -= len(message.receipts)
        return tuple(read_receipt(raw, self._lane.space_id) for raw in message.receipts)

    def may_ask(self, now: Seconds) -> bool:
        """Whether RECEIPT_HEADS is answered now."""
        self._refill(now)
        if self._heads < 1:
            return False
        self._heads -= 1
        return True

    def _refill(self, now: Seconds) -> None:
        elapsed, self._refilled = now - self._refilled, now
        self._receipts = min(BURST, self._receipts + elapsed * PER_S)
        self._heads = min(HEADS_BURST, self._heads + elapsed * HEADS_PER_S)


def in_messages(handle: int, raws: Iterable[bytes]) -> Iterator[Receipts]:
    """Receipts cut into messages that fit the control stream."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and (size + len(raw) > MESSAGE_BYTES or len(part) >= RECEIPTS_PER_MESSAGE_MAX):
            yield Receipts(handle, tuple(part))
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield Receipts(handle, tuple(part))
