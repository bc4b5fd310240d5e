"""Persons, devices and replicas of one space for tests: the core without sessions.

    world = World()
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)                  # a replica of a new space
    b = world.join(a, bob, Role.EDITOR)     # admitted, key boxed, control plane copied
    a.write("hello"); copy(a, b)

Everything repeatable from the seed, HPKE boxes excepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from sheaf.core.base.ids import DocId, LogId, SpaceId
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.space import authoring
from sheaf.core.space.log_writer import LogWriter, SealResult
from sheaf.core.space.payload import PayloadItem, PayloadKind
from sheaf.core.space.roles import Role
from sheaf.core.space.run import IngestedEnvelope, IngestResult, LogState, Run
from sheaf.core.space.space import Space

DOC = DocId(b"d" * 16)


@dataclass(frozen=True)
class Person:
    """A person with one device."""

    name: str
    user: UserKeys
    device: DeviceKeys
    certificate: DeviceCertificate


@dataclass
class Replica:
    """One device's space, what it wrote to its pretend store, and what reached its documents."""

    world: World
    person: Person
    space: Space
    writer: LogWriter
    store: dict[tuple[LogId, int], IngestedEnvelope] = field(default_factory=dict)
    states: dict[LogId, LogState] = field(default_factory=dict)
    applied: list[bytes] = field(default_factory=list)
    ops: list[bytes] = field(default_factory=list)

    def add_ops(self, *raws: bytes) -> None:
        """Take in control ops, learn keys, release what they open."""
        result = self.space.add_ops(raws)
        assert not result.refused
        self.ops += [op.raw for op in result.added]
        if self.space.open_keyboxes(self.person.device):
            self.reopen()
        self.commit(self.space.retry_held())

    def write(self, *texts: bytes | str, doc: DocId = DOC) -> SealResult:
        """Seal one envelope (or as many as it takes) with updates."""
        items = [
            PayloadItem(doc, PayloadKind.UPDATE, text if isinstance(text, bytes) else text.encode())
            for text in texts
        ]
        result = self.writer.seal(items, hlc_ms=self.world.tick())
        for envelope in result.envelopes:
            self.store[envelope.log_id, envelope.seq] = envelope
        self.states |= {state.log_id: state for state in result.log_states}
        self.applied += [item.data for item in items]
        return result

    def ingest(self, run: Run) -> IngestResult:
        """Ingest and commit."""
        result = self.space.ingest_run(run)
        self.commit(result)
        return result

    def commit(self, result: IngestResult) -> None:
        """What the node does with a result."""
        for envelope in result.accepted:
            assert (envelope.log_id, envelope.seq) not in self.store
            self.store[envelope.log_id, envelope.seq] = envelope
        for envelope in result.opened:
            assert self.store[envelope.log_id, envelope.seq].items is None
            self.store[envelope.log_id, envelope.seq] = envelope
        self.states |= {state.log_id: state for state in result.log_states}
        for envelope in result.released:
            assert envelope.items is not None
            self.applied += [item.data for item in envelope.items]
        if result.reopen:
            self.reopen()

    def reopen(self) -> None:
        """Hand the stored unopened envelopes back."""
        rows = [(e.log_id, e.seq, e.raw) for e in self.store.values() if e.items is None]
        self.commit(self.space.reopen_sealed(rows))

    def runs(self, after: dict[LogId, int] | None = None, size: int = 1 << 30) -> Iterator[Run]:
        """What is stored beyond a version vector, in runs of at most `size` envelopes."""
        for log_id, next_seq in self.space.version_vector().items():
            head = self.space.logs.get(log_id)
            assert head is not None
            first = (after or {}).get(log_id, 1)
            while first < next_seq:
                last = min(next_seq, first + size)
                raws = tuple(self.store[log_id, seq].raw for seq in range(first, last))
                yield Run(log_id, first, head.genesis if first == 1 else None, raws)
                first = last

    def restarted(self) -> Replica:
        """The same device after a restart, from its store."""
        fresh = self.world.replica(self.person, self.space.space_id)
        fresh.space.restore(self.ops, dict(self.space.secrets()), self.states.values())
        fresh.store, fresh.states, fresh.ops = dict(self.store), dict(self.states), list(self.ops)
        fresh.applied = list(self.applied)
        fresh.reopen()
        return fresh


class World:
    """Makes persons and replicas; one counter for time, one generator for chance."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.entropy = self.random.randbytes
        self.now_ms = 1_700_000_000_000

    def tick(self) -> int:
        """The next moment."""
        self.now_ms += 1
        return self.now_ms

    def person(self, name: str) -> Person:
        """A new person with a device called laptop."""
        user = UserKeys.generate(self.entropy)
        return self.device_of(Person(name, user, DeviceKeys.generate(self.entropy), None), "laptop")  # type: ignore[arg-type]  # filled in there

    def device_of(self, person: Person, name: str) -> Person:
        """The same person at a new device."""
        device = DeviceKeys.generate(self.entropy)
        certificate = DeviceCertificate.issue(
            person.user, device, name=name, user_name=person.name, created_ms=self.tick()
        )
        return Person(person.name, person.user, device, certificate)

    def replica(self, person: Person, space_id: SpaceId) -> Replica:
        """An empty replica."""
        space = Space(space_id=space_id, device_id=person.device.device_id)
        writer = LogWriter(space, person.device, person.certificate, entropy=self.entropy)
        return Replica(self, person, space, writer)

    def found(self, person: Person, name: str = "Notes") -> Replica:
        """A replica of a new space."""
        new = authoring.create_space(
            person.user, person.device, person.certificate, name, self.tick(), self.entropy
        )
        replica = self.replica(person, new.space_id)
        replica.add_ops(*new.ops)
        return replica

    def join(self, host: Replica, person: Person, role: Role) -> Replica:
        """`host` admits a person and boxes the keys; returns the person's replica with all ops."""
        raw = authoring.admit(
            host.space,
            host.person.device,
            certificates=[person.certificate],
            role=role,
            now_ms=self.tick(),
        )
        host.add_ops(raw)
        for keybox in authoring.keyboxes(host.space, host.person.device, person.certificate, self.tick()):
            host.add_ops(keybox)
        replica = self.replica(person, host.space.space_id)
        replica.add_ops(*host.ops)
        return replica


def copy(source: Replica, target: Replica, size: int = 1 << 30) -> list[IngestResult]:
    """Control plane, then content, one way."""
    target.add_ops(*source.space.control.missing_for(target.space.control.heads()))
    return [target.ingest(run) for run in source.runs(target.space.version_vector(), size)]
