"""Replicas that write, copy parts of each other, restart and rotate keys at random end equal,
and nobody ever applies an edit before what its author had applied (PROTOCOL §3)."""

from __future__ import annotations

import random

import pytest

from sheaf.core.space import authoring, release
from sheaf.core.space.roles import Role
from tests.support.space_world import Replica, World, copy


def copy_some(source: Replica, target: Replica, chance: random.Random) -> None:
    """Some runs, in any order, maybe without the control ops they need."""
    if chance.random() < 0.7:
        target.add_ops(*source.space.control.missing_for(target.space.control.heads()))
    runs = list(source.runs(target.space.version_vector(), chance.randint(1, 5)))
    chance.shuffle(runs)
    for run in runs[: chance.randint(0, len(runs))]:
        result = target.ingest(run)
        assert result.refused is None
        assert not result.frozen


def add_people(world: World, first: Replica, chance: random.Random) -> list[Replica]:
    replicas = [first]
    for n in range(chance.randint(1, 3)):
        person = world.person(f"P{n}")
        if chance.random() < 0.5:
            replicas.append(world.join(first, person, Role.EDITOR))
            continue
        first.add_ops(  # without a key box: it comes later
            authoring.admit(
                first.space,
                first.person.device,
                certificates=[person.certificate],
                role=Role.EDITOR,
                now_ms=1,
            )
        )
        replicas.append(world.replica(person, first.space.space_id))
        replicas[-1].add_ops(*first.ops)
    return replicas


@pytest.mark.parametrize("seed", range(25))
def test_replicas_end_equal_and_never_apply_early(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(release, "WAITING_BYTES_MAX", chance.choice([0, 3_000, 1 << 25]))
    world = World(seed)
    replicas = add_people(world, world.found(world.person("Founder")), chance)
    before: dict[bytes, set[bytes]] = {}
    for n in range(80):
        at = chance.randrange(len(replicas))
        replica, what = replicas[at], chance.random()
        if what < 0.45 and replica.space.current_epoch() is not None:
            edit = f"{n}".encode() * chance.choice([1, 1, 1, 130_000])
            before[edit] = set(replica.applied)
            replica.write(edit)
        elif what < 0.9:
            copy_some(chance.choice(replicas), replica, chance)
        elif what < 0.95:
            replicas[at] = replica.restarted()
        elif replica.space.current_epoch() is not None:
            raw = authoring.epoch(replica.space, replica.person.device, world.tick(), world.entropy)[0]
            replica.add_ops(raw)
    founder = replicas[0]
    for replica in replicas[1:]:
        copy(replica, founder)
    for replica in replicas[1:]:
        if not replica.space.secrets():
            for raw in authoring.keyboxes(
                founder.space, founder.person.device, replica.person.certificate, 1
            ):
                founder.add_ops(raw)
    for _ in range(2):
        for replica in replicas:
            copy(founder, replica)
            copy(replica, founder)
    for replica in replicas:
        assert replica.space.version_vector() == founder.space.version_vector()
        assert sorted(replica.applied) == sorted(before), "nothing lost, nothing twice"
        assert replica.space.held_envelopes == 0
        done: set[bytes] = set()
        for edit in replica.applied:
            assert before[edit] <= done
            done.add(edit)
        rows = [(e.log_id, e.seq, e.raw) for _, e in sorted(replica.store.items())]
        again = [item.data for row in replica.space.open_stored(rows) for item in row.items]
        assert sorted(again) == sorted(before)
