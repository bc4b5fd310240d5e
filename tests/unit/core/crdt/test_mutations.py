"""FAULTS N7 for updates: mutated real ones do no harm, refused or accepted."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.unit.core.crdt.support import REPOSITORY

MUTATIONS = int(os.environ.get("SHEAF_MUTATIONS", "3000"))
SEED = int(os.environ.get("SHEAF_SEED", "20"))


def test_mutated_updates_are_refused_or_harmless() -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.unit.core.crdt.mutation_batch", str(SEED), str(MUTATIONS)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert child.returncode == 0, f"seed {SEED}: {child.stderr[-2000:]}"
    assert "panicked" not in child.stderr, f"seed {SEED}: {child.stderr[-2000:]}"
    counts = json.loads(child.stdout)
    assert set(counts) <= {"refused", "accepted", "poisoned", "poisoned later"}, f"seed {SEED}: {counts}"
    assert counts["refused"] > MUTATIONS / 2
    assert counts["accepted"] > 0, "the batch must also exercise what gets through"
