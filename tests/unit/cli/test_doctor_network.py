"""`sheaf doctor network`: what the daemon found, in words, and what to change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from sheaf.ports import RelayState, StunReport
from tests.support.fake_node import FakeNode
from tests.support.surroundings import RELAY, peer, surroundings
from tests.unit.cli.conftest import Run, run_command


async def test_a_good_network_is_told_in_full(sheaf: Run) -> None:
    outcome = await sheaf("doctor", "network")
    assert outcome.code == 0
    for words in (
        "wlan0",
        "it reaches this computer only",
        "LAN listener  0.0.0.0:51234, 192.168.1.4:51234",
        "Multicast     on, announcing, own echo heard, 1 other daemon here now",
        "Relays        wss://relay.example: connected, 31.0 ms",
        "STUN          203.0.113.1:7412: alive, sees 198.51.100.7:40211",
        "the same for everybody",
        "192.168.1.4:51234 ⇄ 192.168.1.5:40211 (udp, host)",
        "direct: the same network",
        "ok    Nothing needs to be changed.",
    ):
        assert words in outcome.out, words


async def test_a_problem_comes_with_what_to_do_and_ends_with_one(sheaf: Run, node: FakeNode) -> None:
    refused = replace(RELAY, state=RelayState.REFUSED, problem="The token is wrong.")
    node.surroundings = surroundings(relays=(refused,))
    outcome = await sheaf("doctor", "network")
    assert outcome.code == 1
    assert "wss://relay.example: refused, 31.0 ms, The token is wrong." in outcome.out
    assert "FAIL  The relay wss://relay.example is not connected. The token is wrong." in outcome.out
    assert "      → Ask whoever runs the relay" in outcome.out


async def test_a_poor_network_is_not_an_error(sheaf: Run, node: FakeNode) -> None:
    node.surroundings = surroundings(relays=(), stun=StunReport(), interfaces=(), peers=())
    outcome = await sheaf("doctor", "network")
    assert "Relays        none is set" in outcome.out
    assert "There is no network interface." in outcome.out
    assert "No other device is known yet." in outcome.out
    assert "STUN" not in outcome.out


async def test_names_of_peers_do_not_drive_the_terminal(sheaf: Run, node: FakeNode) -> None:
    node.surroundings = surroundings(peers=(peer(user_name="Gr\x1b[2Jace", path="relay"),))
    assert "\x1b" not in (await sheaf("doctor", "network")).out


async def test_as_json_it_is_what_the_api_says(sheaf: Run) -> None:
    for order in (("doctor", "network", "--json"), ("doctor", "--json", "network")):
        found = json.loads((await sheaf(*order)).out)
        assert found["nat"] == "stable"
        assert found["relays"][0]["state"] == "connected"
        assert found["peers"][0]["reason"] == "direct: the same network"
        assert found["findings"] == [{"level": "ok", "what": "Nothing needs to be changed.", "do": None}]


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    outcome = run_command(tmp_path, "doctor", "network")
    assert outcome.code == 3
    assert "sheaf up" in outcome.err
