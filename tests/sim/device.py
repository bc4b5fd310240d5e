"""One simulated device: the smallest honest shell around the core.

Durable: keys and the disk. Everything else dies with a crash. Follows the rules the daemon
follows: memory first, commit, then tell; a peer hears of nothing that is not durable.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from sheaf.core.base.ids import DeviceId, LogId, OpId, SpaceId
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.dialer import Dial, DialEffect, Dialer
from sheaf.core.space import authoring
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.control_op import decode_op
from sheaf.core.space.log_writer import LogWriter
from sheaf.core.space.membership import EpochInfo
from sheaf.core.space.op_bodies import BOX_HINT_BYTES
from sheaf.core.space.run import IngestedEnvelope, IngestResult, Run
from sheaf.core.space.space import Space
from tests.sim.clockwork import Clockwork
from tests.sim.disk import Batch, Disk
from tests.sim.documents import Documents
from tests.sim.link import Link
from tests.sim.network import Channel, Network
from tests.support.repeatable_boxes import repeatable_sealer


class Watcher(Protocol):
    """Who writes down what happened, for the oracle."""

    def saved(self, mark: str) -> None: ...
    def ended(self, device: Device, closed: fx.Closed) -> None: ...


class Device:
    """A person's only device, in at most one space."""

    def __init__(
        self,
        name: str,
        *,
        clockwork: Clockwork,
        network: Network,
        chance: random.Random,
        watcher: Watcher,
        make_documents: Callable[[], Documents],
    ) -> None:
        self.name = name
        self.clockwork = clockwork
        self.network = network
        self.chance = chance
        self.watcher = watcher
        self.sealer = repeatable_sealer(chance)
        self.user = UserKeys(chance.randbytes(32))
        self.keys = DeviceKeys(chance.randbytes(32), chance.randbytes(32))
        self.device_id = self.keys.device_id
        self.certificate = DeviceCertificate.issue(
            self.user, self.keys, name=f"{name}'s", user_name=name, created_ms=1
        )
        self.disk = Disk(clockwork=clockwork, chance=chance)
        self.space_id: SpaceId | None = None
        self.is_alive = False
        self.starts = 0
        self._make_documents = make_documents
        self._links: dict[DeviceId, Link] = {}
        self._all_links: dict[Link, None] = {}

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to run, from what the disk holds."""
        assert not self.is_alive
        self.is_alive = True
        self.starts += 1
        self.documents = self._make_documents()
        self.dialer = Dialer(own=self.device_id, entropy=self.chance.randbytes)
        self._dial_armed: float | None = None
        self.network.stations[self.device_id] = self
        if self.space_id is not None:
            self._open(self.space_id)

    def _open(self, space_id: SpaceId) -> None:
        disk = self.disk
        self.space = Space(space_id=space_id, device_id=self.device_id)
        self.space.restore(disk.ops, disk.secrets, disk.logs.values())
        self._durable_ops = ControlDag(space_id)
        self._note_durable(disk.ops)
        self._durable = {log_id: state.next_seq for log_id, state in disk.logs.items()}
        self.writer = LogWriter(self.space, self.keys, self.certificate, entropy=self.chance.randbytes)
        rows = [(log_id, seq, disk.rows[log_id, seq].raw) for log_id, seq in disk.released]
        self.documents.load(item for stored in self.space.open_stored(rows) for item in stored.items)
        self._learn_keys()
        self._reopen()
        self.look_around()
        self._box_keys_soon()

    def crash(self) -> None:
        """The power goes: memory is lost, the disk keeps what it had."""
        assert self.is_alive
        self.is_alive = False
        self.disk.crash()
        for link in list(self._all_links):
            link.vanish(is_noticed=self.chance.random() < 0.5)
        self._links.clear()
        self._all_links.clear()

    # ------------------------------------------------------------------ acts

    def adopt(
        self, space_id: SpaceId, ops: Sequence[bytes], secrets: Mapping[object, bytes] | None = None
    ) -> None:
        """Found or join: begin with these ops."""
        self.space_id = space_id
        self.disk.ops = list(ops)
        self.disk.secrets.update(secrets or {})  # type: ignore[arg-type]
        self._open(space_id)
        for link in list(self._all_links):
            link.answer(lambda now, link=link: link.session.space_added(space_id, now))  # type: ignore[misc]

    def edit(self, mark: str) -> None:
        """Write something; told as saved once it is durable."""
        if self.space_id is None or self.space.current_epoch() is None:
            return
        item = self.documents.edit(mark, self.chance)
        result = self.writer.seal([item], hlc_ms=int(self.clockwork.now * 1000))
        batch = Batch(envelopes=list(result.envelopes))
        batch.released = [(envelope.log_id, envelope.seq) for envelope in result.envelopes]
        batch.logs = {state.log_id: state for state in result.log_states}

        def durable() -> None:
            self.watcher.saved(mark)
            self._announce(result.envelopes)

        self.commit(batch, durable)

    def act(self, *raws: bytes, secret: tuple[object, bytes] | None = None) -> None:
        """Add control ops of one's own."""
        if secret is not None:
            self.commit(Batch(secrets={secret[0]: secret[1]}))  # type: ignore[dict-item]
        self._add_ops(raws, lambda refused: None)
        if secret is not None:
            self.space.add_secret(secret[0], secret[1])  # type: ignore[arg-type]

    def _box_keys_soon(self) -> None:
        """Who holds an epoch boxes it for members it was never boxed for (PROTOCOL §4): an epoch
        made while somebody was being admitted elsewhere does not know the newcomer."""
        life = self.starts

        def box() -> None:
            if self.is_alive and life == self.starts:
                for certificate in self._unboxed():
                    now_ms = int(self.clockwork.now * 1000)
                    self.act(*authoring.keyboxes(self.space, self.keys, certificate, now_ms, self.sealer))

        if self._unboxed():
            self.clockwork.after(self.chance.uniform(0.5, 4.0), box)

    def _epoch_heads(self) -> list[EpochInfo]:
        epochs = self.space.membership.epochs
        handed_down = {parent for info in epochs for parent, _ in info.wrapped}
        return [info for info in epochs if info.epoch_id not in handed_down]

    def has_all_keys(self) -> bool:
        """Whether this device can box keys for others and make an epoch."""
        is_missing = any(info.epoch_id not in self.space.secrets() for info in self._epoch_heads())
        return not is_missing and self.space.current_epoch() is not None

    def _unboxed(self) -> list[DeviceCertificate]:
        membership, heads = self.space.membership, self._epoch_heads()
        if not self.has_all_keys():
            return []
        boxed = {(info.epoch_id, hint) for info in heads for hint, _ in info.boxes}
        boxed |= {(box.epoch_id, box.device[:BOX_HINT_BYTES]) for box in membership.keyboxes}
        return [
            certificate
            for device_id, (_, certificate) in membership.devices().items()
            if any((info.epoch_id, device_id[:BOX_HINT_BYTES]) not in boxed for info in heads)
        ]

    def look_around(self) -> None:
        """Every device of the space announces itself to who can hear it."""
        if not self.is_alive or self.space_id is None or not self.space.is_founded:
            return
        devices = self.space.membership.devices()
        self._dial(self.dialer.set_wanted(devices, self.clockwork.now))
        for other in devices:
            if other != self.device_id and self.network.hears(self.device_id, other):
                self._dial(self.dialer.sighted(other, ("lan:1",), self.clockwork.now))

    # ------------------------------------------------------------------ storing

    def commit(self, batch: Batch, done: Callable[[], None] = lambda: None) -> None:
        self.disk.commit(batch, done)

    def store_run(self, link: Link, effect: fx.StoreRun) -> None:
        result = self.space.ingest_run(effect.run)

        def durable() -> None:
            self._announce(result.accepted)
            next_seqs = {effect.run.log_id: self._durable.get(effect.run.log_id, 1)}
            link.answer(
                lambda now: link.session.run_stored(
                    effect.token, next_seqs=next_seqs, want=result.want, refused=result.refused, now=now
                )
            )

        self._take(result, durable)

    def store_ops(self, link: Link, effect: fx.StoreOps) -> None:
        def durable(refused: str | None) -> None:
            link.answer(lambda now: link.session.ops_stored(effect.token, now, refused=refused))

        self._add_ops(effect.ops, durable)

    def _add_ops(self, raws: Sequence[bytes], done: Callable[[str | None], None]) -> None:
        result = self.space.add_ops(raws)
        added = [op.raw for op in result.added]
        self._learn_keys()

        def durable() -> None:
            self._note_durable(added)
            done(result.refused[0] if result.refused else None)
            if added:
                for link in list(self._all_links):
                    link.answer(lambda now, link=link: link.session.ops_changed(self.space_id, now))  # type: ignore[misc]
                self.look_around()
                self._box_keys_soon()

        self.commit(Batch(ops=added), durable)
        if added:
            held = self.space.retry_held()
            self._take(held, lambda: self._announce(held.accepted))

    def _learn_keys(self) -> None:
        learned = self.space.open_keyboxes(self.keys)
        if learned:
            self.commit(Batch(secrets=dict(learned)), self._reopen)

    def _take(self, result: IngestResult, done: Callable[[], None]) -> None:
        for envelope in result.released:
            for item in envelope.items or ():
                self.documents.apply(item)
        batch = Batch()
        batch.take(result)
        self.commit(batch, done)
        if result.reopen:
            self.commit(Batch(), self._reopen)

    def _reopen(self) -> None:
        rows = [(*key, row.raw) for key, row in self.disk.rows.items() if not row.is_opened]
        if rows:
            result = self.space.reopen_sealed(rows)
            self._take(result, lambda: None)

    def _announce(self, envelopes: Sequence[IngestedEnvelope]) -> None:
        runs: list[Run] = []
        for envelope in envelopes:
            self._durable[envelope.log_id] = max(self._durable.get(envelope.log_id, 1), envelope.seq + 1)
            if runs and runs[-1].log_id == envelope.log_id and runs[-1].next_seq == envelope.seq:
                last = runs.pop()
                runs.append(Run(last.log_id, last.first_seq, None, (*last.envelopes, envelope.raw)))
            else:
                runs.append(Run(envelope.log_id, envelope.seq, None, (envelope.raw,)))
        if runs:
            for link in list(self._all_links):
                link.answer(lambda now, link=link: link.session.committed(self.space_id, runs, now))  # type: ignore[misc]

    def _note_durable(self, raws: Iterable[bytes]) -> None:
        for raw in raws:
            self._durable_ops.add(decode_op(raw, is_trusted=True))

    def read_run(self, effect: fx.ReadRun) -> Run:
        envelopes: list[bytes] = []
        size, seq = 0, effect.first_seq
        while size < effect.bytes_max and (row := self.disk.rows.get((effect.log_id, seq))) is not None:
            envelopes.append(row.raw)
            size, seq = size + len(row.raw), seq + 1
        return Run(effect.log_id, effect.first_seq, None, tuple(envelopes))

    # ------------------------------------------------------------------ SpaceDirectory, SpaceView

    def space_ids(self) -> Iterable[SpaceId]:
        return [] if self.space_id is None else [self.space_id]

    def view(self, space_id: SpaceId) -> fx.SpaceView | None:
        return self if space_id == self.space_id else None  # type: ignore[return-value]

    def control_heads(self) -> Sequence[OpId]:
        return self._durable_ops.heads()

    def ops_missing_for(self, heads: Iterable[OpId]) -> Sequence[bytes]:
        return self._durable_ops.missing_for([head for head in heads if head in self._durable_ops])

    def knows_ops(self, ids: Iterable[OpId]) -> Iterable[OpId]:
        return [op_id for op_id in ids if op_id in self._durable_ops]

    def is_member(self, device_id: DeviceId) -> bool:
        return self.space.membership.is_active(device_id)

    def durable_version(self) -> Mapping[LogId, int]:
        return self._durable

    def psi_key(self) -> bytes | None:
        keys = self.space.first_keys()
        return None if keys is None else keys.psi_key

    def genesis_of(self, log_id: LogId) -> bytes:
        return self.disk.logs[log_id].genesis

    def agreed_version(self, device_id: DeviceId) -> Mapping[LogId, int] | None:
        return self.disk.agreed.get(device_id)

    # ------------------------------------------------------------------ connections (Station)

    def answer_offer(self, caller: DeviceId, channel: Channel, transcript: bytes) -> None:
        self._begin(Link(self, channel, transcript, is_offerer=False, peer=caller))

    def answer_came(self, target: DeviceId, channel: Channel, transcript: bytes) -> None:
        if self.is_alive:
            self._begin(Link(self, channel, transcript, is_offerer=True, peer=target))

    def call_failed(self, target: DeviceId) -> None:
        if self.is_alive:
            self._dial(self.dialer.failed(target, self.dialer.address_of(target), self.clockwork.now))

    def poke_came(self, caller: DeviceId) -> None:
        if self.dialer.poked(caller, self.clockwork.now):
            self.network.offer(self.device_id, caller)

    def _begin(self, link: Link) -> None:
        self._all_links[link] = None
        link.start()

    def authenticated(self, link: Link) -> None:
        older = self._links.get(link.peer)
        if older is not None and not self.dialer.keeps_newcomer(link.peer, newcomer_is_mine=link.is_offerer):
            link.answer(lambda now: link.session.close("a better connection is there", now))
            return
        self._links[link.peer] = link
        if older is not None:
            older.answer(lambda now: older.session.close("replaced by a newer connection", now))
        self._dial(self.dialer.connected(link.peer, self.clockwork.now))

    def link_over(self, link: Link) -> None:
        self._all_links.pop(link, None)
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._dial(self.dialer.closed(link.peer, self.clockwork.now))
        elif link.session.peer is None and link.is_offerer:
            self.call_failed(link.peer)

    @property
    def links(self) -> Iterable[Link]:
        """The living connections."""
        return list(self._links.values())

    def _dial(self, effects: Iterable[DialEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Dial):
                self.network.offer(self.device_id, effect.device_id)
            else:
                self.network.poke(self.device_id, effect.device_id)
        self._arm_dialer()

    def _arm_dialer(self) -> None:
        due = self.dialer.next_wake()
        if due is not None and (self._dial_armed is None or due < self._dial_armed):
            self._dial_armed = due
            life = self.starts
            self.clockwork.at(due, lambda: self._wake_dialer(life))

    def _wake_dialer(self, life: int) -> None:
        if self.is_alive and life == self.starts:
            self._dial_armed = None
            self._dial(self.dialer.wake(self.clockwork.now))
