"""A whole simulation: devices, trouble, healing, and the oracle.

Everything follows from the seed: two runs of one seed are equal byte for byte (`World.trace`).
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sheaf.core.base.limits import PEER_DEAD_S
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from tests.sim.clockwork import Clockwork
from tests.sim.device import Device
from tests.sim.disk import Batch
from tests.sim.documents import Documents, OpaqueDocuments
from tests.sim.network import Network


@dataclass(frozen=True)
class Trouble:
    """How much goes wrong: events per virtual second, all devices together."""

    edits: float = 3.0
    crashes: float = 0.05
    cuts: float = 0.15
    stalls: float = 0.1
    partitions: float = 0.04
    control: float = 0.08
    seconds: float = 40.0
    late_joiners: int = 1


@dataclass
class World:
    """See the module."""

    seed: int
    devices_count: int
    trouble: Trouble = field(default_factory=Trouble)
    make_documents: Callable[[random.Random], Documents] = lambda chance: OpaqueDocuments()

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clockwork = Clockwork()
        self.network = Network(clockwork=self.clockwork, chance=self.chance)
        self.marks: list[str] = []
        self.saved_marks: set[str] = set()
        self.faults: list[str] = []
        self.events: Counter[str] = Counter()
        self._joining: set[Device] = set()
        self.devices = [
            Device(
                f"d{number}",
                clockwork=self.clockwork,
                network=self.network,
                chance=self.chance,
                watcher=self,
                make_documents=lambda: self.make_documents(self.chance),
            )
            for number in range(self.devices_count)
        ]

    # ------------------------------------------------------------------ Watcher

    def saved(self, mark: str) -> None:
        """The editor was told "saved"."""
        self.saved_marks.add(mark)

    def ended(self, device: Device, closed: fx.Closed) -> None:
        """A session ended; honest devices never blame each other."""
        self.events["session ended"] += 1
        if closed.is_peer_fault:
            self.faults.append(f"{self.clockwork.now:.3f} {device.name}: {closed.reason}")

    # ------------------------------------------------------------------ the course of events

    def run(self) -> World:
        """Found, make trouble, heal, come to rest."""
        self._found()
        self._schedule_trouble()
        self.clockwork.run_until(self.clockwork.now + self.trouble.seconds)
        self._heal()
        self.clockwork.run_until(self.clockwork.now + PEER_DEAD_S + 2.0)
        for _ in range(60):
            self.clockwork.run_until(self.clockwork.now + 2.0)
            if self.is_level():
                break
        self.clockwork.run_until(self.clockwork.now + 5.0)
        return self

    def _found(self) -> None:
        owner = self.devices[0]
        owner.start()
        new = authoring.create_space(
            owner.user, owner.keys, owner.certificate, "Simulated", 1, self.chance.randbytes, owner.sealer
        )
        owner.adopt(new.space_id, new.ops, {new.epoch_id: new.secret})
        early = len(self.devices) - min(self.trouble.late_joiners, len(self.devices) - 2)
        for number, device in enumerate(self.devices[1:], 1):
            device.start()
            delay = 0.05 * number if number < early else self.chance.uniform(5, self.trouble.seconds)
            self.clockwork.after(delay, lambda device=device: self._admit(device))  # type: ignore[misc]

    def _admit(self, device: Device) -> None:
        owner = self.devices[0]
        if device.space_id is not None:
            return
        if not (owner.is_alive and device.is_alive and owner.has_all_keys()):
            self.clockwork.after(1.0, lambda: self._admit(device))
            return
        self.events["admission"] += 1
        now_ms = int(self.clockwork.now * 1000)
        if not owner.space.membership.is_active(device.device_id):
            owner.act(
                authoring.admit(
                    owner.space,
                    owner.keys,
                    certificates=[device.certificate],
                    role=Role.EDITOR,
                    now_ms=now_ms,
                )
            )
        owner.act(*authoring.keyboxes(owner.space, owner.keys, device.certificate, now_ms, owner.sealer))
        ops = [op.raw for op in owner.space.control.topological()]

        def arrive() -> None:
            if device.is_alive and device.space_id is None and owner.space_id is not None:
                device.adopt(owner.space_id, ops)

        owner.commit(Batch(), lambda: self.clockwork.after(0.05, arrive))
        self.clockwork.after(6.0, lambda: self._admit(device))  # if a crash came in between

    def _schedule_trouble(self) -> None:
        trouble = self.trouble
        for rate, action in (
            (trouble.edits, self._edit),
            (trouble.crashes, self._crash),
            (trouble.cuts, self._cut),
            (trouble.stalls, self._stall),
            (trouble.partitions, self._partition),
            (trouble.control, self._control),
        ):
            count = round(rate * trouble.seconds * self.chance.uniform(0.5, 1.5))
            for _ in range(count):
                self.clockwork.after(self.chance.uniform(0.5, trouble.seconds), action)

    def _someone(self) -> Device | None:
        ready = [device for device in self.devices if device.is_alive and device.space_id is not None]
        return self.chance.choice(ready) if ready else None

    def _edit(self) -> None:
        device = self._someone()
        if device is not None:
            for _ in range(self.chance.choice([1, 1, 1, 1, 4, 12])):
                mark = f"{device.name}e{len(self.marks)}"
                self.marks.append(mark)
                device.edit(mark)

    def _crash(self) -> None:
        device = self._someone()
        if device is not None:
            self.events["crash"] += 1
            device.crash()
            self.clockwork.after(self.chance.choice([0.1, 1.0, 8.0]), lambda: self._start(device))

    def _start(self, device: Device) -> None:
        if not device.is_alive:
            device.start()
            self._announce_all()

    def _cut(self) -> None:
        if self.network.channels:
            self.events["cut"] += 1
            self.chance.choice(self.network.channels).cut(is_noticed=self.chance.random() < 0.7)

    def _stall(self) -> None:
        if self.network.channels:
            self.events["stall"] += 1
            channel = self.chance.choice(self.network.channels)
            channel.stalled_until = self.clockwork.now + self.chance.uniform(0, 20)

    def _partition(self) -> None:
        self.events["partition"] += 1
        self.network.partition({device.device_id: self.chance.randint(0, 1) for device in self.devices})
        self.clockwork.after(self.chance.uniform(1, 15), self._rejoin)

    def _rejoin(self) -> None:
        self.network.islands = {}
        self._announce_all()

    def _control(self) -> None:
        device = self._someone()
        if device is None or not device.has_all_keys():
            return
        self.events["control"] += 1
        now_ms = int(self.clockwork.now * 1000)
        if device is self.devices[0] and self.chance.random() < 0.5:
            name = f"name {now_ms}"
            entropy = self.chance.randbytes
            device.act(authoring.prefs(device.space, device.keys, now_ms=now_ms, entropy=entropy, name=name))
        else:
            raw, epoch_id, secret = authoring.epoch(
                device.space, device.keys, now_ms, self.chance.randbytes, device.sealer
            )
            device.act(raw, secret=(epoch_id, secret))

    def _heal(self) -> None:
        self.network.is_lossy = False
        for channel in self.network.channels:
            channel.stalled_until = 0.0
        for device in self.devices:
            if not device.is_alive:
                device.start()
        self._rejoin()

    def _announce_all(self) -> None:
        for device in self.devices:
            device.look_around()

    # ------------------------------------------------------------------ the oracle

    def trace(self) -> str:
        """Stands for everything that happened: time, bytes sent, and what each disk holds."""
        digest = hashlib.sha256()
        for device in self.devices:
            digest.update(b"".join(device.disk.ops))
            for (log_id, seq), row in device.disk.rows.items():
                digest.update(log_id + seq.to_bytes(8, "big") + row.raw)
        sent = sum(channel.sent_bytes for channel in self.network.channels)
        return f"{self.clockwork.now:.6f} {sent} {digest.hexdigest()[:16]}"

    def is_level(self) -> bool:
        """Whether every device has what every other has and all sessions are live."""
        first = self.devices[0]
        return all(
            device.space_id is not None
            and device.control_heads() == first.control_heads()
            and device.durable_version() == first.durable_version()
            and not device.space.waiting()
            and len(list(device.links)) == len(self.devices) - 1
            and all(link.session.phase(device.space_id) is Phase.LIVE for link in device.links)
            for device in self.devices
        )

    def check(self) -> None:
        """What must hold once faults have stopped."""
        assert self.faults == []
        assert self.is_level(), self.describe()
        first = self.devices[0]
        for device in self.devices:
            marks = device.documents.marks()
            assert not self.saved_marks - marks.keys(), "a saved edit is lost"
            assert {mark for mark, count in marks.items() if count != 1} == set(), "an edit came twice"
            assert device.documents.content() == first.documents.content(), "documents differ"
            assert device.durable_version() == device.space.version_vector(), "memory is ahead of the disk"
            assert device.space.held_envelopes == 0
        self._check_rest()
        self._check_restart()

    def _check_rest(self) -> None:
        """Nothing but pings once everything is said."""
        before = sum(channel.sent_bytes for channel in self.network.channels)
        self.clockwork.run_until(self.clockwork.now + 20.0)
        sent = sum(channel.sent_bytes for channel in self.network.channels) - before
        pairs = len(self.devices) * (len(self.devices) - 1) // 2
        assert sent < pairs * 1500, f"{sent} bytes in 20 s of rest"

    def _check_restart(self) -> None:
        """What the disk holds is what memory held."""
        for device in self.devices:
            before = device.documents.content()
            device.crash()
            device.start()
            assert device.documents.content() == before, "a restart changed the documents"

    def describe(self) -> str:
        """Where everybody stands, for a failing seed."""
        lines = [f"seed {self.seed} at {self.clockwork.now:.1f} s; {dict(self.events)}"]
        for device in self.devices:
            if device.space_id is None:
                lines.append(f"{device.name}: never joined")
                continue
            version = device.durable_version()
            phases = {link.peer.short: str(link.session.phase(device.space_id)) for link in device.links}
            lines.append(
                f"{device.name} {device.device_id.short}: {len(device.control_heads())} heads, "
                f"{len(version)} logs, {sum(version.values())} seqs, "
                f"waiting {dict(device.space.waiting())}, links {phases}"
            )
        return "\n".join(lines)
