"""Two sessions bring two spaces level: control plane, catch-up, live (FAULTS N10, N11, N12)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import CREDIT_CATCH_UP_BYTES, CREDIT_LIVE_BYTES, KIB, MIB
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream, decode_frame
from tests.unit.core.protocol.pretend_wire import (
    ALICE,
    BOB,
    CAROL,
    DOC,
    SPACE,
    MemorySpace,
    Side,
    Wire,
    live_pair,
    log_named,
    make_op,
    op_id_of,
    pair,
    shared_space,
)


def test_members_of_one_space_become_live() -> None:
    _, alice, bob = live_pair()
    assert [effect.certificate for effect in alice.seen(fx.Authenticated)] == [BOB.certificate]
    phases = [effect.phase for effect in bob.seen(fx.SpacePhase)]
    assert phases == [Phase.MATCHED, Phase.CONTROL, Phase.CATCH_UP, Phase.LIVE]


def test_an_edit_travels_in_one_latency() -> None:
    wire, alice, bob = live_pair(latency_s=0.010)
    wire.run(1)
    alice.write("a", b"key", now=wire.now)
    pressed = wire.now
    wire.until(lambda: bob.spaces[SPACE].logs == {log_named("a"): [b"key"]})
    assert wire.now - pressed == pytest.approx(0.010)


def test_a_committed_edit_has_its_frame_at_once() -> None:
    wire, alice, _ = live_pair()
    wire.run(1)
    alice.write("a", b"key", now=wire.now)
    (frame,) = alice.session.next_frames(1)
    assert decode_frame(frame).stream is Stream.LIVE


def test_both_sides_catch_up_with_what_they_lack() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("a"), *(b"a%d" % n for n in range(500)))
    right.write(log_named("b"), *(b"b%d" % n for n in range(300)))
    left.write(log_named("c"), b"c1", b"c2", b"c3")
    right.write(log_named("c"), b"c1")
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert left.logs == right.logs
    assert len(left.logs) == 3
    last = bob.seen(fx.Progress)[-1]
    assert (last.done_envelopes, last.total_envelopes) == (502, 502)


def test_control_ops_come_first_and_in_order() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    previous = make_op("genesis")
    for number in range(3000):
        previous = make_op(f"{number} " + "x" * 300, previous)
        left.add_op(previous)
    left.write(log_named("a"), b"text")
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: bob.phase() is Phase.LIVE)
    assert right.control_heads() == left.control_heads()
    stores = [e for e in bob.effects if isinstance(e, fx.StoreOps | fx.StoreRun)]
    assert isinstance(stores[-1], fx.StoreRun)
    assert len(bob.stored_ops) == 3000
    assert alice.stored_ops == []


def test_two_control_planes_that_grew_apart_meet() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.add_op(make_op("left", make_op("genesis")))
    right.add_op(make_op("right", make_op("genesis")))
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert left.control_heads() == right.control_heads()
    assert len(left.ops) == 3


def test_a_control_op_made_in_a_live_session_reaches_the_peer() -> None:
    wire, alice, bob = live_pair()
    alice.spaces[SPACE].add_op(make_op("later", make_op("genesis")))
    alice.perform(alice.session.ops_changed(SPACE, wire.now), wire.now)
    wire.run(1)
    assert op_id_of(make_op("later", make_op("genesis"))) in bob.spaces[SPACE].ops
    assert bob.phase() is Phase.LIVE


def test_only_common_spaces_are_matched_and_their_number_is_hidden() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    other = MemorySpace(space_id=type(SPACE)(b"o" * 32), key=b"o" * 32)
    wire, alice, bob = pair(left, right)
    alice.spaces[other.space_id] = other
    wire.start().until(lambda: bob.phase() is Phase.LIVE)
    assert {effect.space_id for effect in alice.seen(fx.SpacePhase)} == {SPACE}
    assert alice.phase(other.space_id) is Phase.IDLE


def test_who_has_the_space_id_but_not_the_key_matches_nothing() -> None:
    stranger = shared_space(ALICE, BOB)
    stranger.key = b"g" * 32
    wire, alice, bob = pair(shared_space(ALICE, BOB), stranger)
    wire.start().run(5)
    assert alice.seen(fx.SpacePhase) == bob.seen(fx.SpacePhase) == []


def test_a_non_member_is_told_nothing_but_may_push_ops() -> None:
    left, right = shared_space(ALICE), shared_space(ALICE, BOB)
    left.write(log_named("secret"), b"secret")
    left.add_op(make_op("private", make_op("genesis")))
    right.add_op(make_op("news", make_op("genesis")))
    right.write(log_named("mine"), b"mine")
    wire, alice, bob = pair(left, right)
    wire.start().run(5)
    assert alice.phase() is bob.phase() is Phase.NOT_MEMBER
    assert bob.stored_ops == []
    assert set(alice.stored_ops) == set(right.ops.values())
    assert bob.seen(fx.StoreRun) == alice.seen(fx.StoreRun) == []


def test_news_of_an_admission_opens_the_space() -> None:
    left, right = shared_space(ALICE), shared_space(ALICE, BOB)
    admission = make_op("admit bob", make_op("genesis"))
    right.add_op(admission)
    right.write(log_named("b"), b"b")
    left.write(log_named("a"), b"a")
    add_op = left.add_op

    def admitting(raw: bytes) -> bool:
        if raw == admission:
            left.members.add(BOB.device_id)
        return add_op(raw)

    left.add_op = admitting  # type: ignore[method-assign]
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert left.logs == right.logs


def test_a_removed_peer_gets_no_more_envelopes() -> None:
    wire, alice, bob = live_pair()
    alice.spaces[SPACE].members.discard(BOB.device_id)
    alice.perform(alice.session.ops_changed(SPACE, wire.now), wire.now)
    alice.write("a", b"after the removal", now=wire.now)
    alice.perform(alice.session.send_ephemeral(SPACE, DOC, b"cursor", wire.now), wire.now)
    wire.run(20)
    assert alice.phase() is bob.phase() is Phase.NOT_MEMBER
    assert bob.spaces[SPACE].logs == {}
    assert bob.seen(fx.Ephemeral) == []
    assert alice.closed is bob.closed is None


def test_a_member_taken_back_catches_up_in_the_same_session() -> None:
    wire, alice, bob = live_pair()
    alice.spaces[SPACE].members.discard(BOB.device_id)
    alice.perform(alice.session.ops_changed(SPACE, wire.now), wire.now)
    alice.write("a", b"one", now=wire.now)
    wire.run(1)
    bob.write("b", b"two", now=wire.now)
    alice.spaces[SPACE].members.add(BOB.device_id)
    alice.perform(alice.session.ops_changed(SPACE, wire.now), wire.now)
    wire.until(lambda: alice.spaces[SPACE].logs == bob.spaces[SPACE].logs != {})
    assert alice.phase() is Phase.LIVE


def test_peers_learn_what_is_durable_at_the_other() -> None:
    wire, alice, bob = live_pair()
    alice.write("a", b"1", b"2", now=wire.now)
    wire.run(1)
    assert {log_named("a"): 3} in [effect.version for effect in alice.seen(fx.PeerHas)]
    assert bob.session.phase(SPACE) is Phase.LIVE


def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    wire, alice, bob = live_pair()
    bob.is_slow = True
    alice.write("a", b"1", now=wire.now)
    wire.run(5)
    assert not any(effect.version for effect in alice.seen(fx.PeerHas) if effect.version)
    bob.commit(wire.now)
    wire.run(1)
    assert alice.seen(fx.PeerHas)[-1].version == {log_named("a"): 2}


def forward(side: Side, wire: Wire, name: str, envelope: bytes) -> None:
    """Something from a third device became durable here."""
    run = side.spaces[SPACE].write(log_named(name), envelope, author=CAROL.device_id)
    side.perform(side.session.committed(SPACE, [run], wire.now), wire.now)


def test_an_envelope_from_a_third_device_is_passed_on_but_not_sent_back() -> None:
    wire, alice, bob = live_pair()
    forward(bob, wire, "carol's", b"via bob")
    wire.run(1)
    assert alice.spaces[SPACE].logs[log_named("carol's")] == [b"via bob"]
    assert bob.seen(fx.StoreRun) == []


def test_in_a_mesh_nobody_sends_what_the_author_sent_already() -> None:
    wire, alice, bob = live_pair()
    for number in range(20):
        forward(alice, wire, "carol's", b"%d" % number)
        wire.run(0.03)
        forward(bob, wire, "carol's", b"%d" % number)
        wire.run(0.05)
    wire.run(2)
    assert alice.spaces[SPACE].logs == bob.spaces[SPACE].logs
    assert alice.seen(fx.StoreRun) == bob.seen(fx.StoreRun) == []


def test_a_slow_receiver_bounds_what_is_under_way_and_live_edits_fall_behind() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("old"), *(random.Random(n).randbytes(64 * KIB) for n in range(64)))
    wire, alice, bob = pair(left, right)
    bob.is_slow = True
    wire.start().run(2)
    for number in range(200):
        alice.write("new", b"%03d" % number + bytes(16 * KIB), now=wire.now)
        wire.run(0.05)
    waiting = sum(effect.run.size_bytes for effect in bob.busy if isinstance(effect, fx.StoreRun))
    assert waiting <= CREDIT_CATCH_UP_BYTES + CREDIT_LIVE_BYTES
    queued = sum(alice.session._mux.queued_bytes(stream) for stream in Stream)
    assert queued <= 1 * MIB
    bob.is_slow = False
    bob.commit(wire.now)
    wire.until(lambda: left.logs == right.logs, 600)


def test_edits_typed_during_a_long_catch_up_never_leave_holes() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("a"), *(random.Random(n).randbytes(2000) for n in range(2000)))
    wire, alice, _ = pair(left, right, latency_s=0.02)
    wants: list[tuple[LogId, int]] = []
    ingest = right.ingest

    def watching(run: Run) -> list[tuple[LogId, int]]:
        found = ingest(run)
        wants.extend(found)
        return found

    right.ingest = watching  # type: ignore[method-assign]
    wire.start()
    for number in range(300):
        alice.write("a", b"typed %d" % number, now=wire.now)
        wire.run(0.01)
    wire.until(lambda: left.logs == right.logs)
    assert wants == []


def test_a_hole_is_asked_for_and_filled() -> None:
    wire, alice, bob = live_pair()
    ingest, lost = bob.spaces[SPACE].ingest, []

    def losing_the_first(run: Run) -> list[tuple[LogId, int]]:
        if not lost:
            lost.append(run)
            return []
        return ingest(run)

    bob.spaces[SPACE].ingest = losing_the_first  # type: ignore[method-assign]
    alice.write("a", b"1", b"2", b"3", now=wire.now)
    wire.run(1)
    alice.write("a", b"4", now=wire.now)
    wire.until(lambda: alice.spaces[SPACE].logs == bob.spaces[SPACE].logs, 1)


def test_an_interrupted_catch_up_resumes_where_it_was() -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("a"), *(random.Random(n).randbytes(4000) for n in range(1000)))
    sent = []
    for cut_at in (150, 500, 900, 1000):
        wire, alice, _ = pair(left, right)
        wire.start().until(lambda n=cut_at: len(right.logs.get(log_named("a"), [])) >= n)  # type: ignore[misc]
        sent.append(alice.sent_bytes)
    assert left.logs == right.logs
    assert sum(sent) < 2 * 4_000_000


def test_a_closed_session_ends_both_sides_and_is_quiet_after_that() -> None:
    wire, alice, bob = live_pair()
    alice.perform(alice.session.close("going to sleep", wire.now), wire.now)
    wire.run(1)
    assert alice.closed == fx.Closed("going to sleep", is_peer_fault=False)
    assert bob.closed is not None
    assert "going to sleep" in bob.closed.reason
    assert not bob.closed.is_peer_fault
    assert bob.session.next_wake() is None
    assert bob.session.receive(b"\x01\x00", wire.now) == []
    assert alice.session.committed(SPACE, [], wire.now) == alice.session.wake(wire.now) == []


def test_a_space_that_is_left_is_closed_and_can_come_back() -> None:
    wire, alice, bob = live_pair()
    space = alice.spaces.pop(SPACE)
    alice.perform(alice.session.space_removed(SPACE, wire.now), wire.now)
    bob.write("b", b"while away", now=wire.now)
    wire.run(1)
    assert bob.phase() is Phase.IDLE
    alice.spaces[SPACE] = space
    alice.perform(alice.session.space_added(SPACE, wire.now), wire.now)
    wire.until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert alice.spaces[SPACE].logs == bob.spaces[SPACE].logs
    assert alice.closed is bob.closed is None


def test_a_space_made_on_both_sides_during_the_session_is_found() -> None:
    wire, alice, bob = pair()
    wire.start().run(1)
    for side in (alice, bob):
        side.spaces[SPACE] = shared_space(ALICE, BOB)
        side.perform(side.session.space_added(SPACE, wire.now), wire.now)
    wire.until(lambda: alice.phase() is bob.phase() is Phase.LIVE)


# --------------------------------------------------------------------------- any schedule

edits = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["p", "q"]), st.integers(0, 40_000)), max_size=30
)


@settings(max_examples=60)
@given(edits, st.lists(st.integers(1, 30), max_size=6), st.randoms(use_true_random=False))
def test_any_edits_any_commit_delays_any_cuts_end_level(
    work: list[tuple[str, str, int]], cuts: list[int], chance: random.Random
) -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    todo = list(work)
    for rounds in [*cuts, 0]:
        wire, alice, bob = pair(left, right, latency_s=chance.choice([0.0, 0.001, 0.2]), is_slow=True)
        wire.start()
        for _ in range(rounds or 10_000):
            if not wire.step() or (not rounds and not todo and left.logs == right.logs):
                break
            if todo and chance.random() < 0.3:
                who, name, size = todo.pop(0)
                side = alice if who == "a" else bob
                side.write(who + name, bytes(size), now=wire.now)
            for side in (alice, bob):
                if chance.random() < 0.7:
                    side.commit(wire.now, chance.randint(1, 3))
        assert alice.closed is bob.closed is None
    assert not todo
    assert left.logs == right.logs


def test_carol_and_alice_and_bob_in_a_row_end_level() -> None:
    spaces = [shared_space(ALICE, BOB, CAROL) for _ in range(3)]
    spaces[0].write(log_named("a"), *(b"%d" % n for n in range(100)))
    ends = Side(ALICE, is_offerer=True, spaces=[spaces[0]]), Side(CAROL, is_offerer=False, spaces=[spaces[2]])
    middle = Side(BOB, is_offerer=False, spaces=[spaces[1]]), Side(BOB, is_offerer=True, spaces=[spaces[1]])
    wires = Wire(ends[0], middle[0]).start(), Wire(middle[1], ends[1]).start()
    seen = 0
    for _ in range(200):
        for wire in wires:
            wire.run(0.05)
        runs = [e.run for e in middle[0].seen(fx.StoreRun)]
        if runs[seen:]:
            middle[1].perform(middle[1].session.committed(SPACE, runs[seen:], wires[1].now), wires[1].now)
            seen = len(runs)
    assert spaces[0].logs == spaces[1].logs == spaces[2].logs
