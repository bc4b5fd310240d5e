"""Coming in by invitation, and the keys that follow who is in (PROTOCOL §4)."""

from __future__ import annotations

import pytest

from sheaf.core.base.errors import NotAllowed, UsageError
from sheaf.core.crypto.identity import UserKeys
from sheaf.core.space import authoring
from sheaf.core.space.control_op import admission_statement, decode_op
from sheaf.core.space.op_bodies import Admit, InviteKind, Remove
from sheaf.core.space.roles import Role
from tests.support.membership import admission_of, admit_by_invite, by, invited, merge, remove, roles
from tests.support.space_world import World, copy


@pytest.fixture
def world() -> World:
    return World()


# --------------------------------------------------------------------------- invitations


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
