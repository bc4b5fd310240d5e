"""The routers of tests/support/nat.py do what their names say: shown by plain UDP sockets, without Sheaf.

The scenes (test_scenes.py) rest on this: a path that opens, or does not, must do so for the reason
the scene is named after.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.nat import Nat, internet
from tests.support.netns import Computer

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

ARRIVES_S_MAX = 2.0
ABSENT_S = 0.3
Address = tuple[str, int]
TRANSLATING = [Nat.FULL_CONE, Nat.PORT_RESTRICTED, Nat.SYMMETRIC]


class Mouth:
    """A UDP socket on one computer."""

    def __init__(self, computer: Computer, port: int = 0) -> None:
        is_v6 = ":" in (computer.address or "")
        with computer.entered():
            self._socket = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((computer.address, port))
        self.address: Address = self._socket.getsockname()[:2]

    def say(self, word: str, to: Address) -> None:
        self._socket.sendto(word.encode(), to)

    def hear(self) -> tuple[str, Address]:
        """The next word and where it seems to come from; fails when none comes."""
        self._socket.settimeout(ARRIVES_S_MAX)
        word, sender = self._socket.recvfrom(100)
        return word.decode(), sender[:2]

    def hears_nothing(self) -> bool:
        self._socket.settimeout(ABSENT_S)
        try:
            self._socket.recvfrom(100)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


Open = Callable[..., Mouth]


@pytest.fixture
def mouth() -> Iterator[Open]:
    opened: list[Mouth] = []

    def open_mouth(computer: Computer, port: int = 0) -> Mouth:
        opened.append(Mouth(computer, port))
        return opened[-1]

    yield open_mouth
    for each in opened:
        each.close()


def seen_by(server: Mouth, inner: Mouth) -> Address:
    """Where `inner` seems to be, for `server`; opens the mapping."""
    inner.say("hello", server.address)
    return server.hear()[1]


@pytest.mark.parametrize("nat", TRANSLATING, ids=lambda nat: nat.value)
def test_inside_is_seen_at_the_routers_address_and_gets_its_answer(nat: Nat, mouth: Open) -> None:
    with internet(nat) as world:
        server, inner = mouth(world.servers[0]), mouth(world.homes[0][0])
        outer = seen_by(server, inner)
        assert outer[0] == world.homes[0].router.address != inner.address[0]
        server.say("welcome", outer)
        assert inner.hear() == ("welcome", server.address)


@pytest.mark.parametrize("nat", TRANSLATING, ids=lambda nat: nat.value)
def test_only_a_symmetric_router_shows_every_destination_another_port(nat: Nat, mouth: Open) -> None:
    with internet(nat, servers=2) as world:
        inner = mouth(world.homes[0][0])
        ports = {seen_by(mouth(server, port), inner)[1] for server in world.servers for port in (3478, 3479)}
        assert (len(ports) > 1) == (nat is Nat.SYMMETRIC)
        assert (ports == {inner.address[1]}) == (nat is not Nat.SYMMETRIC)


@pytest.mark.parametrize("nat", TRANSLATING, ids=lambda nat: nat.value)
def test_only_a_full_cone_lets_a_third_party_in(nat: Nat, mouth: Open) -> None:
    with internet(nat, servers=2) as world:
        server, stranger = mouth(world.servers[0]), mouth(world.servers[1])
        same_host = mouth(world.servers[0])
        inner = mouth(world.homes[0][0])
        outer = seen_by(server, inner)
        for third in (stranger, same_host):
            third.say("psst", outer)
            if nat is Nat.FULL_CONE:
                assert inner.hear() == ("psst", third.address)
                inner.say("who is there?", third.address)
                assert third.hear() == ("who is there?", outer)
            else:
                assert inner.hears_nothing()


@pytest.mark.parametrize("nat", TRANSLATING, ids=lambda nat: nat.value)
def test_nobody_gets_in_before_inside_has_spoken(nat: Nat, mouth: Open) -> None:
    with internet(nat) as world:
        server, inner = mouth(world.servers[0]), mouth(world.homes[0][0])
        server.say("psst", (str(world.homes[0].router.address), inner.address[1]))
        assert inner.hears_nothing()


def test_two_port_restricted_homes_meet_by_hole_punching_whoever_knocks_first(mouth: Open) -> None:
    with internet(Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED) as world:
        server = mouth(world.servers[0])
        left, right = (mouth(home[0]) for home in world.homes)
        left_outer, right_outer = seen_by(server, left), seen_by(server, right)
        left.say("too early", right_outer)
        assert right.hears_nothing()
        right.say("now", left_outer)
        assert left.hear() == ("now", right_outer)
        left.say("good", right_outer)
        assert right.hear() == ("good", left_outer)


@pytest.mark.parametrize("other", [Nat.SYMMETRIC, Nat.PORT_RESTRICTED], ids=lambda nat: nat.value)
def test_a_symmetric_home_meets_neither_its_kind_nor_a_port_restricted_one(other: Nat, mouth: Open) -> None:
    with internet(Nat.SYMMETRIC, other) as world:
        server = mouth(world.servers[0])
        left, right = (mouth(home[0]) for home in world.homes)
        left_outer, right_outer = seen_by(server, left), seen_by(server, right)
        for _ in range(3):
            left.say("knock", right_outer)
            right.say("knock", left_outer)
        assert left.hears_nothing()
        assert right.hears_nothing()


def test_a_symmetric_home_reaches_a_full_cone(mouth: Open) -> None:
    with internet(Nat.SYMMETRIC, Nat.FULL_CONE) as world:
        server = mouth(world.servers[0])
        left, right = (mouth(home[0]) for home in world.homes)
        right_outer = seen_by(server, right)
        left.say("knock", right_outer)
        word, left_outer = right.hear()
        right.say("come in", left_outer)
        assert (word, left.hear()) == ("knock", ("come in", right_outer))


def test_ipv6_homes_have_public_addresses_behind_a_firewall(mouth: Open) -> None:
    with internet(Nat.IPV6, Nat.IPV6) as world:
        left, right = (mouth(home[0]) for home in world.homes)
        left.say("knock", right.address)
        assert right.hears_nothing()
        right.say("knock", left.address)
        assert left.hear() == ("knock", right.address)


def test_a_router_can_block_udp_alone(mouth: Open) -> None:
    with internet(Nat.FULL_CONE) as world:
        home, server = world.homes[0], mouth(world.servers[0])
        home.block("meta l4proto udp")
        mouth(home[0]).say("hello", server.address)
        assert server.hears_nothing()
        with world.servers[0].entered():
            listener = socket.create_server((server.address[0], 7412))
        with listener, home[0].entered(), socket.create_connection(listener.getsockname(), ARRIVES_S_MAX):
            accepted, peer = listener.accept()
            accepted.close()
        assert peer[0] == home.router.address


def test_a_computer_that_is_carried_elsewhere_has_that_homes_address(mouth: Open) -> None:
    with internet(Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED) as world:
        here, there = world.homes
        server, laptop = mouth(world.servers[0]), here[0]
        assert seen_by(server, mouth(laptop))[0] == here.router.address
        world.move(laptop, there)
        assert seen_by(server, mouth(laptop))[0] == there.router.address
