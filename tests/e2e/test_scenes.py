"""Two people meet again in every kind of network (tests/support/scenes.py): none stalls, each ends in step.

They joined earlier, at the same table; their data is copied into each scene. The clock runs from both
daemons ready to both in step.
"""

from __future__ import annotations

import time

import pytest

from tests.support.acquaintance import Acquaintance, path, start_together, write_on_both_sides
from tests.support.daemon import wait_until
from tests.support.scenes import SCENES, Scene
from tests.support.world import Town, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(120)]

LIVE_S_MAX = 5.0
SETTLED_S_MAX = 20.0


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_they_meet_and_are_in_step(scene: Scene, here: Town, acquaintance: Acquaintance) -> None:
    with scene.stage() as stage:
        ada = acquaintance.move_in(here, "ada", stage.left, *stage.left_arguments)
        ben = acquaintance.move_in(here, "ben", stage.right, *stage.right_arguments)
        start_together(ada, ben)
        began = time.monotonic()
        until_live(ada, ben, timeout_s=LIVE_S_MAX)
        live_s, first = time.monotonic() - began, path(ada)
        wait_until(
            lambda: path(ada) == path(ben) == scene.path, timeout_s=SETTLED_S_MAX, what=f"path {scene.path}"
        )
        settled_s = time.monotonic() - began
        write_on_both_sides(
            ada, ben, document_id=acquaintance.document_id, what="was here", timeout_s=LIVE_S_MAX
        )
        print(f"SCENE {scene.name}: live {live_s:.2f} s by {first}, {scene.path} after {settled_s:.2f} s")
        here.close()
