"""Two people whose daemons can only meet at a relay (PROTOCOL §5 "Paths", §6).

Each stands behind a router of his own. The scenes of test_scenes.py show every kind of router; here is what
the daemon makes of a relay: joining over it, the ways up to a better path and back, and what it tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.acquaintance import Acquaintance, append, start_together, write_on_both_sides
from tests.support.daemon import Daemon, wait_until
from tests.support.nat import Home, Internet, Nat, internet
from tests.support.relay import RelayProcess
from tests.support.world import Town, join, make_document, make_space, text, until_equal

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(240)]

IN_SYNC_S_MAX = 30.0


@contextmanager
def relay_at(world: Internet, directory: Path, *arguments: str) -> Iterator[RelayProcess]:
    """A relay on the first server."""
    server = world.servers[0]
    relay = RelayProcess(
        directory / "relay",
        arguments=arguments,
        prefix=server.command([]),
        enter=server.entered,
        host=str(server.address),
        port=7412,
    ).start()
    try:
        yield relay
    finally:
        relay.kill()


@pytest.fixture
def world(here: Town) -> Iterator[Internet]:
    """Two homes whose routers let only in what was asked for. (After the town: daemons end before it.)"""
    del here
    with internet(Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED) as made:
        yield made


@pytest.fixture
def outside(world: Internet, tmp_path: Path) -> Iterator[RelayProcess]:
    """The relay both can reach."""
    with relay_at(world, tmp_path) as relay:
        yield relay


def resident(here: Town, home: Home, name: str, *arguments: str) -> Daemon:
    """A daemon at the first computer of a home, not started."""
    computer = home[0]
    return here.daemon(
        name, prefix=computer.command([]), enter=computer.entered, arguments=("--no-mdns", *arguments)
    )


def both(here: Town, world: Internet, *arguments: str) -> tuple[Daemon, Daemon]:
    ada, ben = (
        resident(here, home, name, *arguments) for home, name in zip(world.homes, ("ada", "ben"), strict=True)
    )
    start_together(ada, ben)
    return ada, ben


def peer(daemon: Daemon) -> dict[str, Any]:
    (found,) = daemon.get("/peers")["peers"]
    return dict(found)


def path(daemon: Daemon) -> str | None:
    """How the only peer is connected, once in sync."""
    found = peer(daemon)
    return found["path"] if found["state"] == "live" else None


def until_path(wanted: str, *daemons: Daemon, timeout_s: float = IN_SYNC_S_MAX) -> None:
    wait_until(
        lambda: all(path(daemon) == wanted for daemon in daemons),
        timeout_s=timeout_s,
        what=f"the path is {wanted}",
    )


def test_a_ticket_names_the_relay_and_the_guest_joins_over_it(
    here: Town, world: Internet, outside: RelayProcess
) -> None:
    ada = resident(here, world.homes[0], "ada", f"--relay={outside.url}")
    ben = resident(here, world.homes[1], "ben")  # knows no relay but the ticket's
    start_together(ada, ben)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    append(ada, document_id, "written before")
    took_s = join(ada, ben, space_id)
    assert took_s < 10
    until_equal(ada, ben, document_id=document_id)
    assert "written before" in text(ben, document_id)
    wait_until(lambda: path(ben) is not None, what="ben is in sync")
    write_on_both_sides(ada, ben, document_id=document_id, what="together", timeout_s=IN_SYNC_S_MAX)


# ------------------------------------------------------------------ without UDP


@contextmanager
def without_udp(home: Home) -> Iterator[None]:
    """Meanwhile this home's router passes no UDP on, also not of connections there are."""
    rules = "add chain inet strict forward { type filter hook forward priority -5; policy accept; }"
    home.router.run("nft", "add table inet strict")
    home.router.run("nft", rules)
    home.router.run("nft", "add rule inet strict forward meta l4proto udp drop")
    try:
        yield
    finally:
        home.router.run("nft", "delete table inet strict")


@pytest.fixture
def met(
    here: Town, world: Internet, outside: RelayProcess, acquaintance: Acquaintance
) -> tuple[Daemon, Daemon, str]:
    """Two who joined earlier, each at home, not started; and the document they share."""
    arguments = ("--no-mdns", f"--relay={outside.url}")
    ada, ben = (
        acquaintance.move_in(here, name, home[0], *arguments)
        for name, home in zip(("ada", "ben"), world.homes, strict=True)
    )
    return ada, ben, acquaintance.document_id


