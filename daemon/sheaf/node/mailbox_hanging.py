"""What a mailbox holds that cannot be joined to what we have: it hangs in the air (PROTOCOL §7).

Anybody with the mailbox's key can put such pieces there, so they prove nothing; but they may be honest,
and stand nowhere else while their author is away. They count for nothing, and are kept here, as far as one
item could carry them, so that compaction can carry them over. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sheaf.core.base.ids import LogId, OpId
from sheaf.core.base.limits import LOGS_MAX
from sheaf.core.protocol.mailbox_item import MailboxBatch
from sheaf.core.space.control_op import ControlOp
from sheaf.core.space.run import Run
from sheaf.core.space.space import Space
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX

PIECES_MAX: Final = 1024
_MORE: Final = b"more"


class Hanging:
    """See the module. Bounded: what does not fit is only known to be there (`has_more`)."""

    def __init__(self) -> None:
        self.ops: dict[OpId, ControlOp] = {}
        """Control ops without their parents."""
        self.runs: dict[Run, None] = {}
        """Runs with a hole before them, or under control heads that are not here; in the order they came."""
        self.has_more = False
        """There are more than could be kept."""
        self._ends: dict[LogId, int] = {}
        """By log, the end of what hangs."""
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self.ops or self.runs or self._ends or self.has_more)

    def __len__(self) -> int:
        return len(self.ops) + len(self.runs)

    def added_to(self, batch: MailboxBatch) -> MailboxBatch:
        """A batch that carries it along."""
        ops = (*batch.ops, *(op.raw for op in self.ops.values()))
        return replace(batch, ops=ops, runs=(*batch.runs, *self.runs))

    def keep_op(self, op: ControlOp) -> None:
        """Its parents are not here."""
        if op.op_id not in self.ops and self._has_room(len(op.raw)):
            self.ops[op.op_id] = op

    def keep_run(self, run: Run) -> None:
        """Not all of it could be joined."""
        if run.log_id in self._ends or len(self._ends) < LOGS_MAX:
            self._ends[run.log_id] = max(run.next_seq, self._ends.get(run.log_id, 0))
        if run not in self.runs and self._has_room(_cost(run)):
            self.runs[run] = None

    def _has_room(self, size_bytes: int) -> bool:
        is_room = len(self.ops) + len(self.runs) < PIECES_MAX and self._bytes + size_bytes <= ITEM_BYTES_MAX
        self._bytes += size_bytes if is_room else 0
        self.has_more |= not is_room
        return is_room

    def names(self) -> frozenset[bytes]:
        """The logs and ops concerned: whether reading everything again brought anything."""
        return frozenset((*self.ops, *self._ends, *((_MORE,) if self.has_more else ())))

    def settle(self, space: Space, durable: Mapping[LogId, int]) -> tuple[list[ControlOp], list[Run]]:
        """Let go of what hangs no longer; returns ops that were added, and runs whose positions are all on
        our disk by now (whether the same envelopes are there is for the caller to see)."""
        control, logs = space.control, space.logs
        ops = [op for op in self.ops.values() if not control.missing_parents(op)]
        frozen = {head.log_id for log_id in self._ends if (head := logs.get(log_id)) and head.frozen}
        joined = {run: None for run in self.runs if durable.get(run.log_id, 1) >= run.next_seq}
        for op in ops:
            del self.ops[op.op_id]
            self._bytes -= len(op.raw)
        for run in [run for run in self.runs if run in joined or run.log_id in frozen]:
            del self.runs[run]
            self._bytes -= _cost(run)
        for log_id, end in list(self._ends.items()):
            if log_id in frozen or durable.get(log_id, 1) >= end:
                del self._ends[log_id]
        return [op for op in ops if op.op_id in control], [run for run in joined if run.log_id not in frozen]


def _cost(run: Run) -> int:
    """What keeping a run costs: also one of many empty envelopes."""
    return run.size_bytes + 16 * len(run.envelopes) + len(run.genesis or b"")
