"""Reading one mailbox: the items of one epoch of one space on one relay (PROTOCOL §7).

Nothing in it is trusted. An item that does not open is skipped and counted; what opens is taken in
like a peer's word, ops before runs before receipts, and the position is committed together with it.
Runs that arrive with a hole wait in the space's bounded hold; while something is missing at the end,
everything is read again, as long as that brings anything and once more (FAULTS N13). What stands there
counts (`coverage`) when we hold the very same: a run that says so much and cannot be joined proves nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import structlog

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.core.base.limits import KIB
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.protocol.mailbox_item import MailboxBatch, open_item
from sheaf.core.protocol.receipt import Receipt, read_receipt
from sheaf.core.space.control_op import decode_op, op_id_of
from sheaf.core.space.run import Run
from sheaf.core.wire.relay_words import PAGE_BYTES_MAX
from sheaf.node.mailbox_hanging import Hanging
from sheaf.node.mailbox_memory import MailboxMemory, Trouble
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, MailboxAccess, MailboxItem, MailboxPage, MailboxRow, Relay, Store

PAGES_MAX: Final = 4096
"""In one go; what goes on for longer is no mailbox (64 MiB are 128 pages)."""
PIECE_BYTES: Final = 32 * KIB
"""So much is verified and applied without a pause, about 20 ms."""
_RUN_COST_BYTES: Final = 256
"""A run costs at least as much as so many bytes: its signature."""
ANEW_MAX: Final = 4
"""So often in one go may a relay change its story."""

logger = structlog.get_logger("sheaf.mailbox")


class Mailbox:
    """One mailbox and what is remembered of it. `counts` is shared by all, for metrics."""

    def __init__(
        self,
        *,
        relay: Relay,
        keys: SpaceKeys,
        host: SpaceHost,
        memory: MailboxMemory,
        store: Store,
        clock: Clock,
        counts: dict[str, float],
    ) -> None:
        self.relay = relay
        self.keys = keys
        self.host = host
        self.memory = memory
        self.access = MailboxAccess(keys.mailbox_id, keys.mailbox_token)
        self.news: tuple[int, bytes] | None = None
        """What the relay said last: newest position and incarnation."""
        self.is_anchored = False
        """Whether, since we are connected, the relay showed again what we read last."""
        self.hanging = Hanging()
        """What in it cannot be joined to what we have."""
        self.items_seen = 0
        self.bytes_seen = 0
        """What stands there, about: as the relay said when we came, and what came since."""
        self._store = store
        self._clock = clock
        self._counts = counts
        self._joined: list[tuple[Run, bool]] = []
        """Runs of the page at hand whose positions we hold, and whether ingest verified all of it."""
        self._hopeless: frozenset[bytes] = frozenset()
        """What hangs, and did so still when everything was read again."""
        self._has_restarted = True

    @property
    def wants_reading(self) -> bool:
        """Whether there is anything to fetch, as far as the relay said."""
        if not self.is_anchored:
            return True
        if self.news is None:
            return False
        last, incarnation = self.news
        is_same = incarnation == self.memory.incarnation or last == 0 == self.memory.position
        return last != self.memory.position or not is_same

    @property
    def is_incomplete(self) -> bool:
        """Something in it cannot be joined to what we have, even after reading it again."""
        return bool(self.hanging)

    def row(self) -> MailboxRow:
        """What to store."""
        return MailboxRow(self.host.space_id, self.relay.url, self.access.mailbox_id, self.memory.encode())

    # ------------------------------------------------------------------ reading

    async def catch_up(self, *, from_start: bool = False) -> tuple[Trouble | None, Coverage]:
        """Read to the end; `from_start` looks at everything again and finds out anew what stands there.

        Returns:
            how the relay's story changed, if it did, and what stood there before that.

        Raises:
            TransportFailure: the relay is gone or talks nonsense.
            StorageFailure: what was read could not be kept.
        """
        memory = self.memory
        earlier = memory.coverage
        found: Trouble | None = None
        after = memory.resume if self._has_restarted else memory.position
        if not self.is_anchored:
            after = min(after, max(0, memory.position - 1))
        if from_start:
            memory.coverage, self.hanging, self._hopeless, after = Coverage(), Hanging(), frozenset(), 0
        begun_anew = 0
        progress: object = None
        for _ in range(PAGES_MAX):
            page = await self.relay.get(self.access, after, PAGE_BYTES_MAX)
            _require_order(page, after)
            trouble = memory.judge(page, after)
            if trouble is not None:
                begun_anew += 1
                if begun_anew > ANEW_MAX:
                    raise TransportFailure("the relay tells another story each time it is asked")
                found = found if found is Trouble.ROLLED_BACK else trouble
                self._begin_anew()
                after = 0
                continue
            await self._take(page)
            after = page.items[-1].position if page.items else page.last
            if after < page.last and page.items:
                continue
            if self._is_hopeless(progress):
                break
            progress, after = self._reach(), 0
        else:
            raise TransportFailure("the relay's mailbox does not end")
        if not self.is_anchored or found is not None or from_start:
            stat = await self.relay.stat(self.access)
            self.items_seen, self.bytes_seen = stat.items, stat.size_bytes
        self.is_anchored, self._has_restarted = True, False
        if memory.position < page.last:  # what stood there expired before we came
            memory.position, memory.item_hash = page.last, b""
        if self.news is None or self.news[0] <= page.last:
            self.news = (memory.position, memory.incarnation)
        if found is not None:
            self.host.put_mailbox(self.row())
        return found, earlier

    def _begin_anew(self) -> None:
        self.memory.begin_anew()
        self.hanging = Hanging()

    async def _take(self, page: MailboxPage) -> None:
        """Take in a page, in pieces that hold up nobody's typing; the position goes with the last."""
        if not page.items:
            return
        batches = [batch for item in page.items if (batch := self._open(item)) is not None]
        self._take_ops(batches)
        taken_bytes = 0
        for run in (run for batch in batches for run in batch.runs):
            self._take_run(run)
            taken_bytes += run.size_bytes + _RUN_COST_BYTES
            if taken_bytes >= PIECE_BYTES:
                taken_bytes = 0
                await self.host.flush()
        self._take_receipts(batches)
        for item in page.items:
            self.memory.read(item, page.incarnation)
        if self.hanging or not all(is_verified for _, is_verified in self._joined):
            await self.host.flush()  # what is compared is on the disk
        await self.settle()
        if not self.hanging:
            self.memory.resume = self.memory.position
        self.memory.touched_ms = self._clock.wall_ms()
        self.host.put_mailbox(self.row())
        await self.host.flush()

    def _open(self, item: MailboxItem) -> MailboxBatch | None:
        self._counts["mailbox_items_read_total"] += 1
        if item.position > self.memory.position:
            self.items_seen += 1
            self.bytes_seen += len(item.data)
        try:
            return open_item(item.data, self.keys)
        except ProtocolViolation as error:
            self._counts["mailbox_items_skipped_total"] += 1
            logger.warning("an item of a mailbox does not open", position=item.position, reason=str(error))
            return None

    def _take_ops(self, batches: Sequence[MailboxBatch]) -> None:
        control = self.host.space.control
        fresh: dict[bytes, None] = {}
        for raw in (raw for batch in batches for raw in batch.ops):
            op_id = op_id_of(raw)
            if op_id in control:
                self.memory.coverage.add_op(op_id)
            else:
                fresh[raw] = None
        if not fresh:
            return
        result = self.host.add_ops(list(fresh))
        for op in result.added:
            self.memory.coverage.add_op(op.op_id)
        for raw in fresh if result.missing else ():
            with contextlib.suppress(ProtocolViolation):
                if control.missing_parents(op := decode_op(raw)):
                    self.hanging.keep_op(op)

    def _take_run(self, run: Run) -> None:
        if not run.envelopes:
            return
        before = self._next_seq(run)
        result = self.host.ingest(run)
        if result.refused is not None:
            self._counts["mailbox_runs_refused_total"] += 1
            logger.warning("a run in a mailbox was refused", log=run.log_id.short, reason=result.refused)
        if run.log_id in result.frozen:
            return
        if run.next_seq <= self._next_seq(run):
            self._joined.append((run, run.first_seq == before and result.refused is None))
        elif result.refused is None:
            self.hanging.keep_run(run)

    def _next_seq(self, run: Run) -> int:
        head = self.host.space.logs.get(run.log_id)
        return 1 if head is None else head.next_seq

    async def settle(self) -> None:
        """Note what of the page at hand, and of what hung until now, stands there and on our disk alike."""
        joined, self._joined = self._joined, []
        if not (joined or self.hanging):
            return
        ops, runs = self.hanging.settle(self.host.space, self.host.durable)
        for op in ops:
            self.memory.coverage.add_op(op.op_id)
        joined += [(run, False) for run in runs]
        for run, is_verified in sorted(joined, key=lambda each: (each[0].log_id, each[0].first_seq)):
            if is_verified or await self._is_ours(run):
                self.memory.coverage.add_run(run.log_id, run.first_seq, run.next_seq)

    async def _is_ours(self, run: Run) -> bool:
        stored = await self._store.run(self.host.space_id, run.log_id, run.first_seq, run.size_bytes)
        return stored.envelopes[: len(run.envelopes)] == run.envelopes

    def _take_receipts(self, batches: Sequence[MailboxBatch]) -> None:
        found: list[Receipt] = []
        for raw in (raw for batch in batches for raw in batch.receipts):
            try:
                receipt = read_receipt(raw, self.host.space_id)
            except ProtocolViolation:
                self._counts["mailbox_items_skipped_total"] += 1
                continue
            if self.host.is_member(receipt.device_id):
                self.memory.coverage.add_receipt(receipt.device_id, receipt.counter)
            found.append(receipt)
        if found:
            self.host.delivery.take(found)
            self.host.delivery.keep()

    # ------------------------------------------------------------------ what is missing

    def _is_hopeless(self, before: object) -> bool:
        """Whether reading everything again is of no use: nothing is missing, or it brought nothing."""
        gaps = self.hanging.names()
        if self._reach() == before:
            self._hopeless = gaps
            return True
        return gaps <= self._hopeless

    def _reach(self) -> object:
        """Another one when anything came of what hangs."""
        space, gaps = self.host.space, self.hanging.names()
        heads = [(head.log_id, head.next_seq) for head in space.logs if head.log_id in gaps]
        return gaps, heads, len(space.control)

    # ------------------------------------------------------------------ own items

    def stored(self, item: bytes, position: int, incarnation: bytes) -> None:
        """An item of ours stands there. Directly after what we read last, it need not be read."""
        self.items_seen += 1
        self.bytes_seen += len(item)
        if self.memory.incarnation in (incarnation, bytes(len(incarnation))) and self.is_anchored:
            if position == self.memory.position + 1:
                self.memory.read(MailboxItem(position, item), incarnation)
                if not self.is_incomplete:
                    self.memory.resume = position
                self.news = (max(position, self.news[0] if self.news else 0), incarnation)
        else:
            self.is_anchored = False


def _require_order(page: MailboxPage, after: int) -> None:
    """Raises TransportFailure: positions that do not grow would make us read for ever."""
    last = after
    for item in page.items:
        if item.position <= last:
            raise TransportFailure("the relay's mailbox is out of order")
        last = item.position
    if page.items and last > page.last:
        raise TransportFailure("the relay's mailbox ends before its last item")
