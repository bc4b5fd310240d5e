"""Two sessions on a pretend wire: virtual time, one-way latency, a store that commits when told.

`MemorySpace` is a space without cryptography: ops and envelopes are opaque bytes. `Side` is the
shell of one session; `Wire` carries frames between two of them in order, as a channel would.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import SEND_BUFFER_BYTES_MAX
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.session import Session
from sheaf.core.space.run import Run

SPACE = SpaceId(hashlib.sha256(b"space").digest())
DOC = DocId(bytes(range(16)))
TRANSCRIPT = hashlib.sha256(b"transcript").digest()


def log_named(name: str) -> LogId:
    return LogId(hashlib.sha256(name.encode()).digest()[:16])


def op_id_of(raw: bytes) -> OpId:
    return OpId(hashlib.sha256(raw).digest())


def make_op(name: str, *parents: bytes) -> bytes:
    """A pretend control op: the ids of its parents, then a name."""
    return b"".join(op_id_of(parent) for parent in parents) + b"|" + name.encode()


class Unsound(Exception):
    """What a real space would refuse."""


def parents_of(raw: bytes) -> list[OpId]:
    head, bar, _ = raw.rpartition(b"|")
    if not bar or len(head) % 32:
        raise Unsound("not an op")
    return [OpId(head[start : start + 32]) for start in range(0, len(head), 32)]


@dataclass
class MemorySpace:
    """A SpaceView over dictionaries."""

    space_id: SpaceId = SPACE
    key: bytes | None = b"k" * 32
    members: set[DeviceId] = field(default_factory=set)
    ops: dict[OpId, bytes] = field(default_factory=dict)
    logs: dict[LogId, list[bytes]] = field(default_factory=dict)
    agreed: dict[DeviceId, Mapping[LogId, int]] = field(default_factory=dict)
    genesis: dict[LogId, bytes] = field(default_factory=dict)

    def add_op(self, raw: bytes) -> bool:
        if op_id_of(raw) in self.ops:
            return False
        if not all(parent in self.ops for parent in parents_of(raw)):
            raise Unsound("an op without its parents")
        self.ops[op_id_of(raw)] = raw
        return True

    def write(self, log_id: LogId, *envelopes: bytes, author: bytes = b"somebody") -> Run:
        self.genesis.setdefault(log_id, b"genesis " + log_id + author)
        log = self.logs.setdefault(log_id, [])
        first = len(log) + 1
        log.extend(envelopes)
        return Run(log_id, first, None, envelopes)

    def ingest(self, run: Run) -> list[tuple[LogId, int]]:
        """Store what continues the log; returns what to ask for again."""
        if run.first_seq == 1:
            if run.genesis is None or not run.genesis.startswith(b"genesis " + run.log_id):
                raise Unsound("a log without its genesis")
            self.genesis.setdefault(run.log_id, run.genesis)
        have = len(self.logs.get(run.log_id, [])) + 1
        if run.first_seq > have:
            return [(run.log_id, have)]
        self.logs.setdefault(run.log_id, []).extend(run.envelopes[have - run.first_seq :])
        return []

    # SpaceView

    def control_heads(self) -> Sequence[OpId]:
        inner = {parent for raw in self.ops.values() for parent in parents_of(raw)}
        return tuple(sorted(set(self.ops) - inner))

    def ops_missing_for(self, heads: Iterable[OpId]) -> Sequence[bytes]:
        known: set[OpId] = set()
        todo = [head for head in heads if head in self.ops]
        while todo:
            op_id = todo.pop()
            if op_id not in known:
                known.add(op_id)
                todo += parents_of(self.ops[op_id])
        return [raw for op_id, raw in self.ops.items() if op_id not in known]

    def knows_ops(self, ids: Iterable[OpId]) -> Iterable[OpId]:
        return [op_id for op_id in ids if op_id in self.ops]

    def is_member(self, device_id: DeviceId) -> bool:
        return device_id in self.members

    def durable_version(self) -> Mapping[LogId, int]:
        return {log_id: len(log) + 1 for log_id, log in self.logs.items()}

    def psi_key(self) -> bytes | None:
        return self.key

    def genesis_of(self, log_id: LogId) -> bytes:
        return self.genesis[log_id]

    def agreed_version(self, device_id: DeviceId) -> Mapping[LogId, int] | None:
        return self.agreed.get(device_id)


class Person:
    """A device with its keys."""

    def __init__(self, name: str) -> None:
        source = random.Random(name)
        self.user = UserKeys(source.randbytes(32))
        self.device = DeviceKeys(source.randbytes(32), source.randbytes(32))
        self.certificate = DeviceCertificate.issue(
            self.user, self.device, name=f"{name}'s laptop", user_name=name, created_ms=1
        )

    @property
    def device_id(self) -> DeviceId:
        return self.device.device_id


ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")


class Side:
    """The shell of one session. With `is_slow` the store answers only when `commit()` is called."""

    def __init__(
        self,
        person: Person,
        *,
        is_offerer: bool,
        spaces: Sequence[MemorySpace] = (),
        expected: DeviceId | None = None,
        transcript: bytes = TRANSCRIPT,
        is_slow: bool = False,
        seed: int = 0,
    ) -> None:
        self.person = person
        self.spaces = {space.space_id: space for space in spaces}
        self.is_slow = is_slow
        self.session = Session(
            is_offerer=is_offerer,
            device=person.device,
            certificate=person.certificate,
            transcript=transcript,
            expected=expected,
            spaces=self,
            entropy=random.Random(f"{seed}{is_offerer}").randbytes,
        )
        self.effects: list[fx.Effect] = []
        self.busy: list[fx.Effect] = []
        self.sent_bytes = 0
        self.stored_ops: list[bytes] = []

    # SpaceDirectory

    def space_ids(self) -> Iterable[SpaceId]:
        return list(self.spaces)

    def view(self, space_id: SpaceId) -> fx.SpaceView | None:
        return self.spaces.get(space_id)

    # events

    def perform(self, effects: Sequence[fx.Effect], now: float) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, fx.AgreedVersion):
                assert self.session.peer is not None
                self.spaces[effect.space_id].agreed[self.session.peer.device] = effect.version
            if isinstance(effect, fx.StoreOps | fx.StoreRun | fx.ReadRun):
                self.busy.append(effect)
        if not self.is_slow:
            self.commit(now)

    def commit(self, now: float, count: int = 1 << 30) -> None:
        """The store finishes up to `count` pieces of work."""
        while self.busy and count:
            count -= 1
            self.perform(self._finish(self.busy.pop(0), now), now)

    def _finish(self, effect: fx.Effect, now: float) -> list[fx.Effect]:
        match effect:
            case fx.StoreOps():
                return self._store_ops(effect, now)
            case fx.StoreRun():
                return self._store_run(effect, now)
            case fx.ReadRun():
                return self.session.run_read(effect.token, self._read(effect), now)
        raise AssertionError(effect)

    def _store_ops(self, effect: fx.StoreOps, now: float) -> list[fx.Effect]:
        space = self.spaces[effect.space_id]
        try:
            is_new = sum(space.add_op(raw) for raw in effect.ops) > 0
        except Unsound as error:
            return self.session.ops_stored(effect.token, now, refused=str(error))
        self.stored_ops += effect.ops
        more = self.session.ops_stored(effect.token, now)
        return more + (self.session.ops_changed(effect.space_id, now) if is_new else [])

    def _store_run(self, effect: fx.StoreRun, now: float) -> list[fx.Effect]:
        space, log_id = self.spaces[effect.space_id], effect.run.log_id
        try:
            want, refused = space.ingest(effect.run), None
        except Unsound as error:
            want, refused = [], str(error)
        durable = len(space.logs.get(log_id, [])) + 1
        stored = self.session.run_stored(
            effect.token, next_seqs={log_id: durable}, want=want, refused=refused, now=now
        )
        runs = [effect.run] if durable >= effect.run.next_seq else []
        return stored + self.session.committed(effect.space_id, runs, now)

    def _read(self, effect: fx.ReadRun) -> Run:
        log = self.spaces[effect.space_id].logs[effect.log_id]
        envelopes: list[bytes] = []
        for envelope in log[effect.first_seq - 1 :]:
            envelopes.append(envelope)
            if sum(map(len, envelopes)) >= effect.bytes_max:
                break
        return Run(effect.log_id, effect.first_seq, None, tuple(envelopes))

    def write(self, name: str, *envelopes: bytes, now: float, space_id: SpaceId = SPACE) -> None:
        """A local edit, durable, offered to the peer."""
        run = self.spaces[space_id].write(log_named(name), *envelopes, author=self.person.device_id)
        self.perform(self.session.committed(space_id, [run], now), now)

    # facts

    def seen(self, kind: type) -> list:  # type: ignore[type-arg]
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def closed(self) -> fx.Closed | None:
        ends = self.seen(fx.Closed)
        assert len(ends) <= 1
        return ends[0] if ends else None

    def phase(self, space_id: SpaceId = SPACE) -> fx.Phase:
        return self.session.phase(space_id)


class Wire:
    """Carries frames between two sides; `latency_s` one way, strictly in order."""

    def __init__(self, left: Side, right: Side, *, latency_s: float = 0.001) -> None:
        self.sides = (left, right)
        self.latency_s = latency_s
        self.now = 100.0
        self.is_cut = False
        self.frames: list[tuple[int, bytes]] = []
        """(who sent it, the frame): everything that was ever sent."""
        self.tamper: Callable[[int, bytes], Iterable[bytes]] = lambda _, frame: (frame,)
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def start(self) -> Wire:
        for side in self.sides:
            side.perform(side.session.start(self.now), self.now)
        return self

    def pull(self) -> None:
        """Move what the sessions want to send into the air, as the shell does."""
        for number, side in enumerate(self.sides):
            while frames := side.session.next_frames(SEND_BUFFER_BYTES_MAX):
                for frame in frames:
                    side.sent_bytes += len(frame)
                    self.frames.append((number, frame))
                    for altered in self.tamper(number, frame):
                        self._count += 1
                        heapq.heappush(
                            self._queue, (self.now + self.latency_s, self._count, 1 - number, altered)
                        )

    def step(self) -> bool:
        """Advance to the next delivery or timer within the horizon; False when there is none."""
        self.pull()
        times = [due for side in self.sides if (due := side.session.next_wake()) is not None]
        if self._queue:
            times.append(self._queue[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        if self._queue and self._queue[0][0] <= self.now:
            _, _, target, frame = heapq.heappop(self._queue)
            if not self.is_cut:
                side = self.sides[target]
                side.perform(side.session.receive(frame, self.now), self.now)
        for side in self.sides:
            due = side.session.next_wake()
            if due is not None and due <= self.now:
                side.perform(side.session.wake(self.now), self.now)
        return True

    def run(self, seconds: float = 1.0) -> Wire:
        """Let this much virtual time pass."""
        end = self.now + seconds
        for _ in range(200_000):
            self.pull()
            times = [due for side in self.sides if (due := side.session.next_wake()) is not None]
            if self._queue:
                times.append(self._queue[0][0])
            if not times or min(times) > end:
                self.now = end
                return self
            self.step()
        raise AssertionError("the sessions never come to rest")

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> Wire:
        """Run until something holds, or fail."""
        end = self.now + seconds
        while not condition():
            assert self.now < end, "did not happen in time"
            assert self.step(), "nothing more will happen"
        return self


def shared_space(*people: Person) -> MemorySpace:
    """A space whose members are these people, with one op."""
    space = MemorySpace(members={person.device_id for person in people})
    space.add_op(make_op("genesis"))
    return space


def pair(
    left: MemorySpace | None = None,
    right: MemorySpace | None = None,
    *,
    latency_s: float = 0.001,
    is_slow: bool = False,
) -> tuple[Wire, Side, Side]:
    """Alice (offerer) and Bob, connected but not started."""
    alice = Side(
        ALICE,
        is_offerer=True,
        spaces=[left] if left else [],
        expected=BOB.device_id,
        is_slow=is_slow,
    )
    bob = Side(
        BOB, is_offerer=False, spaces=[right] if right else [], expected=ALICE.device_id, is_slow=is_slow
    )
    return Wire(alice, bob, latency_s=latency_s), alice, bob


def live_pair(latency_s: float = 0.001) -> tuple[Wire, Side, Side]:
    wire, alice, bob = pair(shared_space(ALICE, BOB), shared_space(ALICE, BOB), latency_s=latency_s)
    wire.start().until(lambda: alice.phase() is bob.phase() is fx.Phase.LIVE)
    return wire, alice, bob
