"""Seeded simulation of the core: after any trouble everybody ends equal and nothing saved is lost.

50 seeds here; `SHEAF_SIM_SEEDS=1000` runs more, `SHEAF_SIM_SEED=17` one alone (FAULTS N1, N2, N11, S1).
"""

from __future__ import annotations

import os

import pytest

from tests.sim.documents import TextDocuments
from tests.sim.world import Trouble, World

COUNT = int(os.environ.get("SHEAF_SIM_SEEDS") or 50)
ONLY = os.environ.get("SHEAF_SIM_SEED")
SEEDS = [int(ONLY)] if ONLY else list(range(COUNT))


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_ends_equal_and_nothing_saved_is_lost(seed: int) -> None:
    make_documents = TextDocuments if seed % 5 == 0 else None
    options = {} if make_documents is None else {"make_documents": make_documents}
    world = World(seed=seed, devices_count=2 + seed % 4, trouble=Trouble(), **options).run()
    world.check()
    assert len(world.saved_marks) > 20
    assert world.events["crash"] + world.events["cut"] > 0
