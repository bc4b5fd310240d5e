"""One space in memory: control plane, keys and logs together (PROTOCOL §3, §4).

Synchronous and pure. The node changes it first, commits what came back, and announces
only after the commit; when a commit fails it throws the Space away and restores it.
Knows no documents (payload data is bytes), no sessions and no store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, EpochId, LogId, OpId, RendezvousId, SpaceId
from sheaf.core.base.limits import HELD_BYTES_MAX, HELD_ENVELOPES_MAX
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.control_op import ControlOp, decode_op
from sheaf.core.space.evaluation import evaluate
from sheaf.core.space.ingest import Ingest
from sheaf.core.space.key_ring import KeyRing
from sheaf.core.space.log_set import LogHead, LogSet
from sheaf.core.space.membership import EpochInfo, Membership
from sheaf.core.space.op_bodies import Prefs
from sheaf.core.space.preferences import Preferences, open_preferences
from sheaf.core.space.run import IngestResult, LogState, Run
from sheaf.core.space.stored import StoredItems, StoredOpener

VIEWS_MAX = 64
"""Evaluations kept, by control heads."""


@dataclass(frozen=True, slots=True)
class OpsResult:
    """What came of control ops: `added` in causal order (store in this order), `missing` parents
    to ask for, `refused` reasons (the sender's fault)."""

    added: tuple[ControlOp, ...]
    missing: frozenset[OpId]
    refused: tuple[str, ...]


class Space:
    """The truth of one space as this device knows it.

    Args:
        space_id: which space.
        device_id: this device.
    """

    def __init__(self, *, space_id: SpaceId, device_id: DeviceId) -> None:
        self.space_id = space_id
        self.device_id = device_id
        self.control = ControlDag(space_id)
        self.logs = LogSet(space_id)
        self._ring = KeyRing(space_id)
        self._opened: tuple[Prefs, Preferences] | None = None
        self._views: OrderedDict[tuple[OpId, ...], Membership] = OrderedDict()
        self._held_ops: dict[OpId, ControlOp] = {}
        self._ingest = Ingest(
            control=self.control,
            logs=self.logs,
            membership_at=self.membership_at,
            keys_of=self._ring.keys,
        )

    # ------------------------------------------------------------ control plane

    @property
    def is_founded(self) -> bool:
        """Whether the genesis is here; before that there is no membership."""
        return len(self.control) > 0

    @property
    def membership(self) -> Membership:
        """Who is in, by all ops that are here. Needs `is_founded`."""
        return self.membership_at(self.control.heads())

    def membership_at(self, heads: tuple[OpId, ...]) -> Membership:
        """Who is in, as it follows from `heads` (sorted, all here)."""
        view = self._views.get(heads)
        if view is None:
            view = self._views[heads] = evaluate(self.control, heads)
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(heads)
        return view

    def add_ops(self, raws: Sequence[bytes]) -> OpsResult:
        """Take in control ops in any order; those without their parents are held (bounded)."""
        added: list[ControlOp] = []
        refused: list[str] = []
        for raw in raws:
            try:
                op = decode_op(raw)
            except ProtocolViolation as error:
                refused.append(str(error))
                continue
            if op.op_id not in self.control:
                self._held_ops[op.op_id] = op
        self._settle_held_ops(added, refused)
        self._bound_held_ops()
        missing = {parent for op in self._held_ops.values() for parent in self.control.missing_parents(op)}
        return OpsResult(tuple(added), frozenset(missing - self._held_ops.keys()), tuple(refused))

    def can_write(self, device_id: DeviceId) -> bool:
        """Whether the device may write envelopes now."""
        return self.is_founded and self.membership.can_write(device_id)

    # ------------------------------------------------------------ keys

    def add_secret(self, epoch_id: EpochId, secret: bytes) -> bool:
        """Keep an epoch secret; False when known, or not the one its epoch committed to."""
        info = self._epoch(epoch_id)
        is_new = info is not None and self._ring.add(epoch_id, secret, info.commit)
        if is_new:
            self._ingest.releaser.key_learned(epoch_id)
        return is_new

    def secrets(self) -> Mapping[EpochId, bytes]:
        """All epoch secrets held."""
        return self._ring.secrets

    def open_keyboxes(self, device: DeviceKeys) -> list[tuple[EpochId, bytes]]:
        """Learn what boxes, keyboxes and wrapped parents give this device; the new secrets.

        Store them, then call `reopen_sealed` with the stored unopened envelopes.
        """
        if not self.is_founded:
            return []
        learned = self._ring.learn(self.membership, device)
        for epoch_id, _ in learned:
            self._ingest.releaser.key_learned(epoch_id)
        return learned

    def current_epoch(self) -> EpochId | None:
        """The epoch to seal under; None while there is none, or its secret is not here yet
        (sealing under an older one would let the removed read)."""
        if not self.is_founded:
            return None
        best = next((info for info in self.membership.epochs if info.is_usable), None)
        if best is None or best.epoch_id not in self._ring.secrets:
            return None
        return best.epoch_id

    def keys(self, epoch_id: EpochId) -> SpaceKeys:
        """The keys of an epoch whose secret is here. Raises KeyError otherwise."""
        keys = self._ring.keys(epoch_id)
        if keys is None:
            raise KeyError(epoch_id)
        return keys

    def first_keys(self) -> SpaceKeys | None:
        """Keys of the first epoch, whose `psi_key` tests for common spaces; None until learnt."""
        if not self.is_founded:
            return None
        first = [info for info in self.membership.epochs if info.generation == 1]
        return self._ring.keys(first[0].epoch_id) if first else None

    def recent_keys(self) -> list[SpaceKeys]:
        """Keys of the two best epochs held: the current one and the one before."""
        if not self.is_founded:
            return []
        held = [self._ring.keys(info.epoch_id) for info in self.membership.epochs]
        return [keys for keys in held if keys is not None][:2]

    def rendezvous_ids(self, device_id: DeviceId) -> list[RendezvousId]:
        """Where to leave signalling for a device: under the current and the previous epoch."""
        return [keys.rendezvous_id(device_id) for keys in self.recent_keys()]

    # ------------------------------------------------------------ preferences

    def preferences(self) -> Preferences:
        """The space's preferences; defaults while unknown or unreadable."""
        sealed = self.membership.prefs if self.is_founded else None
        keys = None if sealed is None else self._ring.keys(sealed.epoch_id)
        if sealed is None or keys is None:
            return Preferences()
        if self._opened is None or self._opened[0] is not sealed:  # asked for at every call that is made
            self._opened = (sealed, _open_preferences(sealed, keys))
        return self._opened[1]

    def name(self) -> str:
        """What the space is called; '' while unknown."""
        return self.preferences().name

    # ------------------------------------------------------------ content plane

    def ingest_run(self, run: Run) -> IngestResult:
        """Verify and take in envelopes of another device (see `run.IngestResult`)."""
        if not self.is_founded:
            return IngestResult(need_ops=True)
        return self._ingest.run(run)

    def retry_held(self) -> IngestResult:
        """After new control ops: try again what was held for want of them."""
        return self._ingest.retry_held()

    def reopen_sealed(self, rows: Iterable[tuple[LogId, int, bytes]]) -> IngestResult:
        """After start, new secrets, or `IngestResult.reopen`: release what can be of the
        stored unopened envelopes (log, seq, raw), in any order.

        The result's `opened` and `log_states` go into one batch.
        """
        return self._ingest.reopen(list(rows))

    def open_stored(self, rows: Iterable[tuple[LogId, int, bytes]]) -> list[StoredItems]:
        """Decrypt stored, released envelopes again, for rebuilding a document.

        Args:
            rows: (log, seq, raw); of one log ascending. All parts of a chain must be among
                them (they are, when rows are found by `IngestedEnvelope.documents`).

        Returns:
            one entry per row, in the same order.
        """
        return StoredOpener(self.logs, self._ring).open(rows)

    def version_vector(self) -> dict[LogId, int]:
        """Next seq of every log, in memory (may be ahead of what is durable)."""
        return self.logs.version_vector()

    def waiting(self) -> Mapping[LogId, int]:
        """Envelopes stored but not released, that wait in memory; for status and tests."""
        return self._ingest.releaser.waiting

    @property
    def held_envelopes(self) -> int:
        """Envelopes kept in memory only."""
        return self._ingest.held

    # ------------------------------------------------------------ start

    def restore(
        self, ops: Iterable[bytes], secrets: Mapping[EpochId, bytes], logs: Iterable[LogState]
    ) -> None:
        """Bring back what the store holds. Signatures were verified before storing.

        Afterwards call `reopen_sealed` with the stored unopened envelopes.

        Raises:
            WireError: the store is damaged.
        """
        for raw in ops:
            op = decode_op(raw, is_trusted=True)
            if self.control.missing_parents(op):
                raise WireError("stored control ops are not in order")
            self.control.add(op)
        for epoch_id, secret in secrets.items():
            self._ring.add(epoch_id, secret, None)
        for state in logs:
            self.logs.add(LogHead.restore(state))

    # ------------------------------------------------------------ inside

    def _epoch(self, epoch_id: EpochId) -> EpochInfo | None:
        if not self.is_founded:
            return None
        return next((info for info in self.membership.epochs if info.epoch_id == epoch_id), None)

    def _settle_held_ops(self, added: list[ControlOp], refused: list[str]) -> None:
        """Add held ops whose parents are here, until none is left that could be."""
        waiting_for: dict[OpId, list[ControlOp]] = {}
        ready: list[ControlOp] = []
        for op in self._held_ops.values():
            self._sort_in(op, waiting_for, ready)
        ready.reverse()
        while ready:
            op = ready.pop()
            del self._held_ops[op.op_id]
            try:
                self.control.add(op)
            except ProtocolViolation as error:
                refused.append(str(error))
                continue
            added.append(op)
            for child in waiting_for.pop(op.op_id, ()):
                self._sort_in(child, waiting_for, ready)

    def _sort_in(
        self, op: ControlOp, waiting_for: dict[OpId, list[ControlOp]], ready: list[ControlOp]
    ) -> None:
        missing = self.control.missing_parents(op)
        if missing:
            waiting_for.setdefault(min(missing), []).append(op)
        else:
            ready.append(op)

    def _bound_held_ops(self) -> None:
        """Forget the oldest held ops beyond the limits; they can be asked for again."""
        size = sum(len(op.raw) for op in self._held_ops.values())
        while len(self._held_ops) > HELD_ENVELOPES_MAX or size > HELD_BYTES_MAX:
            oldest = next(iter(self._held_ops))
            size -= len(self._held_ops.pop(oldest).raw)


def _open_preferences(sealed: Prefs, keys: SpaceKeys) -> Preferences:
    try:
        return open_preferences(sealed, keys)
    except ProtocolViolation:
        return Preferences()


__all__ = ["IngestResult", "LogState", "OpsResult", "Run", "Space", "StoredItems"]
