"""The network scenes in which two computers that know each other must meet (FAULTS N4, N5).

A `Scene` says where the two stand, how their daemons are started, what happens in mid-session and which
path they must end on. Nothing here looks at results: test_scenes.py plays the scenes and
docs/network-scenes.md shows what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import netns
from tests.support.nat import Internet, Nat, internet
from tests.support.netns import Computer
from tests.support.relay import RelayProcess

DEAD_STUN = "203.0.113.2:3478"
NOBODY_RESOLVES = ("--relay=ws://relay.example:7412", "--stun=stun.example:3478")


@dataclass(frozen=True, slots=True)
class Stage:
    """Two computers, and what the daemon on each is told on its command line."""

    left: Computer
    right: Computer
    left_arguments: tuple[str, ...] = ()
    right_arguments: tuple[str, ...] = ()
    incident: Callable[[], None] | None = None
    """What happens in mid-session."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One row of the matrix.

    `path` is what `sheaf peers` shows of both once nothing changes any more. `stage` gets a directory for
    what it needs.
    """

    name: str
    path: str
    stage: Callable[[Path], AbstractContextManager[Stage]]
    path_before: str | None = None
    """Until the incident, if that is another one."""
    is_undisturbed: bool = False
    """The incident must not cost the connection."""


SCENES: list[Scene] = []
_Stage = Callable[[Path], Iterator[Stage]]


def _scene(
    name: str, path: str, *, path_before: str | None = None, is_undisturbed: bool = False
) -> Callable[[_Stage], None]:
    def add(stage: _Stage) -> None:
        SCENES.append(Scene(name, path, contextmanager(stage), path_before, is_undisturbed))

    return add


# ---------------------------------------------------------------------- one LAN


@_scene("same LAN without internet", "webrtc")
def _same_lan(_: Path) -> Iterator[Stage]:
    with netns.lan(2) as room:
        yield Stage(room[0], room[1])


@_scene("same LAN, multicast blocked, one address given by hand", "webrtc")
def _given_by_hand(_: Path) -> Iterator[Stage]:
    with netns.lan(2) as room:
        _drop_incoming("meta pkttype multicast", *room.computers)
        yield Stage(room[0], room[1], ("--lan=0.0.0.0:7413",), ("--peer=10.77.0.1:7413",))


@_scene("same LAN, multicast blocked, a relay outside", "webrtc")
def _multicast_blocked_with_relay(directory: Path) -> Iterator[Stage]:
    with internet(Nat.PORT_RESTRICTED) as world, _relay(world, directory) as relay:
        left, right = world.homes[0][0], world.add_computer(world.homes[0])
        _drop_incoming("meta pkttype multicast", left, right)
        yield _relayed(left, right, relay)


@_scene("same LAN, UDP blocked but for mDNS", "tunnel")
def _lan_without_udp(_: Path) -> Iterator[Stage]:
    with netns.lan(2) as room:
        _drop_incoming("udp dport != 5353", *room.computers)
        yield Stage(room[0], room[1])


@_scene("same LAN, IPv6 only", "webrtc")
def _lan_v6(_: Path) -> Iterator[Stage]:
    with internet(Nat.IPV6) as world:
        yield Stage(world.homes[0][0], world.add_computer(world.homes[0]))


@_scene("a cable between two, IPv6 link-local only", "webrtc")
def _cable_v6(_: Path) -> Iterator[Stage]:
    with netns.cable() as ends:
        yield Stage(*ends)


@_scene("a cable between two, IPv4 link-local only", "webrtc")
def _cable_v4(_: Path) -> Iterator[Stage]:
    with netns.cable(has_ipv4=True) as ends:
        yield Stage(*ends)


@_scene("a cable between two, IPv6 link-local only, no UDP but for mDNS", "tunnel")
def _cable_without_udp(_: Path) -> Iterator[Stage]:
    with netns.cable() as ends:
        _drop_incoming("udp dport != 5353", *ends)
        yield Stage(*ends)


@_scene("same LAN, a VPN and docker interfaces present", "webrtc")
def _vpn_and_docker(_: Path) -> Iterator[Stage]:
    with netns.lan(2) as room:
        _clutter(*room.computers)
        yield Stage(room[0], room[1])


@_scene("same LAN, dead uplink, DNS black hole, relay and STUN by name", "webrtc")
def _dns_black_hole(_: Path) -> Iterator[Stage]:
    with internet(Nat.PORT_RESTRICTED) as world:
        home = world.homes[0]
        home.block("meta nfproto ipv4")
        right = world.add_computer(home)
        for computer in home.computers:
            computer.use_resolver("203.0.113.53")
        yield Stage(home[0], right, NOBODY_RESOLVES, NOBODY_RESOLVES)


@_scene("only loopback", "webrtc")
def _only_loopback(_: Path) -> Iterator[Stage]:
    with netns.lonely() as computer:
        yield Stage(computer, computer)


# ---------------------------------------------------------------------- two homes, a relay between them


@contextmanager
def homes_with_relay(directory: Path, left: Nat, right: Nat) -> Iterator[tuple[Computer, Computer, str]]:
    """A computer in each of two homes, and the address of a relay that both reach."""
    with internet(left, right) as world, _relay(world, directory) as relay:
        yield world.homes[0][0], world.homes[1][0], relay.url


def _homes(left: Nat, right: Nat) -> _Stage:
    def stage(directory: Path) -> Iterator[Stage]:
        with homes_with_relay(directory, left, right) as (one, other, relay):
            arguments = (f"--relay={relay}",)
            yield Stage(one, other, arguments, arguments)

    return stage


_scene("full cone – full cone", "webrtc")(_homes(Nat.FULL_CONE, Nat.FULL_CONE))
_scene("port-restricted – port-restricted", "webrtc")(_homes(Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED))
_scene("symmetric – full cone", "webrtc")(_homes(Nat.SYMMETRIC, Nat.FULL_CONE))
_scene("symmetric – port-restricted", "relay")(_homes(Nat.SYMMETRIC, Nat.PORT_RESTRICTED))
_scene("symmetric – symmetric", "relay")(_homes(Nat.SYMMETRIC, Nat.SYMMETRIC))
_scene("IPv6 only, firewalls on both sides", "webrtc")(_homes(Nat.IPV6, Nat.IPV6))


@_scene("UDP blocked entirely", "relay")
def _no_udp(directory: Path) -> Iterator[Stage]:
    with _without_udp(directory) as (world, relay):
        yield _relayed(world.homes[0][0], world.homes[1][0], relay)


@_scene("port-restricted, a VPN and docker interfaces present", "webrtc")
def _cluttered_homes(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory) as (world, relay):
        _clutter(world.homes[0][0], world.homes[1][0])
        yield _relayed(world.homes[0][0], world.homes[1][0], relay)


@_scene("port-restricted, DNS black hole, another relay and STUN by name", "webrtc")
def _homes_without_dns(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory) as (world, relay):
        for home in world.homes:
            home.block("udp dport 53")
            home[0].use_resolver("203.0.113.53")
        yield _relayed(world.homes[0][0], world.homes[1][0], relay, *NOBODY_RESOLVES)


@_scene("port-restricted, every STUN server dead", "relay")
def _dead_stun(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory, "--stun-port=0", servers=2) as (world, relay):
        _drop_incoming("meta l4proto udp", world.servers[1])
        yield _relayed(world.homes[0][0], world.homes[1][0], relay, f"--stun={DEAD_STUN}")


@_scene("port-restricted, one STUN server dead and one alive", "webrtc")
def _half_dead_stun(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory, servers=2) as (world, relay):
        _drop_incoming("meta l4proto udp", world.servers[1])
        yield _relayed(world.homes[0][0], world.homes[1][0], relay, f"--stun={DEAD_STUN}")


# ---------------------------------------------------------------------- something happens in mid-session


@_scene("the relay restarts, the path is direct", "webrtc", is_undisturbed=True)
def _restart_beside(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory) as (world, relay):
        yield _relayed(world.homes[0][0], world.homes[1][0], relay, incident=lambda: _restart(relay))


@_scene("the relay restarts, the path is through it", "relay")
def _restart_beneath(directory: Path) -> Iterator[Stage]:
    with _without_udp(directory) as (world, relay):
        yield _relayed(world.homes[0][0], world.homes[1][0], relay, incident=lambda: _restart(relay))


@_scene("a laptop is carried to a third home", "webrtc")
def _carried(directory: Path) -> Iterator[Stage]:
    homes = (Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED, Nat.FULL_CONE)
    with internet(*homes) as world, _relay(world, directory) as relay:
        laptop = world.homes[1][0]
        yield _relayed(world.homes[0][0], laptop, relay, incident=lambda: world.move(laptop, world.homes[2]))


@_scene("a laptop leaves the other's LAN", "webrtc")
def _leaves(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory) as (world, relay):
        laptop = world.add_computer(world.homes[0])
        yield _relayed(world.homes[0][0], laptop, relay, incident=lambda: world.move(laptop, world.homes[1]))


@_scene("a laptop leaves the other's LAN for a network without UDP", "relay", path_before="webrtc")
def _leaves_for_worse(directory: Path) -> Iterator[Stage]:
    with _two_homes(directory) as (world, relay):
        world.homes[1].block("meta l4proto udp")
        laptop = world.add_computer(world.homes[0])
        yield _relayed(world.homes[0][0], laptop, relay, incident=lambda: world.move(laptop, world.homes[1]))


@_scene("a laptop comes home to the other's LAN", "webrtc", path_before="relay")
def _comes_home(directory: Path) -> Iterator[Stage]:
    with internet(Nat.SYMMETRIC, Nat.SYMMETRIC) as world, _relay(world, directory) as relay:
        laptop = world.homes[1][0]
        yield _relayed(world.homes[0][0], laptop, relay, incident=lambda: world.move(laptop, world.homes[0]))


# ---------------------------------------------------------------------- parts


@contextmanager
def _relay(world: Internet, directory: Path, *arguments: str) -> Iterator[RelayProcess]:
    """A relay on the first server, reached by IPv6 where the homes have nothing else."""
    server = world.servers[0]
    is_v6 = all(home.is_v6 for home in world.homes)
    relay = RelayProcess(
        directory / "relay",
        arguments=arguments,
        prefix=server.command([]),
        enter=server.entered,
        host="2001:db8::1" if is_v6 else str(server.address),
    )
    relay.start()
    try:
        yield relay
    finally:
        relay.kill()


@contextmanager
def _two_homes(directory: Path, *arguments: str, servers: int = 1) -> Iterator[tuple[Internet, RelayProcess]]:
    """Two port-restricted homes and a relay."""
    homes = (Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED)
    with internet(*homes, servers=servers) as world, _relay(world, directory, *arguments) as relay:
        yield world, relay


@contextmanager
def _without_udp(directory: Path) -> Iterator[tuple[Internet, RelayProcess]]:
    """Two homes whose routers pass no UDP."""
    with _two_homes(directory) as (world, relay):
        for home in world.homes:
            home.block("meta l4proto udp")
        yield world, relay


def _relayed(
    left: Computer,
    right: Computer,
    relay: RelayProcess,
    *more: str,
    incident: Callable[[], None] | None = None,
) -> Stage:
    arguments = (f"--relay={relay.url}", *more)
    return Stage(left, right, arguments, arguments, incident)


def _restart(relay: RelayProcess) -> None:
    relay.kill()
    relay.start()


def _clutter(*computers: Computer) -> None:
    """Interfaces that lead nowhere, with the same addresses on every computer, as docker's are."""
    for number, computer in enumerate(computers, 2):
        computer.add_interface("docker0", "172.17.0.1/16")
        computer.add_interface("br-5f0c", "172.18.0.1/16")
        computer.add_interface("wg0", f"10.8.0.{number}/24")


def _drop_incoming(what: str, *computers: Computer) -> None:
    """Let nothing in that fits, e.g. 'meta pkttype multicast'."""
    for computer in computers:
        computer.run("nft", "add", "table", "inet", "room")
        computer.run("nft", "add chain inet room incoming { type filter hook input priority 0 ; }")
        computer.run("nft", "add", "rule", "inet", "room", "incoming", *what.split(), "drop")
