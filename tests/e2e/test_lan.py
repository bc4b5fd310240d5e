"""Two laptops on one switch, and nothing else in the room: no default route, no DNS, no internet.

The main job of Sheaf through real parts: daemons, mDNS, WebRTC, the command line and real browsers, each
in a network namespace of its own; and what networks do to people (FAULTS N3 to N6).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import editing_trace, netns
from tests.support.daemon import Daemon, wait_until
from tests.support.editor import browsers, type_at_once
from tests.support.netns import Computer, Lan
from tests.support.trace_replay import check_result, replaying
from tests.support.world import Town, digest, join, make_document, make_space, text, until_equal, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(240)]

EDITS = 500
SILENCE_S_MAX = 15.0
NEW_ADDRESS_S_MAX = 10.0


@pytest.fixture
def room(here: Town) -> Iterator[Lan]:
    """Two computers on a switch. (Asks for the town first, so that daemons end before their network.)"""
    del here
    with netns.lan(2) as made:
        yield made


def at_home(here: Town, computer: Computer, name: str, *arguments: str) -> Daemon:
    """A daemon on this computer, not started."""
    return here.daemon(name, prefix=computer.command([]), enter=computer.entered, arguments=arguments)


def start(*daemons: Daemon) -> None:
    for daemon in daemons:
        daemon.spawn()
    for daemon in daemons:
        daemon.wait_ready()


def a_pair(here: Town, room: Lan, *arguments: str) -> tuple[Daemon, Daemon]:
    ada, ben = (at_home(here, room[at], name, *arguments) for at, name in enumerate(("ada", "ben")))
    start(ada, ben)
    return ada, ben


def path(daemon: Daemon) -> str | None:
    """How the only peer is connected."""
    (peer,) = daemon.get("/peers")["peers"]
    return str(peer["path"]) if peer["state"] == "live" else None


def connections(daemon: Daemon) -> float:
    """How many connections were made since the start."""
    with daemon.enter():
        lines = daemon.client().get(daemon.url + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sheaf_connections_made"))


def append(daemon: Daemon, document_id: str, words: str) -> None:
    headers = {"Content-Type": "text/markdown"}
    answer = daemon.request("POST", f"/documents/{document_id}/append", content=words, headers=headers)
    assert answer.status_code == 204, answer.text


def test_invite_and_join_by_command_line_with_nothing_else_in_the_room(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    append(ada, document_id, "written before anybody came")
    ticket = ada.cli("invite", "Home").strip()
    began = time.monotonic()
    assert ben.cli_json("join", ticket)["state"] == "done"
    took_s = time.monotonic() - began
    assert text(ben, document_id) == text(ada, document_id) != ""
    until_live(ada, ben)
    assert path(ada) == path(ben) == "webrtc"
    print(f"LAN: `sheaf join` found, joined and caught up in {took_s:.2f} s, path webrtc")


def test_the_connection_opens_again_at_once_after_a_restart(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    joined_s = join(ada, ben, make_space(ada))
    until_live(ada, ben)
    assert ben.stop() == 0
    wait_until(lambda: path(ada) is None, what="ada sees that ben is gone")
    ben.start()
    began = time.monotonic()
    until_live(ben, ada)
    print(f"LAN: join {joined_s:.2f} s; live again {time.monotonic() - began:.2f} s after ben's API answered")


async def test_two_browsers_type_at_once_and_again_with_the_cable_pulled(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id, "Notes", kind="page")
    join(ada, ben, space_id)
    until_live(ada, ben)
    async with browsers() as open_browser:
        left, right = await open_browser(ada), await open_browser(ben)
        for editor in (left, right):
            await editor.open(document_id)
        await left.focus_end()
        await left.type("Left writes here: \nRight writes here: ")
        await right.until_shown("Right writes here:")
        await left.page.keyboard.press("ArrowUp")
        await left.page.keyboard.press("End")
        await right.focus_end()
        await type_at_once((left, "L" * 100), (right, "r" * 100))
        for editor in (left, right):
            await editor.until_shown("Left writes here: " + "L" * 100)
            await editor.until_shown("Right writes here: " + "r" * 100)

        room.cable(1, "down")
        await type_at_once((left, "M" * EDITS), (right, "s" * EDITS))
        for editor in (left, right):
            await editor.until_saved()
        assert "s" * EDITS not in text(ada, document_id)
        assert "M" * EDITS not in text(ben, document_id)
        room.cable(1, "up")
        began = time.monotonic()
        await asyncio.to_thread(until_equal, ada, ben, document_id=document_id)
        print(f"LAN: equal {time.monotonic() - began:.1f} s after the cable came back")
        for editor in (left, right):
            await editor.until_shown("L" * 100 + "M" * EDITS)
            await editor.until_shown("r" * 100 + "s" * EDITS)
        assert await left.shown() == await right.shown()
        assert left.problems + right.problems == []
    assert text(ada, document_id) == text(ben, document_id)
    assert digest(ada, document_id) == digest(ben, document_id)


async def test_a_writing_session_with_the_cable_pulled_in_the_middle(here: Town, room: Lan) -> None:
    recorded = editing_trace.load("friendsforever", agents=2, txns_max=8000)
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    milestone, alone = editing_trace.widest_gap(recorded.trace)
    print(f"LAN: cable pulled after transaction {milestone}; typed meanwhile: {alone}")
    async with replaying(here.directory, recorded, [ada, ben], document_id, milestone=milestone) as agents:
        for agent in agents:
            await agent.go()
        for agent in agents:
            await agent.until("milestone")
        room.cable(0, "down")
        for agent in agents:
            await agent.go()
        for agent in agents:
            await agent.until("waiting", "done")
        room.cable(0, "up")
        results = [await agent.until("done") for agent in agents]
        check_result(recorded, [ada, ben], document_id, results)


def test_n3_a_pulled_cable_is_noticed_and_a_plugged_one_too(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    room.cable(1, "down")
    for daemon in (ada, ben):
        wait_until(lambda daemon=daemon: path(daemon) is None, timeout_s=SILENCE_S_MAX, what="it is noticed")  # type: ignore[misc]
        append(daemon, document_id, f"{daemon.data_dir.name} alone")
    room.cable(1, "up")
    began = time.monotonic()
    until_equal(ada, ben, document_id=document_id)
    print(f"N3: equal {time.monotonic() - began:.1f} s after the cable came back")
    assert sorted(text(ada, document_id).split("\n")) == ["", "ada alone", "ben alone"]


def test_n4_a_new_address_is_announced_and_found(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    before = connections(ada)
    room[1].readdress("10.77.0.2/24", "10.77.0.202/24")
    began = time.monotonic()
    wait_until(lambda: connections(ada) > before, timeout_s=NEW_ADDRESS_S_MAX, what="a new connection")
    append(ben, document_id, "from a new address")
    until_equal(ada, ben, document_id=document_id)
    print(f"N4: {time.monotonic() - began:.1f} s from the new address to equal documents")
    assert text(ada, document_id) == "from a new address\n"


@pytest.mark.parametrize("victim", [0, 1], ids=["the host", "the guest"])
def test_n3_a_killed_daemon_that_starts_again_is_not_mistaken_for_its_dead_self(
    here: Town, room: Lan, victim: int
) -> None:
    """Nobody said goodbye, so the other still holds a connection: that must not be in the way."""
    pair = a_pair(here, room)
    join(*pair, make_space(pair[0]))
    until_live(*pair)
    pair[victim].kill()
    pair[victim].start()
    began = time.monotonic()
    wait_until(lambda: path(pair[victim]) is not None, timeout_s=NEW_ADDRESS_S_MAX, what="it is met again")
    print(f"N3: live {time.monotonic() - began:.1f} s after the killed daemon answered again")


def test_n5_a_dead_uplink_and_a_dead_dns_change_nothing(here: Town) -> None:
    with netns.lan(2, has_default_route=True) as room:
        ada, ben = a_pair(here, room)
        took_s = join(ada, ben, make_space(ada))
        until_live(ada, ben)
        assert path(ada) == "webrtc"
        print(f"N5: with a dead uplink, join {took_s:.2f} s")
        here.close()


def test_n5_two_daemons_on_a_computer_without_any_network(here: Town) -> None:
    with netns.lonely() as computer:
        ada, ben = at_home(here, computer, "ada"), at_home(here, computer, "ben")
        start(ada, ben)
        space_id = make_space(ada)
        document_id = make_document(ada, space_id)
        took_s = join(ada, ben, space_id)
        until_live(ada, ben)
        print(f"N5: with only loopback, join {took_s:.2f} s, path {path(ada)}")
        append(ben, document_id, "no network at all")
        until_equal(ada, ben, document_id=document_id)
        here.close()


def test_n5_where_udp_is_blocked_the_tunnel_carries(here: Town, room: Lan) -> None:
    for computer in room.computers:
        firewall(computer, "udp dport != 5353 drop")
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    took_s = join(ada, ben, space_id)
    until_live(ada, ben)
    assert path(ada) == path(ben) == "tunnel"
    print(f"N5: with UDP blocked, join {took_s:.2f} s, path tunnel")
    append(ben, document_id, "through the tunnel")
    until_equal(ada, ben, document_id=document_id)


def test_n5_where_multicast_is_blocked_a_ticket_may_carry_an_address(here: Town, room: Lan) -> None:
    for computer in room.computers:
        firewall(computer, "meta pkttype multicast drop")
    ada, ben = a_pair(here, room, "--lan=0.0.0.0:7413")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    ticket = ada.cli("invite", "Home", "--host", "auto").strip()
    assert "@10.77.0.1:7413" in ticket
    assert ben.cli_json("join", ticket)["state"] == "done"
    until_live(ada, ben)
    append(ben, document_id, "by address")
    until_equal(ada, ben, document_id=document_id)


def test_n5_where_multicast_is_blocked_a_peer_may_be_given_by_hand(here: Town, room: Lan) -> None:
    for computer in room.computers:
        firewall(computer, "meta pkttype multicast drop")
    ada = at_home(here, room[0], "ada", "--lan=0.0.0.0:7413")
    ben = at_home(here, room[1], "ben", "--peer=10.77.0.1:7413")
    start(ada, ben)
    join(ada, ben, make_space(ada))
    until_live(ada, ben)
    for daemon in (ada, ben):
        daemon.kill()
    start(ada, ben)
    until_live(ada, ben)


def test_n6_empty_and_junk_datagrams_to_the_ice_ports_change_nothing(here: Town, room: Lan) -> None:
    ada, ben = a_pair(here, room)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    assert path(ben) == "webrtc"
    before = connections(ada), connections(ben)
    ports = udp_ports(ben) - {5353}
    assert ports
    with room[0].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        for port in ports:
            for size in (0, 0, 0, *range(0, 400)):
                attacker.sendto(os.urandom(size), ("10.77.0.2", port))
    for number in range(20):
        append(ada, document_id, f"line {number}")
    until_equal(ada, ben, document_id=document_id)
    assert (connections(ada), connections(ben)) == before
    assert path(ada) == path(ben) == "webrtc"


def udp_ports(daemon: Daemon) -> set[int]:
    """The local UDP ports of the namespace it lives in, which it has for itself."""
    assert daemon.process is not None
    rows = Path(f"/proc/{daemon.process.pid}/net/udp").read_text().splitlines()[1:]
    return {int(row.split()[1].partition(":")[2], 16) for row in rows}


def firewall(computer: Computer, rule: str) -> None:
    """Filter what comes in by one rule."""
    computer.run("nft", "add", "table", "inet", "room")
    computer.run("nft", "add chain inet room incoming { type filter hook input priority 0 ; }")
    computer.run("nft", "add", "rule", "inet", "room", "incoming", *rule.split())
