"""Two daemons and a fleet of relays behind one address: nodes die, NATS dies and forgets (FAULTS A9).

Ann and Ben know only the load balancer. What NATS or a node loses, people do not: it is on their devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.acquaintance import Acquaintance, path, start_together, write_on_both_sides
from tests.support.couple import ARRIVED_S_MAX, Couple
from tests.support.daemon import Daemon, wait_until
from tests.support.fleet import Fleet, running_fleet
from tests.support.nat import Nat, internet
from tests.support.nats import needs_nats
from tests.support.relay import RelayProcess
from tests.support.world import Town, until_equal

pytestmark = [pytest.mark.long, pytest.mark.e2e, needs_nats, pytest.mark.timeout(240)]

BACK_S_MAX = 60.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Three nodes of their own for each test."""
    with running_fleet(tmp_path / "fleet") as running:
        yield running


@pytest.fixture
def couple(here: Town, fleet: Fleet) -> Couple:
    """Both online, at two of the three nodes, and in sync."""
    return Couple(here, fleet.url)


def is_at_the_relay(daemon: Daemon) -> bool:
    (relay,) = daemon.get("/status")["relays"]
    return bool(relay["state"] == "connected")


def until_at_the_relay(daemon: Daemon) -> None:
    wait_until(lambda: is_at_the_relay(daemon), timeout_s=BACK_S_MAX, what="it is at the relay again")


def nodes_with_clients(fleet: Fleet) -> list[RelayProcess]:
    """The nodes that run and have somebody."""
    running = [node for node in fleet.nodes if node.process is not None and node.process.poll() is None]
    return [node for node in running if node.metrics()["sheaf_relay_connections"] > 0]


def test_two_at_different_nodes_write_together(fleet: Fleet, couple: Couple) -> None:
    assert len(nodes_with_clients(fleet)) == 2
    couple.write("by Ann")
    couple.until_ben_has("by Ann")
    until_equal(couple.ann, couple.ben, document_id=couple.document_id)


def test_a_node_is_killed_and_what_ann_writes_still_reaches_ben_who_is_off(
    fleet: Fleet, couple: Couple
) -> None:
    couple.ben.stop()
    couple.write("before")
    couple.until_stored()
    (anns,) = nodes_with_clients(fleet)
    anns.kill()
    couple.write("before, and after a node was killed")
    until_at_the_relay(couple.ann)
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has("before, and after a node was killed")


def test_nodes_are_killed_one_after_the_other_while_both_write(fleet: Fleet, couple: Couple) -> None:
    for number, node in enumerate(fleet.nodes):
        node.kill()
        couple.write(f"while node {number} was dead")
        couple.until_ben_has(f"while node {number} was dead")
        node.start()
    for daemon in (couple.ann, couple.ben):
        until_at_the_relay(daemon)
    until_equal(couple.ann, couple.ben, document_id=couple.document_id)


def test_nats_is_killed_and_wiped_and_nothing_is_lost(fleet: Fleet, couple: Couple) -> None:
    couple.ben.stop()
    couple.write("kept by a NATS that forgets")
    couple.until_stored()
    fleet.nats.kill()
    couple.write("kept by a NATS that forgets, and written while it was away")
    fleet.nats.wipe()
    fleet.nats.start()
    wait_until(lambda: "lost what it kept" in couple.warning(), timeout_s=ARRIVED_S_MAX, what="Ann is told")
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has("kept by a NATS that forgets, and written while it was away")


def test_a9_twenty_kills_of_nodes_and_of_a_nats_that_forgets_lose_nothing(
    fleet: Fleet, couple: Couple
) -> None:
    couple.ben.stop()
    written: list[str] = []

    def write_more() -> None:
        for _ in range(5):
            written.append(f"line {len(written)}")
            couple.write("\n".join(written))

    for turn in range(20):
        write_more()
        if turn % 4 == 3:
            fleet.nats.kill()
            write_more()
            fleet.nats.wipe()
            fleet.nats.start()
        else:
            node = fleet.nodes[turn % 3]
            node.kill()
            write_more()
            node.start()
    until_at_the_relay(couple.ann)
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has("\n".join(written))


def test_nats_comes_back_with_an_old_state_and_nothing_is_lost(fleet: Fleet, couple: Couple) -> None:
    couple.ben.stop()
    couple.write("in the backup")
    couple.until_stored()
    fleet.nats.kill()
    fleet.nats.keep("backup")
    fleet.nats.start()
    couple.write("in the backup, and later")
    couple.until_stored()
    fleet.nats.kill()
    fleet.nats.bring_back("backup")
    fleet.nats.start()
    wait_until(lambda: "older copy" in couple.warning(), timeout_s=ARRIVED_S_MAX, what="Ann is told")
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has("in the backup, and later")


@pytest.mark.netns
def test_the_tunnel_of_two_without_a_direct_path_meets_at_one_node(
    here: Town, acquaintance: Acquaintance, tmp_path: Path
) -> None:
    """Both routers are symmetric: what the two say goes through one node, which neither of them chose."""
    with internet(Nat.SYMMETRIC, Nat.SYMMETRIC) as world, running_fleet(tmp_path, world.servers[0]) as fleet:
        arguments = ("--no-mdns", f"--relay={fleet.url}")
        ada, ben = (
            acquaintance.move_in(here, name, home[0], *arguments)
            for name, home in zip(("ada", "ben"), world.homes, strict=True)
        )
        start_together(ada, ben)
        for turn in range(3):
            for daemon in (ada, ben):
                wait_until(
                    lambda d=daemon: path(d) == "relay", timeout_s=BACK_S_MAX, what="they are in touch"
                )
            write_on_both_sides(
                ada, ben, document_id=acquaintance.document_id, what=f"turn {turn}", timeout_s=BACK_S_MAX
            )
            (meeting,) = [node for node in fleet.nodes if node.metrics()["sheaf_relay_tunnels"] == 1]
            meeting.kill()
            write_on_both_sides(
                ada, ben, document_id=acquaintance.document_id, what=f"and on {turn}", timeout_s=BACK_S_MAX
            )
            meeting.start()
        for daemon in (ada, ben):
            daemon.stop()
