"""What is acknowledged survives the end of the process at any instant (FAULTS S1, S2: quick versions)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from sheaf.failpoints import EXIT_CODE
from sheaf.storage import open_store
from tests.support import store_process
from tests.support.store_rows import SystemClock

KILLS = 10


def acknowledged(output: str) -> list[int]:
    """The numbers on whole lines of a writer's output."""
    lines = output.split("\n")[:-1]
    return [int(line) for line in lines if line != "open"]


async def stored_after(data_dir: Path) -> list[int]:
    """What a restarted daemon finds, in less than 2 s and without a complaint."""
    started = time.monotonic()
    store = await open_store(data_dir, clock=SystemClock())
    numbers = await store_process.stored_numbers(store)
    assert time.monotonic() - started < 2
    assert await store.check() == []
    await store.close()
    return numbers


async def test_s1_nothing_acknowledged_is_lost_by_kill_9(
    tmp_path: Path, seeded_random: random.Random
) -> None:
    stored: list[int] = []
    kills_under_load = 0
    for _ in range(KILLS):
        writer = store_process.start(tmp_path, first=len(stored))
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(seeded_random.uniform(0, 0.15))  # noqa: ASYNC251 - the instant of the kill is the input
        writer.kill()
        acked = acknowledged(writer.stdout.read())  # communicate() forgets what came together with "open"
        writer.communicate(timeout=20)
        before, stored = len(stored), await stored_after(tmp_path)
        assert set(acked) <= set(stored)
        assert len(stored) - before <= len(acked) + store_process.WRITERS
        kills_under_load += bool(acked)
    assert kills_under_load >= KILLS // 2, "the kills came too early to show anything"


@pytest.mark.parametrize(
    ("place", "nth", "count"),
    [
        ("before-commit", 1, 10),
        ("before-commit", 2, 10),
        ("before-commit", 20, 200),
        ("after-commit", 1, 10),
        ("after-commit", 2, 10),
        ("after-commit", 20, 200),
        ("before-checkpoint", 1, 2000),
        ("before-checkpoint", 2, 4000),
    ],
)
async def test_s2_a_crash_at_a_failpoint_loses_nothing_acknowledged(
    tmp_path: Path, place: str, nth: int, count: int
) -> None:
    writer = store_process.start(tmp_path, 0, count, failpoint=f"{place}:{nth}")
    acked = acknowledged(writer.communicate(timeout=30)[0])
    assert writer.returncode == EXIT_CODE
    stored = await stored_after(tmp_path)
    assert set(acked) <= set(stored)
    if place == "after-commit" and nth > 1:
        assert len(stored) > len(acked), "the last transaction was durable before anybody was told"

    if stored:  # the second run completes
        again = store_process.start(tmp_path, len(stored), 10)
        output, errors = again.communicate(timeout=30)
        assert (again.returncode, errors) == (0, "")
        assert acknowledged(output) == list(range(len(stored), len(stored) + 10))
