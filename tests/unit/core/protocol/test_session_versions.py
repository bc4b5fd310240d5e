"""The short version vector: reconnecting costs little, and a wrong base costs one message."""

from __future__ import annotations

import pytest

from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from tests.unit.core.protocol.pretend_wire import ALICE, BOB, MemorySpace, log_named, pair, shared_space


def many_logs(count: int) -> MemorySpace:
    space = shared_space(ALICE, BOB)
    for number in range(count):
        space.write(log_named(f"log {number}"), b"x")
    return space


def test_a_reconnect_with_one_changed_document_is_below_2_kib_and_one_round_trip() -> None:
    left, right = many_logs(2000), many_logs(2000)
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: left.agreed != {} and right.agreed != {})
    assert left.agreed[BOB.device_id] == right.agreed[ALICE.device_id] == left.durable_version()

    left.write(log_named("today"), b"one changed document" + bytes(180))
    wire, alice, bob = pair(left, right, latency_s=0.1)
    wire.start().until(lambda: bool(alice.seen(fx.SpacePhase)))
    handshake_bytes, matched_at = alice.sent_bytes + bob.sent_bytes, wire.now
    wire.until(lambda: left.logs == right.logs)
    assert wire.now - matched_at == pytest.approx(0.2)
    wire.run(3)
    assert alice.phase() is bob.phase() is Phase.LIVE
    assert alice.sent_bytes + bob.sent_bytes - handshake_bytes < 2048


def test_a_base_that_is_not_shared_costs_one_more_message() -> None:
    left, right = many_logs(50), many_logs(50)
    left.agreed[BOB.device_id] = {log_named("log 1"): 2}
    right.write(log_named("new"), b"y")
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert left.logs == right.logs


def test_a_restored_backup_tells_the_logs_it_lost() -> None:
    left, right = many_logs(5), many_logs(5)
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: left.agreed != {} and right.agreed != {})
    del right.logs[log_named("log 3")]
    wire, alice, bob = pair(left, right)
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    assert left.logs == right.logs
