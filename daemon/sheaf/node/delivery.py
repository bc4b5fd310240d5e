"""Who is known to hold what of one space: receipts made, taken in, passed on and kept (PROTOCOL §5, §7).

Says once a second at most what became durable here, to the peers that are live; merges what others
say. What counts as delivered is what a device signed, nothing else (decision 0058).

Must not know relays, sockets or SQL. Invariants:
1. A receipt made here speaks only of what is durable here.
2. Nothing is made, sent or written while nothing happens.
3. A device that is no member is not listened to; our own word is never taken from others. A newer
   receipt of ours than we know, by our signature, tells us that this disk is an older copy: a full
   statement then takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from sheaf.core.base.errors import StorageFailure, WireError
from sheaf.core.base.ids import DeviceId, DocId, LogId, SpaceId
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.protocol.receipt import HEADS_MAX, Receipt, Seen, sign_receipt
from sheaf.core.protocol.receipt_book import DeviceWord, ReceiptBook
from sheaf.core.space.space import Space
from sheaf.node.driver import WakeTimer
from sheaf.ports import Clock, ReceiptRow

RECEIPT_EVERY_S: Final = 1.0
PASS_ON_AFTER_S: Final = 10.0
"""Others' receipts are passed on when nobody spoke for so long: in a mesh all have them by then."""
KEEP_AFTER_S: Final = 5.0
"""Receipts are written down this late; who is asked again says it again."""
INCOMPLETE_AFTER_S: Final = 3.0
"""What others hold and we do not is on its way for so long; then people are told."""
PARTIALS_MAX: Final = 6
"""After so many partial receipts a full one."""

logger = structlog.get_logger("sheaf.delivery")


class ReceiptListener(Protocol):
    """A live peer that takes receipts."""

    def tell_receipts(
        self, space_id: SpaceId, counters: Mapping[DeviceId, int] | None, raws: Sequence[bytes]
    ) -> None: ...


class DeliveryHost(Protocol):
    """What is asked of the space's host."""

    @property
    def space(self) -> Space: ...
    @property
    def durable(self) -> Mapping[LogId, int]: ...
    def is_member(self, device_id: DeviceId) -> bool: ...
    def put_receipts(self, rows: Sequence[ReceiptRow]) -> None:
        """Write them with the next commit. Raises StorageFailure."""
        ...


