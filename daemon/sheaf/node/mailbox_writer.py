"""Filling one mailbox: batches under the relay's limits, and compaction (PROTOCOL §7).

The logs on our disk are the outbox; nothing leaves it because a relay said "stored". An upload cut
short is begun again from what the mailbox is known to hold: envelopes are known by their ids, so
nothing is doubled for whoever reads it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import structlog

from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import KIB, MIB
from sheaf.core.protocol.mailbox_item import (
    OPS_MAX,
    RECEIPTS_MAX,
    RUNS_MAX,
    MailboxBatch,
    content_bytes_max,
    seal_item,
)
from sheaf.core.protocol.receipt import Receipt
from sheaf.core.space.control_op import ControlOp
from sheaf.core.space.run import Run
from sheaf.node.mailbox import Mailbox
from sheaf.node.mailbox_hanging import Hanging
from sheaf.node.mailbox_needs import Need
from sheaf.ports import Store

COMPACT_ITEMS: Final = 256
COMPACT_BYTES: Final = 1 * MIB
RUN_BYTES: Final = 128 * KIB
_PIECE_OVERHEAD: Final = 64
_RUN_OVERHEAD: Final = 1 * KIB
"""Of a run with its log's genesis."""

logger = structlog.get_logger("sheaf.mailbox")


