"""FAULTS N1: two daemons on a bad line (tests/support/lossy.py): all arrives, and not too slowly.

`SHEAF_LINE_SEEDS=20` plays every line with so many seeds; the usual run plays each with one.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.support.acquaintance import Acquaintance, append, path, start_together, write_on_both_sides
from tests.support.daemon import wait_until
from tests.support.lossy import Line, lossy_line
from tests.support.world import Town, peer_states, text, until_equal, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(180)]

SEEDS = range(int(os.environ.get("SHEAF_LINE_SEEDS") or 1))
CONVERGED_S_MAX = 30.0
MEETING_S_MAX = 60.0
"""On the worst lines most handshakes need several attempts."""
EDITS = 20
CHUNKS, CHUNK_BYTES = 20, 100_000

LINES = {
    "a clean line": Line(),
    "across the sea": Line(rtt_ms=150, loss=0.01, jitter_ms=20),
    "a bad radio": Line(rtt_ms=40, jitter_ms=50, loss=0.1, duplication=0.05),
    "a satellite": Line(rtt_ms=500, loss=0.05, duplication=0.05),
    "hardly a line": Line(rtt_ms=100, jitter_ms=50, loss=0.3, duplication=0.05),
}
FLOORS = [(50, 0.3), (100, 0.15)]
"""Round trip in ms; MB/s that must get through with 1 % lost."""


def seeded(line: Line, seed: int) -> Line:
    return Line(line.rtt_ms, line.jitter_ms, line.loss, line.duplication, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", LINES)
def test_n1_edits_on_both_sides_of_a_bad_line_all_arrive(
    name: str, seed: int, here: Town, acquaintance: Acquaintance
) -> None:
    with lossy_line(seeded(LINES[name], seed)) as (left, right):
        ada = acquaintance.move_in(here, "ada", left, "--lan=0.0.0.0:7413")
        ben = acquaintance.move_in(here, "ben", right, "--peer=10.99.0.1:7413")
        start_together(ada, ben)
        began = time.monotonic()
        until_live(ada, ben, timeout_s=MEETING_S_MAX)
        live_s = time.monotonic() - began
        for number in range(EDITS):
            for daemon in (ada, ben):
                append(daemon, acquaintance.document_id, f"{daemon.data_dir.name} {number}")
        written = time.monotonic()
        until_equal(ada, ben, document_id=acquaintance.document_id, timeout_s=CONVERGED_S_MAX)
        print(
            f"N1 {name}, seed {seed}: live {live_s:.1f} s by {path(ada)}, "
            f"equal {time.monotonic() - written:.1f} s after the last edit"
        )
        write_on_both_sides(
            ada, ben, document_id=acquaintance.document_id, what="the end", timeout_s=CONVERGED_S_MAX
        )
        here.close()


@pytest.mark.parametrize(("rtt_ms", "floor_mb_s"), FLOORS)
def test_n1_a_long_absence_is_caught_up_at_a_decent_rate(
    rtt_ms: float, floor_mb_s: float, here: Town, acquaintance: Acquaintance
) -> None:
    with lossy_line(Line(rtt_ms=rtt_ms, loss=0.01)) as (left, right):
        ada = acquaintance.move_in(here, "ada", left, "--lan=0.0.0.0:7413").start()
        for number in range(CHUNKS):
            append(ada, acquaintance.document_id, f"{number} " + "the quick brown fox " * (CHUNK_BYTES // 20))
        ben = acquaintance.move_in(here, "ben", right, "--peer=10.99.0.1:7413").start()
        wait_until(lambda: peer_states(ben) == ["syncing"], timeout_s=MEETING_S_MAX, what="they connect")
        began = time.monotonic()
        until_live(ada, ben, timeout_s=MEETING_S_MAX)
        until_equal(ada, ben, document_id=acquaintance.document_id, timeout_s=MEETING_S_MAX)
        rate = CHUNKS * CHUNK_BYTES / 1e6 / (time.monotonic() - began)
        print(f"N1: {rate:.2f} MB/s by {path(ada)}, round trip {rtt_ms} ms, 1 % lost (floor {floor_mb_s})")
        assert rate >= floor_mb_s
        assert f"{CHUNKS - 1} the quick" in text(ben, acquaintance.document_id)
        here.close()
