"""Who is in: the admission tree, removals, roles, devices (PROTOCOL §4)."""

from __future__ import annotations

import pytest

from sheaf.core.base.errors import NotAllowed, UsageError
from sheaf.core.base.ids import OpId
from sheaf.core.space import authoring
from sheaf.core.space.control_op import decode_op
from sheaf.core.space.op_bodies import Admit, DevRevoke, InviteRevoke, Remove
from sheaf.core.space.roles import Role
from tests.support.membership import admission_of, by, merge, remove, roles
from tests.support.space_world import World


@pytest.fixture
def world() -> World:
    return World()


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