class _Filling:
    """A batch in the making, with its size."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.left = room
        self.ops: list[ControlOp] = []
        self.runs: list[Run] = []
        self.receipts: list[Receipt] = []

    def fits(self, size: int) -> bool:
        counts = (len(self.ops) < OPS_MAX, len(self.runs) < RUNS_MAX, len(self.receipts) < RECEIPTS_MAX)
        return size <= self.left and all(counts)

    @property
    def is_empty(self) -> bool:
        return not (self.ops or self.runs or self.receipts)

    def batch(self) -> MailboxBatch:
        return MailboxBatch(
            tuple(op.raw for op in self.ops), tuple(self.runs), tuple(each.raw for each in self.receipts)
        )


def _run_cost(run: Run) -> int:
    """How much of a batch a run takes at most."""
    return run.size_bytes + len(run.envelopes) * 4 + _RUN_OVERHEAD


class MailboxWriter:
    """Puts what is needed into a mailbox."""

    def __init__(self, *, mailbox: Mailbox, store: Store, counts: dict[str, float], again: int = 0) -> None:
        self._mailbox = mailbox
        self._again = again
        self._store = store
        self._counts = counts
        self.too_large = 0
        """Pieces that no item of this relay can carry."""
        self._too_large_receipts: list[Receipt] = []
        self.is_hindered = False
        """What hangs in the mailbox did not fit beside what is needed."""

    async def upload(self, need: Need) -> None:
        """Put all of it, item by item.

        Raises:
            TransportFailure: the relay is gone, or refuses (RelayRefused); what was put is noted.
            StorageFailure: our own disk.
        """
        self.too_large = 0
        async for filling in self._fillings(need):
            item = seal_item(replace(filling.batch(), again=self._again), self._mailbox.keys)
            stored = await self._mailbox.relay.put(self._mailbox.access, item)
            self._counts["mailbox_items_put_total"] += 1
            self._counts["mailbox_bytes_put_total"] += len(item)
            self._note(filling)
            self._mailbox.stored(item, stored.position, stored.incarnation)
            self._mailbox.host.put_mailbox(self._mailbox.row())
        for (
            receipt
        ) in self._too_large_receipts:  # they reach others when they meet; not tried again and again
            self._mailbox.memory.coverage.add_receipt(receipt.device_id, receipt.counter)

    async def compact(self, need: Need, *, may_drop: bool = False) -> bool:
        """Replace everything in the mailbox by one item with what is needed and what hangs; False if it
        does not fit. With `may_drop` only as much of what hangs as fits.

        Raises:
            TransportFailure: RelayRefused CHANGED when somebody was faster.
        """
        only: _Filling | None = None
        async for filling in self._fillings(need):
            if only is not None:
                return False
            only = filling
        if self.too_large:
            return False
        box, memory = self._mailbox, self._mailbox.memory
        filling = only or _Filling(content_bytes_max(box.relay.item_bytes_max))
        carried = self._carry(filling)
        self.is_hindered = box.hanging.has_more or len(carried) < len(box.hanging)
        if self.is_hindered and not may_drop:
            return False
        item = seal_item(carried.added_to(filling.batch()), box.keys)
        stored = await box.relay.compact(box.access, memory.position, item)
        self._counts["mailbox_compactions_total"] += 1
        memory.begin_anew()
        memory.incarnation = stored.incarnation
        memory.position = stored.position - 1
        box.hanging = carried
        box.items_seen = box.bytes_seen = 0
        self._note(filling)
        box.stored(item, stored.position, stored.incarnation)
        box.host.put_mailbox(box.row())
        return True

    def _carry(self, filling: _Filling) -> Hanging:
        """As much of what hangs as fits beside `filling`: first what somebody signed for."""
        hanging, carried = self._mailbox.hanging, Hanging()
        words = [word for _, word in self._mailbox.host.delivery.book.items()]

        def is_unsigned(run: Run) -> bool:
            return not any(word.holds.get(run.log_id, 1) >= run.next_seq for word in words)

        left, ops_left = filling.left, OPS_MAX - len(filling.ops)
        for op in list(hanging.ops.values())[:ops_left]:
            if (size := len(op.raw) + _PIECE_OVERHEAD) <= left:
                carried.keep_op(op)
                left -= size
        for run in sorted(hanging.runs, key=is_unsigned)[: RUNS_MAX - len(filling.runs)]:
            if (size := _run_cost(run) + len(run.genesis or b"")) <= left:
                carried.keep_run(run)
                left -= size
        return carried

    def _note(self, filling: _Filling) -> None:
        coverage = self._mailbox.memory.coverage
        for op in filling.ops:
            coverage.add_op(op.op_id)
        for run in filling.runs:
            coverage.add_run(run.log_id, run.first_seq, run.next_seq)
        for receipt in filling.receipts:
            coverage.add_receipt(receipt.device_id, receipt.counter)

    # ------------------------------------------------------------------ batches

    async def _fillings(self, need: Need) -> AsyncIterator[_Filling]:
        """Everything needed, in as few batches as it fits in: ops first, so that runs find them."""
        filling = _Filling(content_bytes_max(self._mailbox.relay.item_bytes_max))
        for op in need.ops:
            if len(op.raw) + _PIECE_OVERHEAD > filling.room:
                self.too_large += 1
                continue
            if not filling.fits(len(op.raw) + _PIECE_OVERHEAD):
                yield filling
                filling = _Filling(filling.room)
            filling.ops.append(op)
            filling.left -= len(op.raw) + _PIECE_OVERHEAD
        for log_id, first, end in need.spans:
            while first < end:
                room = filling.left - _RUN_OVERHEAD
                run = await self._run(log_id, first, min(RUN_BYTES, max(room, 1)))
                size = _run_cost(run)
                if not run.envelopes or size > filling.room:
                    self.too_large += bool(run.envelopes)
                    break
                if not filling.fits(size):
                    yield filling
                    filling = _Filling(filling.room)
                filling.runs.append(run)
                filling.left -= size
                first = run.next_seq
        for receipt in need.receipts:
            size = len(receipt.raw) + _PIECE_OVERHEAD
            if size > filling.room:
                self._too_large_receipts.append(receipt)
                continue
            if not filling.fits(size):
                yield filling
                filling = _Filling(filling.room)
            filling.receipts.append(receipt)
            filling.left -= size
        if not filling.is_empty:
            yield filling

    async def _run(self, log_id: LogId, first_seq: int, bytes_max: int) -> Run:
        host = self._mailbox.host
        stored = await self._store.run(host.space_id, log_id, first_seq, bytes_max)
        genesis = host.view.genesis_of(log_id) if first_seq == 1 else None
        return Run(log_id, first_seq, genesis, stored.envelopes)