class Delivery:
    """The delivery book of one space. `on_news` is called when anything that others hold or miss changed."""

    def __init__(
        self,
        *,
        host: DeliveryHost,
        device: DeviceKeys,
        clock: Clock,
        rows: Iterable[ReceiptRow],
    ) -> None:
        self._host = host
        self._device = device
        self._clock = clock
        self._space_id = host.space.space_id
        self.book = ReceiptBook(self._space_id)
        for row in rows:
            self._restore(row)
        self._greeted: dict[ReceiptListener, dict[DeviceId, int] | None] = {}
        """By live peer, the newest counters it knows; None until it said."""
        self._timer = WakeTimer(clock=clock, on_wake=self._wake)
        self._speak_due: float | None = None
        self._spoke_at = -RECEIPT_EVERY_S
        self._pass_on_due: float | None = None
        self._keep_due: float | None = None
        self._unkept: set[DeviceId] = set()
        self._unsaid_seen: dict[DocId, Seen] = {}
        self._has_moved = True
        self._must_be_full = False
        self._counter_min = 0
        self._missing_since: float | None = None
        self._tell_due: float | None = None
        self.has_mailbox = False
        """Somebody carries what we say to those who are away."""
        self.on_news: Callable[[], None] = _nothing

    def _restore(self, row: ReceiptRow) -> None:
        try:
            self.book.restore(row.device_id, row.state)
        except WireError as error:  # it will be said again
            logger.error("stored receipts are damaged", device=row.device_id.short, error=str(error))

    def close(self) -> None:
        """Write down what is not yet; nothing is said any more."""
        self._timer.cancel()
        self._greeted.clear()
        self.keep()

    # ------------------------------------------------------------------ own words

    @property
    def own(self) -> DeviceWord | None:
        """What this device said last."""
        return self.book.of(self._device.device_id)

    def moved(self) -> None:
        """Something became durable, or the control plane grew: say so soon, if anybody listens."""
        self._has_moved = True
        if (self._greeted or self.has_mailbox) and self._speak_due is None:
            self._speak_due = max(self._clock.now(), self._spoke_at) + RECEIPT_EVERY_S
            self._arm()
        self.on_news()

    def saw(self, doc_id: DocId, frontier: Mapping[LogId, int]) -> None:
        """A page showed everything of a document below `frontier`."""
        known = self.own
        entries = dict(frontier)
        if known is not None and (before := known.seen.get(doc_id)) is not None:
            entries = {log: seq for log, seq in frontier.items() if seq > before.entries.get(log, 0)}
        waiting = self._unsaid_seen.get(doc_id)
        if waiting is not None:
            entries = {**waiting.entries, **entries}
        if entries and (waiting is None or entries != waiting.entries):
            self._unsaid_seen[doc_id] = Seen(self._clock.wall_ms(), entries)
            self.moved()

    def speak(self) -> None:
        """Make a receipt if there is anything new to say, and tell it to whoever is live."""
        receipt = self._make() if self._has_moved else None
        self._has_moved = False
        if receipt is None:
            return
        self._unsaid_seen.clear()
        self._must_be_full = False
        self._spoke_at = self._clock.now()
        self.book.take(receipt, is_member=self._host.is_member)
        self._note_unkept(receipt.device_id)
        for listener, known in self._greeted.items():
            if known is not None:
                known[receipt.device_id] = receipt.counter
            listener.tell_receipts(self._space_id, None, [receipt.raw])
        self.on_news()

    def _make(self) -> Receipt | None:
        word = self.own or DeviceWord()
        durable = self._host.durable
        heads = self._host.space.control.heads()
        moved = {log: seq for log, seq in durable.items() if seq > 1 and word.holds.get(log, 1) != seq}
        has_lost = any(seq > durable.get(log, 1) for log, seq in word.holds.items())
        is_new = word.full_counter == 0 or self._must_be_full
        heads_moved = heads != word.heads and len(heads) <= HEADS_MAX
        if not (moved or has_lost or is_new or heads_moved or self._unsaid_seen):
            return None
        is_full = is_new or has_lost or len(word.receipts) > PARTIALS_MAX
        now_ms = self._clock.wall_ms()
        return sign_receipt(
            self._device,
            space_id=self._space_id,
            counter=max(now_ms, word.counter + 1, self._counter_min),
            is_full=is_full,
            made_ms=now_ms,
            heads=heads if is_full or heads_moved else (),
            holds={log: seq for log, seq in durable.items() if seq > 1} if is_full else moved,
            seen={**word.seen, **self._unsaid_seen} if is_full else self._unsaid_seen,
        )

    def known_elsewhere(self, counter: int) -> None:
        """We signed a receipt with this counter: is our own memory older (invariant 3)?"""
        word = self.own
        if counter > (0 if word is None else word.counter):
            self._counter_min = max(self._counter_min, counter + 1)
            self._must_be_full = True
            self.moved()

    # ------------------------------------------------------------------ others' words

    def take(self, receipts: Iterable[Receipt], *, source: ReceiptListener | None = None) -> int:
        """Merge verified receipts; returns how many were news. From strangers: nothing."""
        count = 0
        known = self._greeted.get(source) if source is not None else None
        now_ms = self._clock.wall_ms()
        for receipt in receipts:
            if known is not None:
                known[receipt.device_id] = max(receipt.counter, known.get(receipt.device_id, 0))
            if receipt.device_id == self._device.device_id:
                self.known_elsewhere(receipt.counter)
            elif self._host.is_member(receipt.device_id) and self.book.take(
                receipt, now_ms, is_member=self._host.is_member
            ):
                count += 1
                self._note_unkept(receipt.device_id)
        if count:
            self.incomplete()
            if len(self._greeted) > (source is not None):
                self._pass_on_due = self._clock.now() + PASS_ON_AFTER_S
                self._arm()
            self.on_news()
        return count

    def incomplete(self) -> tuple[int, DeviceId] | None:
        """How many envelopes a member's device says it holds and that have not come, for a while now, and
        which device says most. None when nothing is missing, or only just."""
        durable, logs = self._host.durable, self._host.space.logs
        most: tuple[int, DeviceId] | None = None
        for device_id, word in self.book.items():
            missing = sum(
                seq - durable.get(log, 1)
                for log, seq in word.holds.items()
                if seq > durable.get(log, 1) and not ((head := logs.get(log)) and head.frozen)
            )
            if missing > (0 if most is None else most[0]) and self._host.is_member(device_id):
                most = (missing, device_id)
        if most is None:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = self._clock.now()
            self._tell_due = self._clock.now() + INCOMPLETE_AFTER_S
            self._arm()
        is_old = self._missing_since is not None
        if is_old and self._clock.now() - (self._missing_since or 0.0) >= INCOMPLETE_AFTER_S:
            return most
        return None

    def greet(self, listener: ReceiptListener) -> None:
        """A peer is live: ask for what it knows, beginning with what we know."""
        if listener not in self._greeted:
            self.speak()
            self._greeted[listener] = None
            listener.tell_receipts(self._space_id, self.book.counters(), [])

    def asked(self, listener: ReceiptListener, counters: Mapping[DeviceId, int]) -> None:
        """A live peer told what it knows: give it the rest."""
        if listener not in self._greeted:
            self._greeted[listener] = None
            listener.tell_receipts(self._space_id, self.book.counters(), [])
        self._greeted[listener] = dict(counters)  # a claim: of what we said, only our signature tells
        self.speak()
        self._pass_on(listener)

    def left(self, listener: ReceiptListener) -> None:
        """The peer is gone."""
        self._greeted.pop(listener, None)
        self.on_news()

    def _pass_on(self, listener: ReceiptListener) -> None:
        known = self._greeted.get(listener)
        if known is None:
            return
        newer = self.book.newer_than(known)
        for receipt in newer:
            known[receipt.device_id] = max(receipt.counter, known.get(receipt.device_id, 0))
        if newer:
            listener.tell_receipts(self._space_id, None, [receipt.raw for receipt in newer])

    # ------------------------------------------------------------------ the disk

    def keep(self) -> None:
        """Put what is not written down yet into the open unit of work."""
        self._keep_due = None
        unkept, self._unkept = self._unkept, set()
        try:
            self._host.put_receipts(
                [
                    ReceiptRow(self._space_id, device_id, self.book.encode(device_id))
                    for device_id in unkept
                    if self.book.of(device_id) is not None  # forgotten meanwhile: no member any more
                ]
            )
        except StorageFailure:  # the space is opened anew when the disk works; peers say it again
            logger.warning("receipts could not be written down", space=self._space_id.short)

    def _note_unkept(self, device_id: DeviceId) -> None:
        self._unkept.add(device_id)
        if self._keep_due is None:
            self._keep_due = self._clock.now() + KEEP_AFTER_S
            self._arm()

    # ------------------------------------------------------------------ time

    def _wake(self, now: float) -> None:
        if self._speak_due is not None and now >= self._speak_due:
            self._speak_due = None
            self.speak()
        if self._pass_on_due is not None and now >= self._pass_on_due:
            self._pass_on_due = None
            for listener in tuple(self._greeted):
                self._pass_on(listener)
        if self._keep_due is not None and now >= self._keep_due:
            self.keep()
        if self._tell_due is not None and now >= self._tell_due:
            self._tell_due = None
            self.on_news()
        self._arm()

    def _arm(self) -> None:
        dues = (self._speak_due, self._pass_on_due, self._keep_due, self._tell_due)
        self._timer.arm(min((due for due in dues if due is not None), default=None))


def _nothing() -> None:
    return None
