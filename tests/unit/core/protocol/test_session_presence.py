"""Awareness and signs of life inside a session (FAULTS N3)."""

from __future__ import annotations

import pytest

from sheaf.core.base.ids import DocId
from sheaf.core.base.limits import PEER_PROBE_S
from sheaf.core.protocol import effects as fx
from tests.unit.core.protocol.pretend_wire import DOC, SPACE, live_pair


def test_awareness_is_coalesced_to_ten_a_second_and_the_last_state_arrives() -> None:
    wire, alice, bob = live_pair()
    for number in range(200):
        alice.perform(alice.session.send_ephemeral(SPACE, DOC, b"%d" % number, wire.now), wire.now)
        wire.run(0.01)
    wire.run(1)
    got = [effect.data for effect in bob.seen(fx.Ephemeral)]
    assert got[-1] == b"199"
    assert len(got) <= 22


def test_awareness_of_different_documents_does_not_wait_for_each_other() -> None:
    wire, alice, bob = live_pair()
    for number in range(5):
        doc_id = DocId(bytes([number]) * 16)
        alice.perform(alice.session.send_ephemeral(SPACE, doc_id, b"here", wire.now), wire.now)
    wire.run(0.05)
    assert len(bob.seen(fx.Ephemeral)) == 5


# --------------------------------------------------------------------------- liveness


def test_a_silent_peer_is_noticed_within_15_seconds() -> None:
    wire, alice, _ = live_pair()
    wire.run(7)
    wire.is_cut = True
    cut_at = wire.now
    wire.until(lambda: alice.closed is not None)
    assert wire.now - cut_at <= 15
    assert alice.closed is not None
    assert not alice.closed.is_peer_fault


def test_a_connection_in_doubt_is_given_up_after_three_seconds_of_silence() -> None:
    wire, alice, bob = live_pair()
    wire.run(7)
    wire.is_cut = True
    doubted_at = wire.now
    alice.perform(alice.session.probe(wire.now), wire.now)
    wire.until(lambda: alice.closed is not None)
    assert wire.now - doubted_at == pytest.approx(PEER_PROBE_S)
    assert bob.closed is None


def test_a_doubt_that_is_answered_changes_nothing() -> None:
    wire, alice, bob = live_pair()
    for _ in range(5):
        alice.perform(alice.session.probe(wire.now), wire.now)
        wire.run(1)
    wire.run(60)
    assert alice.closed is bob.closed is None


def test_an_idle_session_stays_and_measures_the_round_trip() -> None:
    wire, alice, bob = live_pair(latency_s=0.025)
    wire.run(120)
    assert alice.closed is bob.closed is None
    assert [effect.ms for effect in alice.seen(fx.RttMeasured)][-1] == pytest.approx(50)
    assert len(alice.seen(fx.RttMeasured)) > 20
