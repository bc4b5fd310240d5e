"""The network scenes in which two computers that know each other must meet (issue 3, FAULTS N4, N5).

A `Scene` says where the two stand, how their daemons are started, what happens in mid-session and which
path they must end on. Nothing here looks at results: test_scenes.py plays the scenes and
docs/network-scenes.md shows what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.support import netns
from tests.support.nat import Nat, internet
from tests.support.netns import Computer


@dataclass(frozen=True, slots=True)
class Stage:
    """Two computers, and what the daemon on each is told on its command line."""

    left: Computer
    right: Computer
    left_arguments: tuple[str, ...] = ()
    right_arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """One row of the matrix. `path` is the last column of `sheaf peers` once nothing changes any more."""

    name: str
    path: str
    stage: Callable[[], AbstractContextManager[Stage]]


def _scene(name: str, path: str) -> Callable[[Callable[[], Iterator[Stage]]], None]:
    def add(stage: Callable[[], Iterator[Stage]]) -> None:
        SCENES.append(Scene(name, path, contextmanager(stage)))

    return add


SCENES: list[Scene] = []


@_scene("same LAN without internet", "webrtc")
def _same_lan() -> Iterator[Stage]:
    with netns.lan(2) as room:
        yield Stage(room[0], room[1])


@_scene("same LAN, multicast blocked, one address given by hand", "webrtc")
def _given_by_hand() -> Iterator[Stage]:
    with netns.lan(2) as room:
        for computer in room.computers:
            drop_incoming(computer, "meta pkttype multicast")
        yield Stage(room[0], room[1], ("--lan=0.0.0.0:7413",), ("--peer=10.77.0.1:7413",))


@_scene("same LAN, UDP blocked but for mDNS", "tunnel")
def _lan_without_udp() -> Iterator[Stage]:
    with netns.lan(2) as room:
        for computer in room.computers:
            drop_incoming(computer, "udp dport != 5353")
        yield Stage(room[0], room[1])


@_scene("same LAN, IPv6 only", "webrtc")
def _lan_v6() -> Iterator[Stage]:
    with internet(Nat.IPV6) as world:
        yield Stage(world.homes[0][0], world.add_computer(world.homes[0]))


@_scene("same LAN, a VPN and a docker interface present", "webrtc")
def _vpn_and_docker() -> Iterator[Stage]:
    with netns.lan(2) as room:
        for number, computer in enumerate(room.computers, 2):
            computer.add_interface("docker0", "172.17.0.1/16")
            computer.add_interface("br-5f0c", "172.18.0.1/16")
            computer.add_interface("wg0", f"10.8.0.{number}/24")
        yield Stage(room[0], room[1])


@_scene("same LAN, dead uplink and DNS black hole", "webrtc")
def _dns_black_hole() -> Iterator[Stage]:
    with internet(Nat.PORT_RESTRICTED) as world:
        home = world.homes[0]
        home.block("meta nfproto ipv4")
        right = world.add_computer(home)
        for computer in home.computers:
            computer.use_resolver("203.0.113.53")
        yield Stage(home[0], right)


@_scene("only loopback", "webrtc")
def _only_loopback() -> Iterator[Stage]:
    with netns.lonely() as computer:
        yield Stage(computer, computer)


def drop_incoming(computer: Computer, what: str) -> None:
    """Let nothing in that fits, e.g. 'meta pkttype multicast'."""
    computer.run("nft", "add", "table", "inet", "room")
    computer.run("nft", "add chain inet room incoming { type filter hook input priority 0 ; }")
    computer.run("nft", "add", "rule", "inet", "room", "incoming", *what.split(), "drop")
