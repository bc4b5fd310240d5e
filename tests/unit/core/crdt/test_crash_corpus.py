"""FAULTS N8: crash inputs are refused before native code sees them, and that matters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.core.crdt.crash_corpus import crash_corpus
from tests.unit.core.crdt.support import REPOSITORY

CASES = sorted(crash_corpus())


def _child(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.unit.core.crdt.crash_corpus", *arguments],
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_n8_every_crash_input_is_refused_by_the_daemons_way_in() -> None:
    """All cases through one child; the last name printed is the last one survived."""
    child = _child("guarded")
    assert sorted(child.stdout.splitlines()) == CASES, child.stderr[-2000:]
    assert child.returncode == 0


@pytest.mark.parametrize(
    "name",
    ["arrays 40000 deep", "maps 40000 deep", "elements 15,000 deep", "clock 2^63", "struct count 2^53"],
)
def test_n8_one_crash_input_alone_in_a_child_is_refused(name: str) -> None:
    child = _child("guarded", name)
    assert (child.returncode, child.stdout.split("\n")[0]) == (0, name), child.stderr[-2000:]


@pytest.mark.parametrize("name", ["arrays 40000 deep", "elements 200,000 deep"])
def test_without_the_guard_native_code_dies_of_it(name: str) -> None:
    """The guard is not decoration: the same bytes end a process that has none."""
    assert _child("raw", name).returncode < 0
