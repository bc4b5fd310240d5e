"""Who is in: the admission tree, removals, roles, devices, invitations (PROTOCOL §4)."""

from __future__ import annotations

import random

import pytest

from sheaf.core.base.errors import NotAllowed, ProtocolViolation, UsageError
from sheaf.core.base.ids import OpId
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import UserKeys
from sheaf.core.space import authoring
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.control_op import admission_statement, decode_op, encode_op
from sheaf.core.space.evaluation import evaluate
from sheaf.core.space.membership import Membership
from sheaf.core.space.op_bodies import Admit, Body, DevRevoke, InviteKind, InviteRevoke, Remove
from sheaf.core.space.roles import Role
from tests.support.space_world import Person, Replica, World, copy


@pytest.fixture
def world() -> World:
    return World()


def admission_of(replica: Replica, person: Person) -> OpId:
    return replica.space.membership.members[person.user.user_id].admission


def merge(*replicas: Replica) -> Membership:
    """Everybody gets everybody's ops, in different orders; all agree."""
    raws = {raw for replica in replicas for raw in replica.ops}
    summaries = []
    for index, replica in enumerate(replicas):
        mine = sorted(raws)
        random.Random(index).shuffle(mine)
        replica.add_ops(*mine)
        summaries.append(replica.space.membership.summary())
    assert all(summary == summaries[0] for summary in summaries)
    return replicas[0].space.membership


def by(replica: Replica, body: Body) -> bytes:
    """An op that authoring would refuse to make."""
    found = replica.space.membership.device(replica.person.device.device_id)
    if found is None:
        raise NotAllowed("not a member any more")
    return encode_op(
        replica.person.device,
        body,
        space_id=replica.space.space_id,
        parents=replica.space.control.heads(),
        admission=found[0].admission,
        hlc_ms=1,
    )


def remove(replica: Replica, person: Person) -> None:
    replica.add_ops(
        authoring.remove(
            replica.space,
            replica.person.device,
            admission=admission_of(replica, person),
            now_ms=replica.world.tick(),
        )
    )


def roles(membership: Membership) -> dict[str, Role]:
    return {member.name: member.role for member in membership.members.values()}


# --------------------------------------------------------------------------- removal


