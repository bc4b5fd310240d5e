"""What is said about a network: every trouble is found, with what to do; a good network is left in peace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheaf.node.network_view import FindingLevel, NetworkFinding, NetworkView
from sheaf.node.views import LanView, PeerState
from sheaf.ports import InterfaceStatus, MulticastStatus, NatKind, RelayState, StunReport, StunServerStatus
from tests.support.surroundings import HEARD, LOOPBACK, RELAY, STUN, peer, surroundings

AWAY = peer(state=PeerState.OFFLINE, path=None, description=None, rtt_ms=None, path_reason=None)
SILENT = MulticastStatus("on", is_announcing=True, hears_itself=True)
DEAD_STUN = StunReport((StunServerStatus("203.0.113.1:7412", False),))


def only(view: NetworkView) -> NetworkFinding:
    (finding,) = view.findings
    return finding


def test_on_a_good_network_nothing_needs_to_be_changed() -> None:
    assert only(surroundings()) == NetworkFinding(FindingLevel.OK, "Nothing needs to be changed.")


def test_without_any_network_the_rest_is_still_told() -> None:
    alone = replace(LOOPBACK, is_used=True)
    finding = only(surroundings(interfaces=(alone,), relays=(), stun=StunReport()))
    assert (finding.level, "on no network" in finding.what) == (FindingLevel.PROBLEM, True)


def test_a_listener_that_is_off_is_a_problem() -> None:
    finding = only(surroundings(lan=LanView(None, "on", ())))
    assert "--lan" in str(finding.do)


def test_a_firewall_that_drops_multicast_is_found_by_the_missing_echo() -> None:
    finding = only(surroundings(multicast=replace(HEARD, hears_itself=False)))
    assert (finding.level, "5353" in str(finding.do)) == (FindingLevel.PROBLEM, True)


@pytest.mark.parametrize(("peers", "count"), [((AWAY,), 1), ((peer(),), 0), ((), 0)])
def test_silence_on_the_network_matters_only_while_somebody_is_missing(peers: tuple, count: int) -> None:
    view = surroundings(multicast=SILENT, peers=peers)
    assert sum("multicast" in finding.what for finding in view.findings) == count


def test_multicast_switched_off_is_said_when_somebody_is_missing() -> None:
    assert "--no-mdns" in only(surroundings(multicast=MulticastStatus("off"), peers=(AWAY,))).what


def test_nobody_away_is_reached_without_a_relay() -> None:
    finding = only(surroundings(relays=(), peers=(AWAY,)))
    assert (finding.level, "--relay" in str(finding.do)) == (FindingLevel.HINT, True)


@pytest.mark.parametrize("state", [RelayState.UNREACHABLE, RelayState.REFUSED])
def test_a_relay_that_is_not_connected_says_why(state: RelayState) -> None:
    finding = only(surroundings(relays=(replace(RELAY, state=state, problem="Its door is shut."),)))
    assert finding.level is FindingLevel.PROBLEM
    assert RELAY.url in finding.what
    assert "Its door is shut." in finding.what
    assert ("token" in str(finding.do)) == (state is RelayState.REFUSED)


def test_one_relay_that_is_down_beside_a_good_one_is_a_hint() -> None:
    down = replace(
        RELAY, url="wss://b.example", state=RelayState.UNREACHABLE, problem="wss://b.example is off."
    )
    finding = only(surroundings(relays=(RELAY, down)))
    assert (finding.level, finding.what) == (FindingLevel.HINT, "wss://b.example is off.")


def test_a_relay_that_is_being_connected_is_left_in_peace() -> None:
    connecting = replace(RELAY, state=RelayState.CONNECTING)
    assert only(surroundings(relays=(connecting,))).level is FindingLevel.OK


def test_stun_that_never_answers_is_a_hint() -> None:
    assert "No STUN server answers" in only(surroundings(stun=DEAD_STUN)).what


def test_one_dead_stun_server_among_living_ones_is_nothing() -> None:
    report = StunReport((*DEAD_STUN.servers, *STUN.servers), NatKind.STABLE)
    assert only(surroundings(stun=report)).level is FindingLevel.OK


def test_a_symmetric_router_is_named() -> None:
    assert "symmetric" in only(surroundings(stun=replace(STUN, nat=NatKind.SYMMETRIC))).what


def test_who_is_reached_through_the_relay_is_said_with_the_reason() -> None:
    relayed = peer(path="relay", path_reason="relay: UDP does not get through between these networks")
    finding = only(surroundings(peers=(relayed,)))
    assert finding.level is FindingLevel.HINT
    assert finding.what == (
        "Grace (desk) is connected through the relay: UDP does not get through between these networks."
    )


def test_a_tunnel_is_a_hint_between_computers_and_nothing_on_one() -> None:
    tunnelled = peer(path="tunnel", path_reason=None)
    assert "TCP" in only(surroundings(peers=(tunnelled,))).what
    alone = InterfaceStatus("lo", ("127.0.0.1",), True, "there is no other")
    view = surroundings(peers=(tunnelled,), interfaces=(alone,))
    assert not any("TCP" in finding.what for finding in view.findings)


def test_every_finding_that_is_not_fine_says_what_to_do() -> None:
    worst = surroundings(
        interfaces=(),
        lan=LanView(None, "on", ()),
        multicast=replace(SILENT, hears_itself=False),
        relays=(replace(RELAY, state=RelayState.UNREACHABLE),),
        stun=replace(DEAD_STUN, nat=NatKind.SYMMETRIC),
        peers=(AWAY, peer(path="relay"), peer(path="tunnel")),
    )
    assert len(worst.findings) == 7
    assert all(finding.do for finding in worst.findings)


def test_a_computer_with_link_local_addresses_only_is_on_a_network_and_told_how_far_it_reaches() -> None:
    cable = InterfaceStatus("eth0", ("fe80::4", "169.254.7.7"), True, "it is up")
    view = surroundings(peers=(AWAY,), interfaces=(cable,))
    assert not any("no network" in finding.what for finding in view.findings)
    (finding,) = [finding for finding in view.findings if "link-local" in finding.what]
    assert finding.level is FindingLevel.HINT
    assert "link-local" not in str(surroundings(peers=(peer(),), interfaces=(cable,)).findings)
