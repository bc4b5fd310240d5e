"""The control plane's history: a DAG of ops, parents always present (PROTOCOL §4).

Keeps the past of every op as a bit set over insertion order, so "was this known then"
is one shift. Invariants:

1. Parents are added before children; insertion order is a topological order.
2. The first op is the genesis of `space_id`; every other op names the same space.
3. Every op's admission is a genesis or admit in its own past, and its device was
   certified for that admission in its own past (or by the op itself, a dev_add). So
   strangers cannot grow the DAG, and the rule depends on the op's past alone, never on
   the order of arrival.

Whether an op *counts* is `evaluation`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, OpId, SpaceId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.space.control_op import ControlOp, decode_op
from sheaf.core.space.op_bodies import Admit, DevAdd, Genesis, OpType

__all__ = ["OPS_MAX", "ControlDag", "ControlOp", "OpType", "decode_op"]

OPS_MAX = 20_000
"""Ops of one space; their pasts then take 25 MB at most."""


class ControlDag:
    """The ops of one space. Only ever grows."""

    def __init__(self, space_id: SpaceId) -> None:
        self.space_id = space_id
        self._ops: list[ControlOp] = []
        self._index: dict[OpId, int] = {}
        self._past: list[int] = []
        self._heads: set[OpId] = set()
        self._by_admission: dict[OpId, list[int]] = {}
        self._added: dict[tuple[OpId, DeviceId], int] = {}

    def __len__(self) -> int:
        return len(self._ops)

    def __contains__(self, op_id: object) -> bool:
        return op_id in self._index

    def get(self, op_id: OpId) -> ControlOp | None:
        """The op, or None when it is not here."""
        index = self._index.get(op_id)
        return None if index is None else self._ops[index]

    def heads(self) -> tuple[OpId, ...]:
        """Ops without children, sorted."""
        return tuple(sorted(self._heads))

    def topological(self) -> Iterator[ControlOp]:
        """All ops, parents first."""
        return iter(self._ops)

    def missing_parents(self, op: ControlOp) -> frozenset[OpId]:
        """Parents of `op` that are not here."""
        return frozenset(parent for parent in op.parents if parent not in self._index)

    def add(self, op: ControlOp) -> bool:
        """Take in an op whose parents are here; False when it is here already.

        Raises:
            ProtocolViolation: it breaks invariant 2 or 3, or the space is full.
        """
        if op.op_id in self._index:
            return False
        assert not self.missing_parents(op)
        if op.space_id != self.space_id or (op.type is OpType.GENESIS) != (not self._ops):
            raise ProtocolViolation("control op of another space")
        if len(self._ops) >= OPS_MAX:
            raise ProtocolViolation("the space's history is full")
        past = 0
        for parent in op.parents:
            past |= self._past[self._index[parent]]
        if op.type is not OpType.GENESIS and not self._is_certified(op, past):
            raise ProtocolViolation("control op by a device that was never admitted")
        self._append(op, past)
        return True

    def ancestors(self, heads: Iterable[OpId]) -> frozenset[OpId]:
        """`heads` that are here, with everything before them."""
        mask = self.mask(heads)
        return frozenset(op.op_id for i, op in enumerate(self._ops) if mask >> i & 1)

    def missing_for(self, their_heads: Iterable[OpId]) -> list[bytes]:
        """Raw ops that whoever has exactly `their_heads` lacks, parents first."""
        mask = self.mask(their_heads)
        return [op.raw for i, op in enumerate(self._ops) if not mask >> i & 1]

    def knows(self, heads: Iterable[OpId]) -> bool:
        """Whether all of `heads` are here."""
        return all(head in self._index for head in heads)

    # ------------------------------------------------------------ for evaluation

    def mask(self, heads: Iterable[OpId] | None) -> int:
        """The past of `heads` (None: everything) as a bit set over positions."""
        if heads is None:
            return (1 << len(self._ops)) - 1
        mask = 0
        for head in heads:
            index = self._index.get(head)
            if index is not None:
                mask |= self._past[index]
        return mask

    def position(self, op_id: OpId) -> int | None:
        """The op's place in insertion order."""
        return self._index.get(op_id)

    def at(self, position: int) -> ControlOp:
        """The op at a place in insertion order."""
        return self._ops[position]

    def past(self, position: int) -> int:
        """Bit set of the op at `position` and all before it."""
        return self._past[position]

    def acting_under(self, admission: OpId) -> Sequence[int]:
        """Positions of the ops authored under an admission, ascending."""
        return self._by_admission.get(admission, ())

    # ------------------------------------------------------------ inside

    def _append(self, op: ControlOp, past: int) -> None:
        position = len(self._ops)
        self._ops.append(op)
        self._index[op.op_id] = position
        self._past.append(past | 1 << position)
        self._by_admission.setdefault(op.admission, []).append(position)
        if isinstance(op.body, DevAdd):
            added = (op.admission, op.body.certificate.device)
            self._added[added] = self._added.get(added, 0) | 1 << position
        self._heads.difference_update(op.parents)
        self._heads.add(op.op_id)

    def _is_certified(self, op: ControlOp, past: int) -> bool:
        position = self._index.get(op.admission)
        if position is None or not past >> position & 1:
            return False
        certificates = admitted_certificates(self._ops[position])
        if not certificates:
            return False
        user = certificates[0].user
        if isinstance(op.body, DevAdd):
            if op.body.certificate.user != user:
                return False
            if op.body.certificate.device == op.device_id:
                return True
        if any(certificate.device == op.device_id for certificate in certificates):
            return True
        return bool(self._added.get((op.admission, op.device_id), 0) & past)


def admitted_certificates(op: ControlOp) -> tuple[DeviceCertificate, ...]:
    """The devices an admission names; empty when `op` admits nobody."""
    if isinstance(op.body, Genesis):
        return (op.body.certificate,)
    if isinstance(op.body, Admit):
        return op.body.certificates
    return ()
