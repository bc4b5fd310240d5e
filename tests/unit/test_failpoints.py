"""Failpoints end the process where they are told to, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.failpoints import EXIT_CODE, VARIABLE, Failpoint
from tests.support.repository import ROOT

PROGRAM = """
from sheaf.failpoints import failpoint
for turn in range(3):
    print(turn, flush=True)
    failpoint("there")
    failpoint("here")
"""


@pytest.mark.parametrize(
    ("armed", "code", "turns"),
    [("", 0, 3), ("elsewhere", 0, 3), ("here", EXIT_CODE, 1), ("here:2", EXIT_CODE, 2), ("here:4", 0, 3)],
)
def test_the_process_ends_at_the_nth_passing(armed: str, code: int, turns: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={VARIABLE: armed, "PYTHONPATH": str(ROOT / "daemon")},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (result.returncode, len(result.stdout.split())) == (code, turns)


@pytest.mark.parametrize("text", ["here:0", "here:-1", "here:soon", "here:1:2"])
def test_a_count_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"count starts at 1|invalid literal"):
        Failpoint.parse(text)


@given(st.text(st.characters(exclude_characters=":"), min_size=1), st.integers(1, 50))
def test_exactly_one_passing_ends_the_process(name: str, nth: int) -> None:
    point = Failpoint.parse(f"{name}:{nth}")
    assert point is not None
    assert not any(point.passed(name + "x") for _ in range(60))
    assert [point.passed(name) for _ in range(60)].index(True) == nth - 1
