"""The control plane as a history: what may grow it, and that the order of arrival decides nothing."""

from __future__ import annotations

import random

import pytest

from sheaf.core.base.errors import NotAllowed, ProtocolViolation, UsageError
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import UserKeys
from sheaf.core.space import authoring
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.control_op import decode_op, encode_op
from sheaf.core.space.evaluation import evaluate
from sheaf.core.space.op_bodies import Admit, Remove
from sheaf.core.space.roles import Role
from tests.support.membership import admit_by_invite, by, invited
from tests.support.space_world import Replica, World


@pytest.fixture
def world() -> World:
    return World()


# --------------------------------------------------------------------------- the DAG


def test_strangers_and_other_spaces_cannot_grow_the_history(world: World) -> None:
    a, other = world.found(world.person("Alice")), world.found(world.person("Bob"))
    eve = world.person("Eve")
    raw = encode_op(
        eve.device,
        Admit(eve.user.user_id, Role.OWNER, (eve.certificate,)),
        space_id=a.space.space_id,
        parents=a.space.control.heads(),
        admission=a.space.control.heads()[0],
        hlc_ms=1,
    )
    result = a.space.add_ops([raw, *other.ops])
    assert result.added == ()
    assert len(result.refused) >= 2


def test_ops_without_their_parents_are_held_and_named(world: World) -> None:
    a = world.found(world.person("Alice"))
    for name in ("Bob", "Carol"):
        world.join(a, world.person(name), Role.READER)
    late = world.replica(world.person("Dave"), a.space.space_id)
    for raw in reversed(a.ops[1:]):
        result = late.space.add_ops([raw])
        assert result.added == ()
        assert len(result.missing) == 1
    result = late.space.add_ops([a.ops[0]])
    assert [op.raw for op in result.added] == a.ops
    assert result.missing == frozenset()


def test_what_somebody_lacks_comes_parents_first(world: World) -> None:
    a = world.found(world.person("Alice"))
    heads = a.space.control.heads()
    world.join(a, world.person("Bob"), Role.READER)
    lacking = a.space.control.missing_for(heads)
    assert lacking == a.ops[3:]
    assert a.space.control.missing_for(()) == a.ops
    assert a.space.control.missing_for(a.space.control.heads()) == []
    assert len(a.space.control.ancestors(heads)) == 3


def test_a_view_at_earlier_heads_knows_nothing_of_later_ops(world: World) -> None:
    a = world.found(world.person("Alice"))
    heads = a.space.control.heads()
    bob = world.person("Bob")
    world.join(a, bob, Role.EDITOR)
    assert not a.space.membership_at(heads).is_active(bob.device.device_id)
    assert a.space.membership.is_active(bob.device.device_id)


def test_a_signature_by_another_device_is_refused(world: World) -> None:
    a = world.found(world.person("Alice"))
    raw = a.ops[-1]
    forged = raw[:-64] + world.person("Eve").device.sign(domain_bytes("op", raw[:-64]))
    with pytest.raises(ProtocolViolation):
        decode_op(forged)


# --------------------------------------------------------------------------- every order


ACTIONS = (
    "admit",
    "admit",
    "owner",
    "remove",
    "role",
    "epoch",
    "dev_add",
    "revoke",
    "invite",
    "by_invite",
    "sync",
    "sync",
)


def act(world: World, replicas: list[Replica], chance: random.Random) -> None:
    """One random thing by one random device, in its own view."""
    a = chance.choice(replicas)
    device, space = a.person.device, a.space
    members = [member for _, member in sorted(space.membership.members.items())]
    what = chance.choice(ACTIONS) if members else "sync"
    if what == "sync":
        b = chance.choice(replicas)
        a.add_ops(*b.space.control.missing_for(space.control.heads()))
    elif what in ("admit", "owner") and len(replicas) < 7:
        role = Role.OWNER if what == "owner" else chance.choice([Role.READER, Role.EDITOR])
        replicas.append(world.join(a, world.person(f"P{len(replicas)}"), role))
    elif what == "remove":
        admission = chance.choice(members).admission
        a.add_ops(by(a, Remove(admission, ())))
    elif what == "role":
        admission = chance.choice(members).admission
        role = chance.choice([Role.READER, Role.EDITOR])
        a.add_ops(authoring.role(space, device, admission=admission, role=role, now_ms=1))
    elif what == "epoch":
        a.add_ops(authoring.epoch(space, device, 1, world.entropy)[0])
    elif what == "dev_add" and len(replicas) < 7:
        new = world.device_of(a.person, "more")
        a.add_ops(authoring.dev_add(space, device, certificate=new.certificate, now_ms=1))
        replica = world.replica(new, space.space_id)
        replica.add_ops(*a.ops)
        replicas.append(replica)
    elif what == "revoke":
        target = chance.choice(members)
        if target.devices:  # a member may have revoked all of them
            user = a.person.user if chance.random() < 0.5 else None
            a.add_ops(
                authoring.dev_revoke(
                    space,
                    device,
                    admission=target.admission,
                    target=chance.choice(target.devices).device,
                    now_ms=1,
                    user=user,
                )
            )
    elif what == "invite":
        invited(world, a, max_uses=chance.randint(1, 2))
    elif what == "by_invite" and space.membership.invites:
        key = UserKeys.generate(world.entropy)
        invite = chance.choice(list(space.membership.invites))
        a.add_ops(admit_by_invite(a, world.person("Q"), key, invite))


@pytest.mark.parametrize("seed", range(60))
def test_members_are_the_same_in_every_order_of_arrival(seed: int) -> None:
    world = World(seed)
    chance = random.Random(seed)
    replicas = [world.found(world.person("P0"))]
    replicas.append(world.join(replicas[0], world.person("P1"), Role.OWNER))
    for _ in range(30):
        try:
            act(world, replicas, chance)
        except (NotAllowed, UsageError):
            continue  # that device may not; the next one
    raws = sorted({raw for replica in replicas for raw in replica.ops})
    ops = [decode_op(raw) for raw in raws]
    summaries = []
    for order in range(6):
        shuffled = list(ops)
        random.Random(order).shuffle(shuffled)
        dag = ControlDag(replicas[0].space.space_id)
        waiting = shuffled
        while waiting:
            rest = []
            for op in waiting:
                if dag.missing_parents(op):
                    rest.append(op)
                else:
                    dag.add(op)
            assert len(rest) < len(waiting)
            waiting = rest
        summaries.append(evaluate(dag).summary())
        for heads in ([op.op_id] for op in chance.sample(ops, min(4, len(ops)))):
            past = dag.ancestors(heads)
            small = ControlDag(dag.space_id)
            for op in dag.topological():
                if op.op_id in past:
                    small.add(op)
            assert evaluate(small).summary() == evaluate(dag, heads).summary()
    assert all(summary == summaries[0] for summary in summaries)
    founder = replicas[0].person.user.user_id.hex()
    has_left = any(
        isinstance(op.body, Remove) and op.body.admission == op.admission == dag.at(0).op_id for op in ops
    )
    members = summaries[0]["members"]
    assert isinstance(members, dict)
    assert founder in members or has_left, "nobody can remove the founder"
