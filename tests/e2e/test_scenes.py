"""Two people meet again in every kind of network (tests/support/scenes.py): none stalls, each ends in step.

They joined earlier, at the same table; their data is copied into each scene. The clock runs from both
daemons ready to both in step.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.netns import Computer
from tests.support.scenes import SCENES, Scene
from tests.support.world import Town, shared_document, text, town, until_equal, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(120)]

LIVE_S_MAX = 5.0
SETTLED_S_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """The stopped daemons of two people who share a document."""

    directory: Path
    document_id: str


@pytest.fixture(scope="module")
def acquaintance(tmp_path_factory: pytest.TempPathFactory) -> Acquaintance:
    directory = tmp_path_factory.mktemp("earlier")
    with town(directory) as table:
        ada, ben = table.start("ada", "ben")
        document_id = shared_document(ada, ben)
        until_live(ada, ben)
        for daemon in (ada, ben):
            assert daemon.stop() == 0
    return Acquaintance(directory, document_id)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_they_meet_and_are_in_step(scene: Scene, here: Town, acquaintance: Acquaintance) -> None:
    with scene.stage() as stage:
        ada = move_in(here, acquaintance, "ada", stage.left, stage.left_arguments)
        ben = move_in(here, acquaintance, "ben", stage.right, stage.right_arguments)
        for daemon in (ada, ben):
            daemon.spawn()
        for daemon in (ada, ben):
            daemon.wait_ready()
        began = time.monotonic()
        until_live(ada, ben, timeout_s=LIVE_S_MAX)
        live_s, first = time.monotonic() - began, path(ada)
        wait_until(
            lambda: path(ada) == path(ben) == scene.path, timeout_s=SETTLED_S_MAX, what=f"path {scene.path}"
        )
        settled_s = time.monotonic() - began
        write_on_both_sides(ada, ben, acquaintance.document_id)
        print(f"SCENE {scene.name}: live {live_s:.2f} s by {first}, {scene.path} after {settled_s:.2f} s")
        here.close()


def move_in(
    here: Town, acquaintance: Acquaintance, name: str, computer: Computer, arguments: tuple[str, ...]
) -> Daemon:
    """A daemon with what it had at the table, now on this computer; not started."""
    shutil.copytree(acquaintance.directory / name, here.directory / name)
    return here.daemon(name, prefix=computer.command([]), enter=computer.entered, arguments=arguments)


def write_on_both_sides(ada: Daemon, ben: Daemon, document_id: str) -> None:
    for daemon in (ada, ben):
        append(daemon, document_id, f"{daemon.data_dir.name} was here")
    until_equal(ada, ben, document_id=document_id, timeout_s=LIVE_S_MAX)
    assert "ada was here" in text(ben, document_id)
    assert "ben was here" in text(ada, document_id)


def append(daemon: Daemon, document_id: str, words: str) -> None:
    headers = {"Content-Type": "text/markdown"}
    answer = daemon.request("POST", f"/documents/{document_id}/append", content=words, headers=headers)
    assert answer.status_code == 204, answer.text


def path(daemon: Daemon) -> str | None:
    """How the only peer is connected."""
    (peer,) = daemon.get("/peers")["peers"]
    return str(peer["path"]) if peer["state"] == "live" else None
