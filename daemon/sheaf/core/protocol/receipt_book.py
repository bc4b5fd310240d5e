"""Every device's newest word of what it holds, merged from receipts (PROTOCOL §5, decision 0058).

Pure. Invariants:
1. Within one full statement, what a device holds only rises. A newer full statement replaces it, also
   downwards: a device whose disk was restored from a backup says so, and is believed.
2. What was seen stays seen.
3. `receipts` of a device together say all that is known of it, as far as they fit `KEPT_MAX`: they are
   what is passed on to others, for nobody takes our word for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import DEVICES_MAX, LOGS_MAX
from sheaf.core.protocol.receipt import Receipt, Seen, read_receipt
from sheaf.core.protocol.version_vector import decode_entries, encode_entries, raise_to
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

KEPT_MAX: Final = 16
"""Receipts kept per device; an honest one makes a full one before that."""
SEEN_KEPT_MAX: Final = 1024
"""Documents remembered as seen per device; the one seen longest ago is forgotten."""
WORDS_MAX: Final = 2 * DEVICES_MAX
"""Devices whose words are kept."""
_STATE_BYTES_MAX: Final = 16 * 1024 * 1024


def _all(_: DeviceId) -> bool:
    return True


@dataclass(slots=True)
class DeviceWord:
    """What one device said."""

    counter: int = 0
    made_ms: int = 0
    """By its own clock, which may stand at any date."""
    heard_ms: int = 0
    """When something new of it came here last, by our clock."""
    heads: tuple[OpId, ...] = ()
    holds: dict[LogId, int] = field(default_factory=dict)
    seen: dict[DocId, Seen] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    """In the order of their counters; the first is full, unless that one never came here."""

    @property
    def full_counter(self) -> int:
        """The counter of the full statement this builds on; 0 without one."""
        return self.receipts[0].counter if self.receipts and self.receipts[0].is_full else 0

    def has_seen(self, doc_id: DocId, frontier: Mapping[LogId, int]) -> bool:
        """Whether the document was shown with everything below `frontier`."""
        seen = self.seen.get(doc_id)
        return seen is not None and all(seen.entries.get(log, 1) >= seq for log, seq in frontier.items())

    def holds_all(self, frontier: Mapping[LogId, int]) -> bool:
        """Whether everything below `frontier` is durable there."""
        return all(self.holds.get(log, 1) >= seq for log, seq in frontier.items())


class ReceiptBook:
    """The words of all devices of one space."""

    def __init__(self, space_id: SpaceId) -> None:
        self._space_id = space_id
        self._words: dict[DeviceId, DeviceWord] = {}

    def of(self, device_id: DeviceId) -> DeviceWord | None:
        """What a device said; None when it said nothing yet."""
        return self._words.get(device_id)

    def items(self) -> Iterable[tuple[DeviceId, DeviceWord]]:
        """All devices that said something."""
        return self._words.items()

    def counters(self) -> dict[DeviceId, int]:
        """The newest counter of every device."""
        return {device_id: word.counter for device_id, word in self._words.items()}

    def newer_than(self, counters: Mapping[DeviceId, int]) -> list[Receipt]:
        """What somebody who knows up to `counters` lacks, device by device."""
        return [
            receipt
            for device_id, word in self._words.items()
            for receipt in word.receipts
            if receipt.counter > counters.get(device_id, 0)
        ]

    def take(
        self, receipt: Receipt, now_ms: int = 0, *, is_member: Callable[[DeviceId], bool] = _all
    ) -> bool:
        """Merge a verified receipt; True when it was news. The caller knows that its device is a member.

        When the book is full, what those said who are none any more (`is_member`) is forgotten.
        """
        word = self._words.get(receipt.device_id)
        if word is None:
            if len(self._words) >= WORDS_MAX:
                self._words = {device: each for device, each in self._words.items() if is_member(device)}
            if len(self._words) >= WORDS_MAX:
                return False
            word = self._words[receipt.device_id] = DeviceWord()
        if receipt.counter <= word.full_counter or any(r.counter == receipt.counter for r in word.receipts):
            return False
        if receipt.is_full:
            self._begin_anew(word, receipt)
        else:
            _merge(word, receipt)
        self._keep(word, receipt)
        word.heard_ms = max(now_ms, word.heard_ms)
        return True

    # ------------------------------------------------------------------ inside

    def _begin_anew(self, word: DeviceWord, full: Receipt) -> None:
        later = [receipt for receipt in word.receipts if receipt.counter > full.counter]
        word.holds.clear()
        word.receipts = []
        _merge(word, full)
        for receipt in later:
            _merge(word, receipt)
            word.receipts.append(receipt)

    def _keep(self, word: DeviceWord, receipt: Receipt) -> None:
        kept = [old for old in word.receipts if not (old.is_covered_by(receipt) and not old.is_full)]
        if any(receipt.is_covered_by(old) for old in kept if not receipt.is_full):
            return
        kept.append(receipt)
        kept.sort(key=lambda each: each.counter)
        if len(kept) > KEPT_MAX:
            del kept[1 if kept[0].is_full else 0]
        word.receipts = kept

    # ------------------------------------------------------------------ for the store

    def encode(self, device_id: DeviceId) -> bytes:
        """A device's word for the store: CBOR of counter, made_ms, heads, holds, seen, receipts, heard_ms."""
        word = self._words[device_id]
        return cbor.encode(
            {
                0: word.counter,
                1: word.made_ms,
                2: word.heads,
                3: encode_entries(word.holds),
                4: [[doc, seen.at_ms, encode_entries(seen.entries)] for doc, seen in word.seen.items()],
                5: [receipt.raw for receipt in word.receipts],
                6: word.heard_ms,
            }
        )

    def restore(self, device_id: DeviceId, state: bytes) -> None:
        """Undo `encode`.

        Raises:
            WireError: damaged; nothing of it is taken.
        """
        fields = Fields(cbor.decode(state, bytes_max=_STATE_BYTES_MAX), "stored receipts")
        word = DeviceWord(
            counter=fields.uint(0),
            made_ms=fields.uint(1),
            heads=fields.id_list(2, OpId, maximum=256),
            holds=decode_entries(fields.octets(3)),
        )
        for row in fields.array(4, maximum=SEEN_KEPT_MAX):
            shape = Fields(dict(enumerate(row)) if isinstance(row, list) else row, "seen document")
            doc, at_ms, entries = shape.id(0, DocId), shape.uint(1), decode_entries(shape.octets(2))
            shape.done()
            word.seen[doc] = Seen(at_ms, entries)
        for raw in fields.octets_list(5, maximum=KEPT_MAX):
            try:
                word.receipts.append(read_receipt(raw, self._space_id))
            except ProtocolViolation:
                continue  # worth nothing to others; what it said is merged already
        word.heard_ms = fields.uint_or_none(6) or 0
        fields.done()
        self._words[device_id] = word


def _merge(word: DeviceWord, receipt: Receipt) -> None:
    raise_to(word.holds, receipt.holds)
    while len(word.holds) > LOGS_MAX:
        word.holds.popitem()
    if receipt.counter > word.counter:
        word.counter, word.made_ms = receipt.counter, receipt.made_ms
        word.heads = receipt.heads or word.heads
    for doc, seen in receipt.seen.items():
        known = word.seen.pop(doc, None)
        entries = dict(seen.entries) if known is None else {**known.entries}
        raise_to(entries, seen.entries)
        word.seen[doc] = Seen(max(seen.at_ms, known.at_ms if known else 0), entries)
    while len(word.seen) > SEEN_KEPT_MAX:
        del word.seen[next(iter(word.seen))]
