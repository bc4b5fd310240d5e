"""What a mailbox must still be given for the devices that are away (PROTOCOL §7). Pure.

The floor of a log is what every absent device is known, by its own receipts, to hold; of a device that
never said anything nothing is known, so its floor is the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.ids import DeviceId, LogId, OpId
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.protocol.receipt import Receipt
from sheaf.core.protocol.receipt_book import ReceiptBook
from sheaf.core.space.control_op import ControlOp
from sheaf.core.space.space import Space

SILENT_MS_MAX: Final = 60 * 86_400_000
"""A device that said nothing for as long as relays keep items is not waited for (soft expiry)."""


@dataclass(slots=True)
class Need:
    """What is to be uploaded."""

    ops: list[ControlOp] = field(default_factory=list)
    spans: list[tuple[LogId, int, int]] = field(default_factory=list)
    """(log, first seq, next seq)."""
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing to do."""
        return not (self.ops or self.spans or self.receipts)


def absent(space: Space, book: ReceiptBook, here: Collection[DeviceId], now_ms: int) -> list[DeviceId]:
    """Members' devices that are not `here` (this one, and those that are live) and still waited for."""
    found = []
    for device_id in space.membership.devices():
        word = book.of(device_id)
        if device_id in here:
            continue
        if word is None or now_ms - max(word.made_ms, word.heard_ms) < SILENT_MS_MAX:
            found.append(device_id)
    return found


def floors(book: ReceiptBook, devices: Iterable[DeviceId], logs: Iterable[LogId]) -> dict[LogId, int]:
    """By log, the seq below which all of `devices` hold everything."""
    words = [book.of(device_id) for device_id in devices]
    if any(word is None for word in words):
        return dict.fromkeys(logs, 1)
    holds = [word.holds for word in words if word is not None]
    return {log_id: min((each.get(log_id, 1) for each in holds), default=1) for log_id in logs}


def lacking_ops(space: Space, book: ReceiptBook, devices: Iterable[DeviceId]) -> list[ControlOp]:
    """Control ops that at least one of `devices` is not known to have, parents first."""
    known = -1
    for device_id in devices:
        word = book.of(device_id)
        known &= 0 if word is None else space.control.mask(word.heads)
    return [op for at, op in enumerate(space.control.topological()) if not known >> at & 1]


def needed(
    space: Space,
    book: ReceiptBook,
    devices: Collection[DeviceId],
    durable: Mapping[LogId, int],
    coverage: Coverage,
) -> Need:
    """What the mailbox of the current epoch lacks for `devices`."""
    if not devices:
        return Need()
    spans = [
        (log_id, first, end)
        for log_id, floor in floors(book, devices, durable).items()
        if floor < durable[log_id]
        for first, end in coverage.lacks(log_id, floor, durable[log_id])
    ]
    ops = [op for op in lacking_ops(space, book, devices) if op.op_id not in coverage.ops]
    newer = book.newer_than(coverage.receipts)
    receipts = [receipt for receipt in newer if space.membership.is_active(receipt.device_id)]
    return Need(ops=ops, spans=spans, receipts=receipts)


def doubted(
    space: Space,
    book: ReceiptBook,
    devices: Iterable[DeviceId],
    durable: Mapping[LogId, int],
    coverage: Coverage,
    told: Mapping[DeviceId, int],
) -> dict[DeviceId, int]:
    """Devices that spoke since something was put there for them and still lack some of it, with the counter
    of what they said: the relay may not have shown it to them."""
    found = {}
    for device_id in devices:
        word = book.of(device_id)
        if word is None or word.counter <= told.get(device_id, 0):
            continue
        lacks = any(
            word.holds.get(log, 1) < end and coverage.has(log, max(1, word.holds.get(log, 1)), end)
            for log, end in durable.items()
        )
        if lacks or any(op.op_id in coverage.ops for op in lacking_ops(space, book, [device_id])):
            found[device_id] = word.counter
    return found


def needed_in_old(space: Space, book: ReceiptBook, devices: Collection[DeviceId], coverage: Coverage) -> Need:
    """What the mailbox of the epoch before lacks: the way to the current epoch, and nothing later.

    Who was away during a rotation knows only that mailbox; who was removed still reads it.
    """
    current = space.current_epoch()
    rotation = next((info.op_id for info in space.membership.epochs if info.epoch_id == current), None)
    if rotation is None or not devices:
        return Need()
    past: frozenset[OpId] = space.control.ancestors([rotation])
    ops = lacking_ops(space, book, devices)
    return Need(ops=[op for op in ops if op.op_id in past and op.op_id not in coverage.ops])
