"""Joining by ticket, with real spaces: proof, answer, and what the joiner believes (PROTOCOL §8)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import SpaceId
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from sheaf.core.protocol.pairing import InviteKeys, JoinRequest, check_genesis
from sheaf.core.space import authoring
from sheaf.core.space.control_op import admission_statement
from sheaf.core.space.roles import Role
from sheaf.core.space.space import Space
from tests.unit.core.protocol.pretend_wire import (
    ALICE,
    BOB,
    CAROL,
    TRANSCRIPT,
    MemorySpace,
    Person,
    Side,
    Wire,
    log_named,
    pair,
)

SECRET = bytes(range(16))
entropy = random.Random(11).randbytes


def found_space(owner: Person) -> Space:
    new = authoring.create_space(owner.user, owner.device, owner.certificate, "Notes", 1, entropy)
    space = Space(space_id=new.space_id, device_id=owner.device_id)
    assert not space.add_ops(new.ops).refused
    space.add_secret(new.epoch_id, new.secret)
    return space


def raws_of(space: Space) -> tuple[bytes, ...]:
    return tuple(op.raw for op in space.control.topological())


def invited(space: Space, owner: Person) -> InviteKeys:
    keys = InviteKeys(SECRET)
    space.add_ops(
        [
            authoring.invite(
                space,
                owner.device,
                invite_public=keys.public,
                role=Role.EDITOR,
                max_uses=1,
                expires_ms=None,
                now_ms=2,
            )
        ]
    )
    return keys


def admit(space: Space, owner: Person, newcomer: Person, keys: InviteKeys) -> None:
    (invite_op,) = space.membership.invites
    proof = keys.sign(admission_statement(space.space_id, newcomer.certificate))
    space.add_ops(
        [
            authoring.admit(
                space,
                owner.device,
                certificates=[newcomer.certificate],
                role=Role.EDITOR,
                now_ms=3,
                invite_op=invite_op,
                proof=proof,
            )
        ]
    )
    space.add_ops(authoring.keyboxes(space, owner.device, newcomer.certificate, 4))


def request_of(person: Person, space_id: SpaceId, transcript: bytes = TRANSCRIPT) -> JoinRequest:
    return JoinRequest.make(
        InviteKeys(SECRET), space_id=space_id, certificate=person.certificate, transcript=transcript
    )


def test_keys_follow_from_the_secret_alone_and_are_all_different() -> None:
    keys, again, other = InviteKeys(SECRET), InviteKeys(SECRET), InviteKeys(b"x" * 16)
    assert (keys.public, keys.kem_public, keys.rendezvous_id, keys.mdns_key) == (
        again.public,
        again.kem_public,
        again.rendezvous_id,
        again.mdns_key,
    )
    assert len({keys.public, keys.kem_public, keys.mdns_key, other.public, other.kem_public}) == 5
    assert SECRET.hex() not in repr(keys)


def test_a_request_proves_the_ticket_for_one_session_device_and_space() -> None:
    space_id, keys = found_space(ALICE).space_id, InviteKeys(SECRET)
    request = request_of(BOB, space_id)
    assert request.verify(keys.public, TRANSCRIPT) == (BOB.certificate,)
    assert JoinRequest.decode(request.encode()) == request
    for forged, public, transcript in (
        (request, InviteKeys(b"x" * 16).public, TRANSCRIPT),
        (request, keys.public, bytes(32)),
        (replace(request, space_id=SpaceId(bytes(32))), keys.public, TRANSCRIPT),
        (replace(request, certificates=(CAROL.certificate.raw,)), keys.public, TRANSCRIPT),
        (
            replace(request, certificates=(BOB.certificate.raw, CAROL.certificate.raw)),
            keys.public,
            TRANSCRIPT,
        ),
    ):
        with pytest.raises(ProtocolViolation):
            forged.verify(public, transcript)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        JoinRequest.decode(data)


def test_a_joiner_accepts_the_history_of_the_space_in_its_ticket() -> None:
    space = found_space(ALICE)
    admit(space, ALICE, BOB, invited(space, ALICE))
    membership = check_genesis(space.space_id, raws_of(space), ALICE.device_id, joiner=BOB.device_id)
    assert membership.role_of(BOB.device_id) is Role.EDITOR


def test_a_joiner_does_not_believe_another_space_stranger_or_gap() -> None:
    space, other = found_space(ALICE), found_space(CAROL)
    keys = invited(space, ALICE)
    before = raws_of(space)
    admit(space, ALICE, BOB, keys)
    ops = raws_of(space)
    for space_id, raws, responder in (
        (other.space_id, ops, ALICE.device_id),
        (space.space_id, raws_of(other), CAROL.device_id),
        (space.space_id, ops, CAROL.device_id),
        (space.space_id, ops, BOB.device_id),
        (space.space_id, before, ALICE.device_id),
        (space.space_id, ops[:-3] + ops[-2:], ALICE.device_id),
        (space.space_id, (), ALICE.device_id),
        (space.space_id, (b"junk",), ALICE.device_id),
    ):
        with pytest.raises(ProtocolViolation):
            check_genesis(space_id, raws, responder, joiner=BOB.device_id)


def as_view(space: Space, psi_key: bytes) -> MemorySpace:
    """The space as the session sees it; envelopes stay pretend."""
    view = MemorySpace(space_id=space.space_id, key=psi_key)
    view.members = set(space.membership.devices())
    return view


def test_joining_goes_on_into_normal_sync_in_the_same_session() -> None:
    space = found_space(ALICE)
    keys = invited(space, ALICE)
    psi_key = space.first_keys().psi_key  # type: ignore[union-attr]
    view = as_view(space, psi_key)
    view.write(log_named("a"), b"hello")
    alice = Side(ALICE, is_offerer=False, spaces=[view])
    bob = Side(BOB, is_offerer=True)
    wire = Wire(alice, bob)
    bob.perform(bob.session.join(space.space_id, request_of(BOB, space.space_id), wire.now), wire.now)
    wire.start().until(lambda: bool(alice.seen(fx.JoinRequested)))

    (asked,) = alice.seen(fx.JoinRequested)
    assert asked.request.verify(keys.public, TRANSCRIPT) == (BOB.certificate,)
    admit(space, ALICE, BOB, keys)
    view.members = set(space.membership.devices())
    alice.perform(alice.session.ops_changed(space.space_id, wire.now), wire.now)
    alice.perform(alice.session.join_answer(asked.token, raws_of(space), wire.now), wire.now)
    wire.until(lambda: bool(bob.seen(fx.JoinAccepted)))

    (accepted,) = bob.seen(fx.JoinAccepted)
    check_genesis(accepted.space_id, accepted.ops, ALICE.device_id, joiner=BOB.device_id)
    joined = Space(space_id=accepted.space_id, device_id=BOB.device_id)
    joined.add_ops(accepted.ops)
    assert joined.open_keyboxes(BOB.device)
    assert joined.name() == "Notes"
    bob.spaces[space.space_id] = as_view(joined, joined.first_keys().psi_key)  # type: ignore[union-attr]
    bob.perform(bob.session.space_added(space.space_id, wire.now), wire.now)
    wire.until(lambda: bob.phase(space.space_id) is Phase.LIVE)
    assert bob.spaces[space.space_id].logs == view.logs


def test_a_refusal_reaches_the_joiner_with_its_reason() -> None:
    wire, alice, bob = pair()
    space_id = found_space(ALICE).space_id
    wire.start().run(1)
    bob.perform(bob.session.join(space_id, request_of(BOB, space_id), wire.now), wire.now)
    wire.run(1)
    (asked,) = alice.seen(fx.JoinRequested)
    alice.perform(alice.session.join_answer(asked.token, "used up\n", wire.now), wire.now)
    wire.run(1)
    assert bob.seen(fx.JoinRefused) == [fx.JoinRefused("used up ")]
    assert alice.closed is bob.closed is None


def test_a_long_history_comes_in_several_messages() -> None:
    wire, alice, bob = pair()
    space_id = found_space(ALICE).space_id
    ops = tuple(random.Random(n).randbytes(60_000) for n in range(40))
    wire.start().run(1)
    bob.perform(bob.session.join(space_id, request_of(BOB, space_id), wire.now), wire.now)
    wire.run(1)
    alice.perform(alice.session.join_answer(alice.seen(fx.JoinRequested)[0].token, ops, wire.now), wire.now)
    wire.run(1)
    assert bob.seen(fx.JoinAccepted) == [fx.JoinAccepted(space_id, ops)]


def test_a_request_for_another_device_than_the_one_that_speaks_is_fatal() -> None:
    wire, alice, bob = pair()
    wire.start().run(1)
    space_id = found_space(ALICE).space_id
    bob.perform(bob.session.join(space_id, request_of(CAROL, space_id), wire.now), wire.now)
    wire.run(1)
    assert alice.closed is not None
    assert alice.closed.is_peer_fault
    assert alice.seen(fx.JoinRequested) == []
