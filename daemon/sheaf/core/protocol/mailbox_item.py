"""One item of a mailbox: what a relay stores and cannot read (PROTOCOL §7, decision 0057).

    plain = u32 length ‖ CBOR {0: [op…], 1: [run…], 2: [receipt…], 3: again?} ‖ zeros up to a Padmé size
    item  = salt (16) ‖ AES-256-GCM(key = HKDF(K_mbx, salt), nonce = 0, AAD = mailbox id)(plain)
    salt  = HMAC(K_mbx, mailbox id ‖ plain)[:16]

The salt follows from the content: the same batch sealed twice (after a crash, or by two members) is
the same item, which a relay stores once; two different batches never share a key. What is inside is
verified by whoever takes it in, as if a peer had sent it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.limits import CONTROL_OP_BYTES_MAX, KIB
from sheaf.core.crypto.hashing import domain_bytes, domain_hmac, hkdf_expand
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.crypto.sealing import NONCE_BYTES, TAG_BYTES, decrypt, encrypt
from sheaf.core.protocol.receipt import RECEIPT_BYTES_MAX
from sheaf.core.space.run import Run
from sheaf.core.wire import cbor
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX
from sheaf.core.wire.shape import Fields

SALT_BYTES: Final = 16
OPS_MAX: Final = 4096
RUNS_MAX: Final = 4096
RECEIPTS_MAX: Final = 1024
_LENGTH_BYTES: Final = 4
_OVERHEAD_BYTES: Final = SALT_BYTES + TAG_BYTES + _LENGTH_BYTES
_NONCE: Final = bytes(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class MailboxBatch:
    """What one item carries: control ops (parents first), runs, signed receipts."""

    ops: tuple[bytes, ...] = ()
    runs: tuple[Run, ...] = ()
    receipts: tuple[bytes, ...] = ()
    again: int = 0
    """Not 0 when it is put once more for somebody who seems never to have been shown it: another item."""

    @property
    def is_empty(self) -> bool:
        """Nothing in it."""
        return not (self.ops or self.runs or self.receipts)


def content_bytes_max(item_bytes_max: int) -> int:
    """How much encoded content surely fits an item: Padmé adds at most 12 %, batches a little CBOR."""
    return max(0, (min(item_bytes_max, ITEM_BYTES_MAX) - _OVERHEAD_BYTES) * 8 // 9 - 1 * KIB)


def padme(length: int) -> int:
    """The size that `length` bytes are padded to: at most 12 % more, and it tells O(log log n) bits
    (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    free_bits = exponent - exponent.bit_length()
    mask = (1 << free_bits) - 1
    return (length + mask) & ~mask


def seal_item(batch: MailboxBatch, keys: SpaceKeys) -> bytes:
    """The item for the mailbox of `keys`' epoch."""
    fields: dict[int, object] = {0: batch.ops, 1: [run.encode() for run in batch.runs], 2: batch.receipts}
    if batch.again:
        fields[3] = batch.again
    content = cbor.encode(fields)
    plain = len(content).to_bytes(_LENGTH_BYTES, "big") + content
    plain += bytes(padme(len(plain)) - len(plain))
    salt = domain_hmac(keys.mailbox_key, "mailbox salt", keys.mailbox_id, plain)[:SALT_BYTES]
    return salt + encrypt(_item_key(keys, salt), _NONCE, plain, keys.mailbox_id)


def open_item(item: bytes, keys: SpaceKeys) -> MailboxBatch:
    """Undo `seal_item`. Sizes and shapes only; ops, runs and receipts are still anybody's claims.

    Raises:
        ProtocolViolation: another key or mailbox, damaged, or not a batch.
    """
    if not _OVERHEAD_BYTES <= len(item) <= ITEM_BYTES_MAX:
        raise WireError("mailbox item of an impossible size")
    salt, sealed = item[:SALT_BYTES], item[SALT_BYTES:]
    plain = decrypt(_item_key(keys, salt), _NONCE, sealed, keys.mailbox_id)
    if domain_hmac(keys.mailbox_key, "mailbox salt", keys.mailbox_id, plain)[:SALT_BYTES] != salt:
        raise ProtocolViolation("mailbox item with a salt of its own")
    length = int.from_bytes(plain[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    if end > len(plain) or any(plain[end:]):
        raise WireError("mailbox item: padding")
    fields = Fields(cbor.decode(plain[_LENGTH_BYTES:end], bytes_max=ITEM_BYTES_MAX), "mailbox item")
    ops = fields.octets_list(0, maximum=OPS_MAX, item_max=CONTROL_OP_BYTES_MAX)
    runs = [Run.decode(raw) for raw in fields.octets_list(1, maximum=RUNS_MAX, item_max=ITEM_BYTES_MAX)]
    receipts = fields.octets_list(2, maximum=RECEIPTS_MAX, item_max=RECEIPT_BYTES_MAX)
    again = fields.uint_or_none(3)
    fields.done()
    if again == 0:
        raise WireError("mailbox item: a field that says nothing")
    return MailboxBatch(tuple(ops), tuple(runs), tuple(receipts), again or 0)


def _item_key(keys: SpaceKeys, salt: bytes) -> bytes:
    return hkdf_expand(keys.mailbox_key, domain_bytes("mailbox item", salt), 32)