def test_the_removed_are_out_and_their_later_and_concurrent_ops_void(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    remove(a, bob)
    world.join(b, carol, Role.EDITOR)  # concurrent with Bob's removal
    assert roles(merge(a, b)) == {"Alice": Role.OWNER}


def test_whom_the_removed_admitted_before_stays(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    world.join(b, carol, Role.EDITOR)
    merge(a, b)
    remove(a, bob)
    assert roles(merge(a, b)) == {"Alice": Role.OWNER, "Carol": Role.EDITOR}


def test_a_lower_owner_cannot_remove_an_ancestor_nor_siblings_each_other(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    c = world.join(a, carol, Role.OWNER)
    merge(a, b, c)
    remove(b, alice)
    remove(b, carol)
    remove(c, bob)
    assert set(roles(merge(a, b, c))) == {"Alice", "Bob", "Carol"}


def test_an_owner_removes_its_descendants_however_deep(world: World) -> None:
    people = [world.person(f"P{n}") for n in range(4)]
    chain = [world.found(people[0])]
    for person in people[1:]:
        chain.append(world.join(chain[-1], person, Role.OWNER))
    merge(*chain)
    remove(chain[1], people[3])
    remove(chain[3], people[1])
    assert set(roles(merge(*chain))) == {"P0", "P1", "P2"}


def test_leaving_is_everybodys_right_and_two_devices_may_leave_at_once(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    b = world.join(a, bob, Role.READER)
    second = world.device_of(bob, "phone")
    b.add_ops(authoring.dev_add(b.space, bob.device, certificate=second.certificate, now_ms=1))
    p = world.replica(second, a.space.space_id)
    merge(a, b, p)
    remove(b, bob)
    remove(p, bob)
    assert set(roles(merge(a, b, p))) == {"Alice"}
    with pytest.raises(NotAllowed):
        remove(b, alice)


def test_somebody_removed_can_be_admitted_again(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    world.join(a, bob, Role.EDITOR)
    old = admission_of(a, bob)
    remove(a, bob)
    assert not a.space.can_write(bob.device.device_id)
    world.join(a, bob, Role.EDITOR)
    assert a.space.can_write(bob.device.device_id)
    assert admission_of(a, bob) != old


def test_readers_and_editors_cannot_act_as_owners(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.EDITOR)
    b.add_ops(by(b, Admit(carol.user.user_id, Role.OWNER, (carol.certificate,))))
    b.add_ops(by(b, Remove(admission_of(a, alice), ())))
    assert roles(merge(a, b)) == {"Alice": Role.OWNER, "Bob": Role.EDITOR}
    with pytest.raises(NotAllowed):
        authoring.admit(b.space, bob.device, certificates=[carol.certificate], role=Role.READER, now_ms=1)


# --------------------------------------------------------------------------- roles


def test_of_two_concurrent_role_changes_the_lower_wins_and_removal_beats_both(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    c = world.join(a, carol, Role.READER)
    merge(a, b, c)
    admission = admission_of(a, carol)
    for replica, wanted in ((a, Role.EDITOR), (b, Role.READER)):
        replica.add_ops(
            authoring.role(
                replica.space, replica.person.device, admission=admission, role=wanted, now_ms=world.tick()
            )
        )
    assert roles(merge(a, b, c))["Carol"] is Role.READER
    a.add_ops(authoring.role(a.space, alice.device, admission=admission, role=Role.EDITOR, now_ms=1))
    remove(b, carol)
    assert "Carol" not in roles(merge(a, b, c))


def test_a_later_role_change_replaces_an_earlier_one(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    world.join(a, bob, Role.EDITOR)
    for wanted in (Role.READER, Role.EDITOR, Role.READER, Role.EDITOR):
        a.add_ops(
            authoring.role(a.space, alice.device, admission=admission_of(a, bob), role=wanted, now_ms=1)
        )
        assert roles(a.space.membership)["Bob"] is wanted
    with pytest.raises(UsageError):
        authoring.role(a.space, alice.device, admission=admission_of(a, bob), role=Role.OWNER, now_ms=1)


# --------------------------------------------------------------------------- devices


def test_a_second_device_is_added_and_revoked(world: World) -> None:
    alice = world.person("Alice")
    phone = world.device_of(alice, "phone")
    a = world.found(alice)
    a.add_ops(authoring.dev_add(a.space, alice.device, certificate=phone.certificate, now_ms=1))
    for raw in authoring.keyboxes(a.space, alice.device, phone.certificate, 2):
        a.add_ops(raw)
    p = world.replica(phone, a.space.space_id)
    p.add_ops(*a.ops)
    p.write("from the phone")
    a.add_ops(
        authoring.dev_revoke(
            a.space,
            alice.device,
            admission=admission_of(a, alice),
            target=phone.device.device_id,
            now_ms=3,
            user=alice.user,
        )
    )
    p.add_ops(by(p, InviteRevoke(OpId(bytes(32)))))  # concurrent: void, but well-formed
    membership = merge(a, p)
    assert not membership.is_active(phone.device.device_id)
    assert membership.is_active(alice.device.device_id)
    with pytest.raises(NotAllowed):
        p.write("after")


def test_a_new_device_may_add_itself_with_its_persons_certificate(world: World) -> None:
    alice = world.person("Alice")
    a = world.found(alice)
    phone = world.device_of(alice, "phone")
    p = world.replica(phone, a.space.space_id)
    p.add_ops(*a.ops)
    p.add_ops(authoring.dev_add(p.space, phone.device, certificate=phone.certificate, now_ms=1))
    assert merge(a, p).is_active(phone.device.device_id)


def test_a_device_cannot_revoke_another_without_the_persons_key(world: World) -> None:
    alice, mallory = world.person("Alice"), world.person("Mallory")
    a = world.found(alice)
    phone = world.device_of(alice, "phone")
    a.add_ops(authoring.dev_add(a.space, alice.device, certificate=phone.certificate, now_ms=1))
    p = world.replica(phone, a.space.space_id)
    p.add_ops(*a.ops)
    target = alice.device.device_id
    for user in (None, mallory.user):
        p.add_ops(
            authoring.dev_revoke(
                p.space, phone.device, admission=admission_of(p, alice), target=target, now_ms=2, user=user
            )
        )
    assert merge(a, p).is_active(target)


def test_two_devices_revoking_each_other_with_the_persons_key_are_both_out(world: World) -> None:
    alice = world.person("Alice")
    a = world.found(alice)
    phone = world.device_of(alice, "phone")
    a.add_ops(authoring.dev_add(a.space, alice.device, certificate=phone.certificate, now_ms=1))
    p = world.replica(phone, a.space.space_id)
    p.add_ops(*a.ops)
    for replica, other in ((a, phone), (p, alice)):
        replica.add_ops(
            authoring.dev_revoke(
                replica.space,
                replica.person.device,
                admission=admission_of(a, alice),
                target=other.device.device_id,
                now_ms=2,
                user=alice.user,
            )
        )
    assert not merge(a, p).devices()


def test_a_revocation_statement_cannot_be_moved_in_history(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    phone = world.device_of(alice, "phone")
    a.add_ops(authoring.dev_add(a.space, alice.device, certificate=phone.certificate, now_ms=1))
    raw = authoring.dev_revoke(
        a.space,
        alice.device,
        admission=admission_of(a, alice),
        target=phone.device.device_id,
        now_ms=2,
        user=alice.user,
    )
    body = decode_op(raw).body
    assert isinstance(body, DevRevoke)
    world.join(a, bob, Role.READER)
    a.add_ops(by(a, body))  # the same statement, other parents
    assert a.space.membership.is_active(phone.device.device_id)
    a.add_ops(raw)
    assert not a.space.membership.is_active(phone.device.device_id)


def test_somebody_elses_device_cannot_be_added(world: World) -> None:
    a = world.found(world.person("Alice"))
    mallory = world.person("Mallory")
    with pytest.raises(NotAllowed):
        authoring.dev_add(a.space, a.person.device, certificate=mallory.certificate, now_ms=1)


def test_an_owner_revokes_a_device_of_an_editor_but_not_of_a_superior(world: World) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    c = world.join(a, carol, Role.EDITOR)
    merge(a, b, c)
    for person in (carol, alice):
        b.add_ops(
            authoring.dev_revoke(
                b.space,
                bob.device,
                admission=admission_of(b, person),
                target=person.device.device_id,
                now_ms=1,
            )
        )
    membership = merge(a, b, c)
    assert not membership.is_active(carol.device.device_id)
    assert membership.is_active(alice.device.device_id)


# --------------------------------------------------------------------------- invitations


def invited(world: World, a: Replica, max_uses: int = 1, role: Role = Role.EDITOR) -> tuple[UserKeys, OpId]:
    """An invitation key (any Ed25519 key does) and the op that opens it."""
    key = UserKeys.generate(world.entropy)
    raw = authoring.invite(
        a.space,
        a.person.device,
        invite_public=key.user_id,
        role=role,
        max_uses=max_uses,
        expires_ms=None,
        now_ms=world.tick(),
    )
    a.add_ops(raw)
    return key, decode_op(raw).op_id


def admit_by_invite(
    a: Replica, person: Person, key: UserKeys, invite: OpId, role: Role = Role.EDITOR
) -> bytes:
    proof = key.sign(admission_statement(a.space.space_id, person.certificate))
    return by(a, Admit(person.user.user_id, role, (person.certificate,), invite, proof))


def test_an_invitation_admits_as_often_as_it_says(world: World) -> None:
    a = world.found(world.person("Alice"))
    key, invite = invited(world, a, max_uses=2)
    for name in ("Bob", "Carol", "Dave"):
        a.add_ops(admit_by_invite(a, world.person(name), key, invite))
    assert set(roles(a.space.membership)) == {"Alice", "Bob", "Carol"}
    info = a.space.membership.invites[invite]
    assert (info.uses, info.is_open) == (2, False)
    with pytest.raises(NotAllowed, match="used up"):
        authoring.admit(
            a.space,
            a.person.device,
            certificates=[world.person("Eve").certificate],
            role=Role.EDITOR,
            invite_op=invite,
            proof=bytes(64),
            now_ms=1,
        )


def test_an_admission_without_a_valid_proof_or_with_more_than_offered_is_void(world: World) -> None:
    a = world.found(world.person("Alice"))
    key, invite = invited(world, a, max_uses=9)
    other = UserKeys.generate(world.entropy)
    a.add_ops(admit_by_invite(a, world.person("Bob"), other, invite))
    a.add_ops(admit_by_invite(a, world.person("Carol"), key, invite, Role.OWNER))
    dave, eve = world.person("Dave"), world.person("Eve")
    proof = key.sign(admission_statement(a.space.space_id, dave.certificate))
    a.add_ops(by(a, Admit(eve.user.user_id, Role.EDITOR, (eve.certificate,), invite, proof)))
    assert set(roles(a.space.membership)) == {"Alice"}


def test_a_revoked_invitation_admits_nobody(world: World) -> None:
    a = world.found(world.person("Alice"))
    key, invite = invited(world, a)
    a.add_ops(authoring.invite_revoke(a.space, a.person.device, invite_op=invite, now_ms=1))
    a.add_ops(admit_by_invite(a, world.person("Bob"), key, invite))
    assert set(roles(a.space.membership)) == {"Alice"}
    assert a.space.membership.invites[invite].is_revoked


def test_only_the_issuer_admits_through_an_invitation(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    b = world.join(a, bob, Role.OWNER)
    key, invite = invited(world, a)
    merge(a, b)
    b.add_ops(admit_by_invite(b, world.person("Carol"), key, invite))
    assert set(roles(merge(a, b))) == {"Alice", "Bob"}
    with pytest.raises(NotAllowed, match="person who made"):
        authoring.admit(
            b.space,
            bob.device,
            certificates=[world.person("Eve").certificate],
            role=Role.EDITOR,
            invite_op=invite,
            proof=bytes(64),
            now_ms=1,
        )


def test_invitations_make_no_owners(world: World) -> None:
    a = world.found(world.person("Alice"))
    with pytest.raises(UsageError):
        invited(world, a, role=Role.OWNER)
    with pytest.raises(UsageError):
        invited(world, a, max_uses=0)
    raw = authoring.invite(
        a.space,
        a.person.device,
        invite_public=bytes(32),
        role=Role.OWNER,
        max_uses=1,
        expires_ms=5,
        now_ms=1,
        kind=InviteKind.DEVICE,
    )
    a.add_ops(raw)
    assert a.space.membership.invites[decode_op(raw).op_id].expires_ms == 5


# --------------------------------------------------------------------------- epochs


def test_after_a_removal_the_new_epoch_is_closed_to_the_removed_and_opens_the_old_to_all(
    world: World,
) -> None:
    alice, bob, carol = (world.person(name) for name in ("Alice", "Bob", "Carol"))
    a = world.found(alice)
    b = world.join(a, bob, Role.EDITOR)
    a.write("before")
    remove(a, bob)
    raw, epoch_id, _ = authoring.epoch(a.space, alice.device, world.tick(), world.entropy)
    a.add_ops(raw)
    assert a.space.current_epoch() == epoch_id
    b.add_ops(*a.ops)
    assert epoch_id not in b.space.secrets()
    c = world.join(a, carol, Role.EDITOR)
    assert c.space.secrets() == a.space.secrets()
    assert c.space.first_keys() is not None
    assert c.space.name() == "Notes"
    assert len(c.space.rendezvous_ids(alice.device.device_id)) == 2


def test_an_epoch_boxed_to_somebody_removed_is_not_sealed_under(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    world.join(a, bob, Role.EDITOR)
    raw, epoch_id, _ = authoring.epoch(a.space, alice.device, world.tick(), world.entropy)
    a.add_ops(raw)
    assert a.space.current_epoch() == epoch_id
    remove(a, bob)
    assert a.space.current_epoch() != epoch_id


def test_concurrent_epochs_agree_on_one_and_the_next_opens_both(world: World) -> None:
    alice, bob = world.person("Alice"), world.person("Bob")
    a = world.found(alice)
    b = world.join(a, bob, Role.EDITOR)
    for replica in (a, b):
        raw, _, _ = authoring.epoch(replica.space, replica.person.device, world.tick(), world.entropy)
        replica.add_ops(raw)
    merge(a, b)
    assert a.space.current_epoch() == b.space.current_epoch()
    c = world.join(a, world.person("Carol"), Role.READER)
    assert c.space.secrets() == a.space.secrets()
    with pytest.raises(NotAllowed):
        authoring.epoch(c.space, c.person.device, 1, world.entropy)


def test_a_secret_that_is_not_the_committed_one_is_not_taken(world: World) -> None:
    a = world.found(world.person("Alice"))
    raw, epoch_id, secret = authoring.epoch(a.space, a.person.device, 1, world.entropy)
    stranger = world.replica(world.person("Eve"), a.space.space_id)
    a.add_ops(raw)
    stranger.add_ops(*a.ops)
    assert not stranger.space.add_secret(epoch_id, bytes(32))
    assert stranger.space.add_secret(epoch_id, secret)
    assert not stranger.space.add_secret(epoch_id, secret)


def test_preferences_change_one_at_a_time(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.OWNER)
    a.add_ops(
        authoring.prefs(
            a.space, a.person.device, now_ms=1, entropy=world.entropy, relay_urls=["wss://relay.example"]
        )
    )
    a.add_ops(authoring.prefs(a.space, a.person.device, now_ms=1, entropy=world.entropy, name="Plans"))
    assert (a.space.name(), a.space.preferences().relay_urls) == ("Plans", ("wss://relay.example",))
    b.add_ops(authoring.prefs(b.space, b.person.device, now_ms=1, entropy=world.entropy, name="Dreams"))
    merge(a, b)
    assert a.space.name() == b.space.name() in ("Plans", "Dreams")


# --------------------------------------------------------------------------- limits


def test_a_full_space_admits_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authoring, "DEVICES_MAX", 2)
    a = world.found(world.person("Alice"))
    world.join(a, world.person("Bob"), Role.READER)
    with pytest.raises(UsageError, match="room"):
        world.join(a, world.person("Carol"), Role.READER)
    phone = world.device_of(a.person, "phone")
    with pytest.raises(UsageError, match="room"):
        authoring.dev_add(a.space, a.person.device, certificate=phone.certificate, now_ms=1)


def test_a_removal_cuts_where_the_logs_stand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    logs = []
    for n in range(4):
        logs.append(b.write(f"{n}").log_state.log_id)
        b = b.restarted()
    copy(b, a)
    admission = admission_of(a, b.person)
    raw = authoring.remove(a.space, a.person.device, admission=admission, now_ms=1)
    a.add_ops(raw)
    device_id = b.person.device.device_id
    assert [a.space.membership.cut(log_id, device_id) for log_id in logs] == [2, 2, 2, 2]
    a.add_ops(authoring.accept(a.space, a.person.device, log_id=logs[0], next_seq=9, now_ms=1))
    assert a.space.membership.cut(logs[0], device_id) == 9
    assert a.space.membership.cut(logs[0], a.person.device.device_id) is None
    monkeypatch.setattr(authoring, "CUT_LOGS_MAX", 1)
    short = decode_op(authoring.remove(a.space, a.person.device, admission=admission, now_ms=2)).body
    assert isinstance(short, Remove)
    assert short.cut == ((logs[3], 2),), "the one that names the others"


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
