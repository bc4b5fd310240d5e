"""Two people meet again in every kind of network (tests/support/scenes.py): none stalls, each ends in step.

They joined earlier, at the same table; their data is copied into each scene. The clock runs from both
daemons ready to both in step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import scene_table
from tests.support.acquaintance import (
    Acquaintance,
    append,
    connections,
    path,
    start_together,
    write_on_both_sides,
)
from tests.support.daemon import Daemon, wait_until
from tests.support.nat import Nat
from tests.support.netns import Computer
from tests.support.scene_table import Outcome
from tests.support.scenes import SCENES, Scene, Stage, homes_with_relay
from tests.support.world import Town, make_document, make_space, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(120)]

LIVE_S_MAX = 5.0
SETTLED_S_MAX = 20.0
SESSION_S = 2.0
"""An incident comes in mid-session, not in the moment of meeting."""


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    """What came out; the page in docs/ is written from it if asked for."""
    collected: list[Outcome] = []
    yield collected
    if os.environ.get("SHEAF_UPDATE_SCENES"):
        assert [each.scene for each in collected] == [scene.name for scene in SCENES], "play all of them"
        scene_table.write(collected)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_they_meet_and_are_in_step(
    scene: Scene, here: Town, acquaintance: Acquaintance, outcomes: list[Outcome]
) -> None:
    with scene.stage(here.directory) as stage:
        try:
            outcome = play(scene, stage, here, acquaintance)
        finally:
            here.close()
    print("SCENE " + " | ".join(scene_table.row(outcome)))
    outcomes.append(outcome)


def play(scene: Scene, stage: Stage, here: Town, acquaintance: Acquaintance) -> Outcome:
    ada = acquaintance.move_in(here, "ada", stage.left, *stage.left_arguments)
    ben = acquaintance.move_in(here, "ben", stage.right, *stage.right_arguments)
    start_together(ada, ben)
    began = time.monotonic()
    until_live(ada, ben, timeout_s=LIVE_S_MAX)
    live_s, first = time.monotonic() - began, path(ada)
    settle(ada, ben, scene.path_before or scene.path)
    settled_s = time.monotonic() - began
    in_step(ada, ben, acquaintance, "was here")
    again_s = None
    if stage.incident is not None:
        before = connections(ada), connections(ben)
        time.sleep(max(0.0, began + settled_s + SESSION_S - time.monotonic()))
        stage.incident()
        began = time.monotonic()
        in_step(ada, ben, acquaintance, "is still here")
        again_s = time.monotonic() - began
        settle(ada, ben, scene.path)
        in_step(ada, ben, acquaintance, "stays here")
        assert not scene.is_undisturbed or (connections(ada), connections(ben)) == before
    return Outcome(scene.name, live_s, str(first), scene.path, settled_s, again_s)


def settle(ada: Daemon, ben: Daemon, wanted: str) -> None:
    """Wait until both are on the path that stays."""
    wait_until(
        lambda: path(ada) == path(ben) == wanted,
        timeout_s=SETTLED_S_MAX,
        what=f"path {wanted}, not {path(ada)}, {path(ben)}",
    )


def in_step(ada: Daemon, ben: Daemon, acquaintance: Acquaintance, what: str) -> None:
    """Both write, and both have both, without a stall."""
    document_id = acquaintance.document_id
    write_on_both_sides(ada, ben, document_id=document_id, what=what, timeout_s=LIVE_S_MAX)


@pytest.mark.parametrize("nat", [Nat.PORT_RESTRICTED, Nat.SYMMETRIC], ids=lambda nat: nat.value)
def test_two_who_never_shared_a_network_join_by_a_ticket_and_the_doctor_explains(
    nat: Nat, here: Town
) -> None:
    with homes_with_relay(here.directory, nat, nat) as (left, right, relay):
        try:
            ada = here.daemon(
                "ada", prefix=left.command([]), enter=left.entered, arguments=[f"--relay={relay}"]
            )
            ben = here.daemon("ben", prefix=right.command([]), enter=right.entered)
            start_together(ada, ben)
            document_id = make_document(ada, make_space(ada))
            append(ada, document_id, "written before anybody came")
            ticket = ada.cli("invite", "Home").strip()
            began = time.monotonic()
            assert ben.cli_json("join", ticket)["state"] == "done"
            print(f"SCENES: joined over the relay, {nat.value}, in {time.monotonic() - began:.1f} s")
            until_live(ada, ben)
            settle(ada, ben, "relay" if nat is Nat.SYMMETRIC else "webrtc")
            write_on_both_sides(ada, ben, document_id=document_id, what="met", timeout_s=LIVE_S_MAX)
            for daemon, computer in ((ada, left), (ben, right)):
                wait_until(lambda daemon=daemon: is_explained(daemon, relay), what="the doctor knows")  # type: ignore[misc]
                check_diagnosis(daemon.cli_json("doctor", "network"), computer, nat)
        finally:
            here.close()


def is_explained(daemon: Daemon, relay: str) -> bool:
    """The daemon has asked STUN, and learned of the relay from the space."""
    found = daemon.get("/network")
    return any(each["is_alive"] for each in found["stun"]) and relay in [r["url"] for r in found["relays"]]


def check_diagnosis(found: dict[str, Any], computer: Computer, nat: Nat) -> None:
    """What the doctor says of a computer behind such a router."""
    used = [address for each in found["interfaces"] if each["is_used"] for address in each["addresses"]]
    assert computer.address in used
    assert [relay["state"] for relay in found["relays"]] == ["connected"]
    (server,) = [server for server in found["stun"] if server["is_alive"]]
    assert server["mapped"].rpartition(":")[0] in ("203.0.113.11", "203.0.113.12")
    (peer,) = found["peers"]
    assert peer["path"] == ("relay" if nat is Nat.SYMMETRIC else "webrtc")
    assert peer["reason"].partition(":")[0] == ("relay" if nat is Nat.SYMMETRIC else "direct")
    if nat is Nat.SYMMETRIC:
        assert "through the relay" in str(found["findings"])
    else:
        assert "203.0.113.1" in peer["pair"]
        assert not [finding for finding in found["findings"] if finding["level"] == "problem"]
