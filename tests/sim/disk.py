"""A disk that commits late, in order, all or nothing, and keeps only that over a crash."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sheaf.core.base.ids import DeviceId, EpochId, LogId
from sheaf.core.space.run import IngestedEnvelope, IngestResult, LogState
from tests.sim.clockwork import Clockwork

Key = tuple[LogId, int]


@dataclass
class Batch:
    """One transaction."""

    ops: list[bytes] = field(default_factory=list)
    secrets: dict[EpochId, bytes] = field(default_factory=dict)
    logs: dict[LogId, LogState] = field(default_factory=dict)
    envelopes: list[IngestedEnvelope] = field(default_factory=list)
    opened: list[IngestedEnvelope] = field(default_factory=list)
    released: list[Key] = field(default_factory=list)
    agreed: dict[DeviceId, dict[LogId, int]] = field(default_factory=dict)

    def take(self, result: IngestResult) -> None:
        """Everything that an ingest wants stored."""
        self.envelopes += result.accepted
        self.opened += result.opened
        self.released += [(envelope.log_id, envelope.seq) for envelope in result.released]
        self.logs.update({state.log_id: state for state in result.log_states})


@dataclass
class Row:
    """A stored envelope."""

    raw: bytes
    is_opened: bool


class Disk:
    """One device's durable memory."""

    def __init__(self, *, clockwork: Clockwork, chance: random.Random) -> None:
        self._clockwork = clockwork
        self._chance = chance
        self._queue: deque[tuple[Batch, Callable[[], None]]] = deque()
        self._life = 0
        self.slowness = 1.0
        self.ops: list[bytes] = []
        self.secrets: dict[EpochId, bytes] = {}
        self.logs: dict[LogId, LogState] = {}
        self.rows: dict[Key, Row] = {}
        self.released: list[Key] = []
        self.agreed: dict[DeviceId, dict[LogId, int]] = {}
        self.commits = 0

    def commit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Make durable some time later, then call `done` (never after a crash)."""
        self._queue.append((batch, done))
        if len(self._queue) == 1:
            self._work()

    def crash(self) -> None:
        """Forget what is not durable. The transaction under way may have made it, unreported."""
        self._life += 1
        if self._queue and self._chance.random() < 0.5:
            self._apply(self._queue[0][0])
        self._queue.clear()

    def _work(self) -> None:
        delay = self._chance.uniform(0.0002, 0.015) * self.slowness
        if self._chance.random() < 0.02:
            delay += 0.4
        life = self._life
        self._clockwork.after(delay, lambda: self._finish(life))

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        batch, done = self._queue.popleft()
        self._apply(batch)
        if self._queue:
            self._work()
        done()

    def _apply(self, batch: Batch) -> None:
        self.commits += 1
        self.ops += [raw for raw in batch.ops if raw not in self.ops]
        self.secrets.update(batch.secrets)
        self.logs.update(batch.logs)
        for envelope in batch.envelopes:
            key = (envelope.log_id, envelope.seq)
            assert key not in self.rows, "an envelope stored twice"
            self.rows[key] = Row(envelope.raw, envelope.items is not None)
        for envelope in batch.opened:
            self.rows[envelope.log_id, envelope.seq].is_opened = True
        self.released += batch.released
        self.agreed.update(batch.agreed)
