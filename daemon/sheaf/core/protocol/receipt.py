"""Receipts: what one device says it holds, signed, so that anybody may carry it (PROTOCOL §5, §7).

    body = {0: space, 1: device, 2: counter, 3: is_full, 4: made_ms, 5: control heads,
            6: holds (entries), 7: [[document, at_ms, entries]…]}      raw = body ‖ sig_D

`holds` are next_seqs of what is durable there; a document is *seen* up to its entries when its page
was shown with all of that. A receipt is partial (only what moved since the last one) or full (all of
`holds`, in place of everything said before). Proof of delivery is a receipt and nothing else.

Knows neither members nor stores; who may speak is the reader's to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import KIB
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import SIGNATURE_BYTES, DeviceKeys, verify
from sheaf.core.protocol.version_vector import decode_entries, encode_entries
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields, as_bytes, as_uint

RECEIPT_BYTES_MAX: Final = 352 * KIB
"""16,384 logs in full take 311 KiB; below what a message on the control stream may be."""
SEEN_DOCUMENTS_MAX: Final = 256
SEEN_BYTES_MAX: Final = 32 * KIB
"""Of all documents in one receipt."""
HEADS_MAX: Final = 32
_PURPOSE: Final = "receipt"


@dataclass(frozen=True, slots=True)
class Seen:
    """A document was shown with all envelopes below `entries`."""

    at_ms: int
    """The device's wall clock, for display."""
    entries: Mapping[LogId, int]


@dataclass(frozen=True, slots=True)
class Receipt:
    """One statement; `raw` is what is stored and passed on. Made by `sign_receipt` or `read_receipt`."""

    space_id: SpaceId
    device_id: DeviceId
    counter: int
    """Rises with each statement of this device in this space."""
    is_full: bool
    made_ms: int
    heads: tuple[OpId, ...]
    """Its control heads; empty when they did not move."""
    holds: Mapping[LogId, int]
    seen: Mapping[DocId, Seen]
    raw: bytes

    def is_covered_by(self, other: Receipt) -> bool:
        """Whether the same device's later statement says all that this one says."""
        if other.counter <= self.counter or (self.heads and not other.heads):
            return False
        is_held = other.is_full or all(other.holds.get(log, 0) >= seq for log, seq in self.holds.items())
        return is_held and all(_shows(other.seen.get(doc), seen) for doc, seen in self.seen.items())


def _shows(newer: Seen | None, older: Seen) -> bool:
    return newer is not None and all(newer.entries.get(log, 0) >= seq for log, seq in older.entries.items())


def sign_receipt(
    device: DeviceKeys,
    *,
    space_id: SpaceId,
    counter: int,
    is_full: bool,
    made_ms: int,
    heads: tuple[OpId, ...],
    holds: Mapping[LogId, int],
    seen: Mapping[DocId, Seen],
) -> Receipt:
    """A statement of this device. What does not fit of `seen` (the oldest) is left out."""
    heads = heads if len(heads) <= HEADS_MAX else ()
    kept = _fitting(seen)
    body = cbor.encode(
        {
            0: space_id,
            1: device.device_id,
            2: counter,
            3: is_full,
            4: made_ms,
            5: b"".join(heads),
            6: encode_entries(holds),
            7: [[doc, kept[doc].at_ms, encode_entries(kept[doc].entries)] for doc in sorted(kept)],
        }
    )
    raw = body + device.sign(domain_bytes(_PURPOSE, body))
    return Receipt(space_id, device.device_id, counter, is_full, made_ms, heads, dict(holds), kept, raw)


def _fitting(seen: Mapping[DocId, Seen]) -> dict[DocId, Seen]:
    kept: dict[DocId, Seen] = {}
    room = SEEN_BYTES_MAX
    for doc, each in sorted(seen.items(), key=lambda item: -item[1].at_ms):
        room -= len(each.entries) * (LogId.SIZE + 8) + DocId.SIZE + 16
        if room < 0 or len(kept) >= SEEN_DOCUMENTS_MAX:
            break
        kept[doc] = each
    return kept


def read_receipt(raw: bytes, space_id: SpaceId) -> Receipt:
    """Read and verify a receipt that claims to be about `space_id`.

    Raises:
        WireError: not a receipt.
        ProtocolViolation: about another space, or not signed by the device it names.
    """
    if len(raw) <= SIGNATURE_BYTES:
        raise WireError("receipt cut short")
    body, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
    fields = Fields(cbor.decode(body, bytes_max=RECEIPT_BYTES_MAX), "receipt")
    named, device_id = fields.id(0, SpaceId), fields.id(1, DeviceId)
    counter, is_full, made_ms = fields.uint(2), fields.flag(3), fields.uint(4)
    heads = _heads(fields.octets(5, maximum=HEADS_MAX * OpId.SIZE))
    holds = decode_entries(fields.octets(6))
    seen = _seen(fields.array(7, maximum=SEEN_DOCUMENTS_MAX))
    fields.done()
    if named != space_id:
        raise ProtocolViolation("a receipt of another space")
    if not verify(device_id, domain_bytes(_PURPOSE, body), signature):
        raise ProtocolViolation("a receipt that its device did not sign")
    return Receipt(named, device_id, counter, is_full, made_ms, heads, holds, seen, raw)


def _heads(data: bytes) -> tuple[OpId, ...]:
    if len(data) % OpId.SIZE:
        raise WireError("receipt: heads that do not divide")
    return tuple(OpId(data[at : at + OpId.SIZE]) for at in range(0, len(data), OpId.SIZE))


def _seen(rows: list[cbor.Value]) -> dict[DocId, Seen]:
    found: dict[DocId, Seen] = {}
    last = b""
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise WireError("receipt: not a seen document")
        doc = as_bytes(row[0], size=DocId.SIZE)
        if doc <= last and found:
            raise WireError("receipt: documents out of order")
        entries = decode_entries(as_bytes(row[2], maximum=SEEN_BYTES_MAX))
        found[DocId(doc)] = Seen(as_uint(row[1]), entries)
        last = doc
    return found
