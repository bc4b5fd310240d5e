"""What of a space stands in one mailbox, as far as we saw or put it there (PROTOCOL §7).

Per log one stretch [first, next); ops by their ids; receipts by the newest counter per device. It is
the relay's word and ours from earlier, so it decides only what is uploaded and what is shown as "on the
relay", never what counts as delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, LogId, OpId
from sheaf.core.base.limits import DEVICES_MAX, LOGS_MAX
from sheaf.core.wire.varint import decode_uvar, encode_uvar

Span = tuple[int, int]
OPS_KEPT_MAX: Final = 20_000
"""So many are stored; of more, some are put there once more after a restart."""


@dataclass(slots=True)
class Coverage:
    """See the module."""

    spans: dict[LogId, Span] = field(default_factory=dict)
    ops: set[OpId] = field(default_factory=set)
    receipts: dict[DeviceId, int] = field(default_factory=dict)

    def add_run(self, log_id: LogId, first_seq: int, next_seq: int) -> None:
        """These envelopes stand there. Of two stretches with a hole between them the newer one counts."""
        if next_seq <= first_seq or (log_id not in self.spans and len(self.spans) >= LOGS_MAX):
            return
        known = self.spans.get(log_id)
        if known is None or first_seq > known[1]:
            self.spans[log_id] = (first_seq, next_seq)
        elif next_seq >= known[0]:
            self.spans[log_id] = (min(first_seq, known[0]), max(next_seq, known[1]))

    def add_op(self, op_id: OpId) -> None:
        """This control op, which is in our control plane and bounded with it, stands there."""
        self.ops.add(op_id)

    def add_receipt(self, device_id: DeviceId, counter: int) -> None:
        """A statement of this device stands there."""
        if device_id in self.receipts or len(self.receipts) < 2 * DEVICES_MAX:
            self.receipts[device_id] = max(counter, self.receipts.get(device_id, 0))

    def forget_from(self, log_id: LogId, first_seq: int) -> None:
        """Take envelopes from `first_seq` on for not standing there."""
        known = self.spans.pop(log_id, None)
        if known is not None and known[0] < first_seq:
            self.spans[log_id] = (known[0], min(first_seq, known[1]))

    def lacks(self, log_id: LogId, first_seq: int, next_seq: int) -> list[Span]:
        """Which stretches of [first_seq, next_seq) do not stand there, in order."""
        first, end = self.spans.get(log_id, (next_seq, next_seq))
        missing = [(first_seq, min(first, next_seq)), (max(end, first_seq), next_seq)]
        return [(low, high) for low, high in missing if low < high]

    def has(self, log_id: LogId, first_seq: int, next_seq: int) -> bool:
        """Whether all of [first_seq, next_seq) stands there."""
        return not self.lacks(log_id, first_seq, next_seq)

    def shrunk_since(self, earlier: Coverage, floors: Mapping[LogId, int]) -> int:
        """How many envelopes at or above `floors` stood there earlier and do not now."""
        return sum(
            high - low
            for log_id, (first, end) in earlier.spans.items()
            if max(first, floors.get(log_id, end)) < end
            for low, high in self.lacks(log_id, max(first, floors.get(log_id, end)), end)
        )

    def encode_spans(self) -> bytes:
        """`log_id ‖ first uvar ‖ next uvar`, sorted."""
        return b"".join(
            log_id + encode_uvar(first) + encode_uvar(end)
            for log_id, (first, end) in sorted(self.spans.items())
        )

    def decode_spans(self, data: bytes) -> None:
        """Undo `encode_spans`. Raises WireError."""
        position = 0
        while position < len(data):
            name = data[position : position + LogId.SIZE]
            if len(name) < LogId.SIZE or len(self.spans) >= LOGS_MAX:
                raise WireError("coverage cut short or too long")
            first, position = decode_uvar(data, position + LogId.SIZE)
            end, position = decode_uvar(data, position)
            self.spans[LogId(name)] = (first, end)