def connections(daemon: Daemon) -> float:
    """How many connections were made since the start."""
    with daemon.enter():
        lines = daemon.client().get(daemon.url + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sheaf_connections_made"))


def test_without_udp_they_meet_through_the_relay_and_go_direct_when_it_comes_back(
    world: Internet, met: tuple[Daemon, Daemon, str]
) -> None:
    ada, ben, document_id = met
    with without_udp(world.homes[0]):
        start_together(ada, ben)
        until_path("relay", ada, ben, timeout_s=10)
        assert peer(ada)["path_reason"].startswith("relay: ")
        write_on_both_sides(ada, ben, document_id=document_id, what="relayed", timeout_s=5)
    for number in range(20):  # while the path changes under them
        append(ada, document_id, f"ada {number}")
        append(ben, document_id, f"ben {number}")
    until_path("webrtc", ada, ben, timeout_s=60)
    assert peer(ada)["path_reason"].startswith("direct: ")
    write_on_both_sides(ada, ben, document_id=document_id, what="direct", timeout_s=5)
    written = text(ada, document_id).splitlines()
    assert written == text(ben, document_id).splitlines()
    for name in ("ada", "ben"):
        assert [line for line in written if line.startswith(f"{name} ")] == [f"{name} {n}" for n in range(20)]
    assert connections(ada) == connections(ben) == 2


def test_when_udp_stops_in_mid_session_they_go_on_through_the_relay(
    world: Internet, met: tuple[Daemon, Daemon, str]
) -> None:
    ada, ben, document_id = met
    start_together(ada, ben)
    until_path("webrtc", ada, ben)
    with without_udp(world.homes[1]):
        write_on_both_sides(ada, ben, document_id=document_id, what="goes on", timeout_s=IN_SYNC_S_MAX)
        until_path("relay", ada, ben)


def test_a_relay_that_restarts_in_mid_session_costs_nothing_but_the_pause(
    world: Internet, outside: RelayProcess, met: tuple[Daemon, Daemon, str]
) -> None:
    ada, ben, document_id = met
    with without_udp(world.homes[0]):
        start_together(ada, ben)
        until_path("relay", ada, ben)
        for _ in range(3):
            outside.kill()
            append(ada, document_id, "while it was away")
            outside.start()
            write_on_both_sides(ada, ben, document_id=document_id, what="again", timeout_s=IN_SYNC_S_MAX)
    lines = text(ben, document_id).splitlines()
    assert lines.count("while it was away") == 3


@pytest.mark.parametrize("killed", ["ada", "ben"])
def test_n4_a_daemon_that_was_killed_is_met_again_at_once(
    met: tuple[Daemon, Daemon, str], killed: str
) -> None:
    """Whichever of the two calls, and although the other believes to be connected for a while."""
    ada, ben, document_id = met
    start_together(ada, ben)
    until_path("webrtc", ada, ben)
    victim = ada if killed == "ada" else ben
    victim.kill()
    victim.start()
    until_path("webrtc", victim, timeout_s=10)
    write_on_both_sides(ada, ben, document_id=document_id, what="again", timeout_s=10)


# ------------------------------------------------------------------ relays that come, go and fail


def test_a_space_gets_a_relay_while_the_daemons_run(
    here: Town, world: Internet, outside: RelayProcess, acquaintance: Acquaintance
) -> None:
    """The owner chooses it, the other hears of it at the one place where both are; then it is enough."""
    ada = acquaintance.move_in(here, "ada", world.homes[0][0], "--no-mdns", f"--relay={outside.url}")
    ben = acquaintance.move_in(here, "ben", world.homes[1][0], "--no-mdns", f"--relay={outside.url}")
    start_together(ada, ben)
    until_path("webrtc", ada, ben)
    (space,) = ben.get("/spaces")["spaces"]
    address = f"/spaces/{space['space_id']}"
    wait_until(lambda: ben.get(address)["relay_urls"] == [outside.url], what="it is told")
    assert ben.stop() == 0
    ben.arguments = ("--no-mdns",)
    ben.start()
    until_path("webrtc", ada, ben)
    (relay,) = ben.get("/status")["relays"]
    assert (relay["url"], relay["state"], relay["problem"]) == (outside.url, "connected", None)
    assert outside.url in ben.cli("status")
    ada.cli("space", "relays", space["space_id"], "--none")
    wait_until(lambda: ben.get("/status")["relays"] == [], what="ben lets the relay go")
    assert "no relay" in ben.cli("space", "relays", space["space_id"])
    refused = ada.request("PATCH", address, json={"relay_urls": ["wss://secret@relay.example"]})
    assert refused.status_code == 422
    assert "secret" not in refused.text


def test_on_one_lan_a_relay_beside_it_makes_no_second_connection(
    here: Town, world: Internet, outside: RelayProcess, acquaintance: Acquaintance
) -> None:
    neighbour = world.add_computer(world.homes[0])
    ada = acquaintance.move_in(here, "ada", world.homes[0][0], f"--relay={outside.url}")
    ben = acquaintance.move_in(here, "ben", neighbour, f"--relay={outside.url}")
    start_together(ada, ben)
    until_path("webrtc", ada, ben)
    write_on_both_sides(ada, ben, document_id=acquaintance.document_id, what="at home", timeout_s=5)
    for daemon in (ada, ben):
        assert connections(daemon) <= 2  # glare of both ways is possible, one of two stays
        assert len(daemon.get("/peers")["peers"]) == 1
    assert peer(ada)["path_reason"] == "direct: both are on one network"


def test_relays_that_are_dead_or_not_to_be_found_neither_delay_the_start_nor_the_end(
    here: Town, world: Internet, acquaintance: Acquaintance
) -> None:
    """DNS is a black hole here, and the addresses lead nowhere (FAULTS N5, A7)."""
    dead = (
        "--relay=wss://relay.example.org",
        "--relay=ws://203.0.113.99:7412",
        "--stun=stun.example.org:3478",
    )
    neighbour = world.add_computer(world.homes[0])
    ada = acquaintance.move_in(here, "ada", world.homes[0][0], *dead)
    ben = acquaintance.move_in(here, "ben", neighbour, *dead)
    start_together(ada, ben)
    until_path("webrtc", ada, ben, timeout_s=5)
    assert ada.started_after_s < 10
    for relay in ada.get("/status")["relays"]:
        assert relay["state"] in ("connecting", "unreachable")
    for daemon in (ada, ben):
        assert daemon.stop(timeout_s=5) == 0
