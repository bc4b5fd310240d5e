"""Awareness over a session: latest wins, at most ten a second per document (PROTOCOL §5 EPH).

Sending coalesces, so a cursor that races over the screen costs a bounded rate and its last place
always arrives. Receiving drops what is older than what came, and what a peer sends beyond any
honest rate. Nothing here is stored or acknowledged.
"""

from __future__ import annotations

from typing import Final

from sheaf.core.base.ids import DocId
from sheaf.core.base.limits import AWARENESS_HZ_MAX
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.messages import Eph

INTERVAL_S: Final = 1.0 / AWARENESS_HZ_MAX
DOCUMENTS_MAX: Final = 256
"""Documents with awareness under way per space and direction; the oldest is forgotten."""
RECEIVE_HZ_MAX: Final = 20.0 * AWARENESS_HZ_MAX
"""Per space and session, all documents together."""


class EphemeralSender:
    """Coalesces what goes out, per document."""

    def __init__(self) -> None:
        self._counter = 0
        self._sent: dict[DocId, Seconds] = {}
        self._waiting: dict[DocId, bytes] = {}

    def offer(self, doc_id: DocId, data: bytes, now: Seconds) -> Eph | None:
        """The newest state of a document; returned to be sent now, or kept until `due`."""
        self._waiting.pop(doc_id, None)
        if now < self._sent.get(doc_id, -INTERVAL_S) + INTERVAL_S:
            self._waiting[doc_id] = data
            return None
        return self._send(doc_id, data, now)

    def due(self, now: Seconds) -> list[Eph]:
        """What was kept and may go now."""
        ready = [doc_id for doc_id in self._waiting if now >= self._sent[doc_id] + INTERVAL_S]
        return [self._send(doc_id, self._waiting.pop(doc_id), now) for doc_id in ready]

    def next_wake(self) -> Seconds | None:
        """When `due` has something."""
        return min((self._sent[doc_id] + INTERVAL_S for doc_id in self._waiting), default=None)

    def _send(self, doc_id: DocId, data: bytes, now: Seconds) -> Eph:
        self._counter += 1
        self._sent.pop(doc_id, None)
        self._sent[doc_id] = now
        if len(self._sent) > DOCUMENTS_MAX:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self._waiting.pop(oldest, None)
        return Eph(0, doc_id, self._counter, data)


class EphemeralReceiver:
    """Lets through what is new and not too much."""

    def __init__(self) -> None:
        self._last: dict[DocId, int] = {}
        self._tokens = RECEIVE_HZ_MAX
        self._refilled: Seconds = 0.0

    def accept(self, message: Eph, now: Seconds) -> bool:
        """Whether to show this one."""
        refill = (now - self._refilled) * RECEIVE_HZ_MAX
        self._tokens, self._refilled = min(RECEIVE_HZ_MAX, self._tokens + refill), now
        if self._tokens < 1 or message.counter <= self._last.get(message.doc_id, 0):
            return False
        self._tokens -= 1
        self._last.pop(message.doc_id, None)
        self._last[message.doc_id] = message.counter
        if len(self._last) > DOCUMENTS_MAX:
            del self._last[next(iter(self._last))]
        return True
