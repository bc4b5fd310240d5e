"""FAULTS S9: one data directory, one daemon."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon
from tests.support.world import Town, make_document, make_space, text

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

BUSY = 75
"""EX_TEMPFAIL, as the command line documents it."""


def twin(here: Town, first: Daemon) -> Daemon:
    """Another daemon on the same data (and a log file of its own)."""
    second = here.daemon(first.data_dir.name)
    second.log_path = first.log_path.with_suffix(".twin.log")
    return second


def spawn_beside(second: Daemon) -> int:
    """Start `second` while another runs; returns its exit code."""
    info = (second.data_dir / "daemon.json").read_bytes()
    second.spawn()
    (second.data_dir / "daemon.json").write_bytes(info)  # `spawn` tidies up for a daemon of its own
    assert second.process is not None
    return second.process.wait(10)


def test_s9_a_second_daemon_on_the_same_data_says_so_and_leaves(here: Town) -> None:
    (first,) = here.start("ada")
    document_id = make_document(first, make_space(first))
    second = twin(here, first)
    assert spawn_beside(second) == BUSY
    assert first.process is not None
    said = second.log()
    assert "Traceback" not in said
    assert str(first.data_dir) in said
    assert str(first.process.pid) in said
    assert text(first, document_id) == ""  # the first is unaffected
    first.kill()
    second.start()  # a lock left behind by a killed daemon stands in nobody's way
    assert text(second, document_id) == ""
    assert second.stop() == 0


def test_s9_of_two_that_race_exactly_one_wins(here: Town) -> None:
    for number in range(3):
        one = here.daemon(f"race{number}")
        two = twin(here, one)
        for daemon in (one, two):
            daemon.spawn()
        winners = [daemon for daemon in (one, two) if daemon.ready_or_ended() is None]
        assert len(winners) == 1, [daemon.log() for daemon in (one, two)]
        loser = two if winners == [one] else one
        assert loser.process is not None
        assert loser.process.returncode == BUSY
        winners[0].wait_ready()
        assert winners[0].stop() == 0
