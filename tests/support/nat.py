"""An internet for tests: servers with public addresses, and homes behind routers that translate.

Every home is a network namespace with a router of its own; the routers and the servers meet on one
switch and nowhere else, so two homes share no LAN. All IPv4 homes use the same numbers inside
(192.168.1.0/24, the first computer is .2 everywhere), as homes do. The translation is the kernel's,
by nftables:

- a mapping lasts per inner port and keeps the port's number, except that a symmetric router takes
  another one, at random, for every destination;
- what nobody inside asked for is dropped in the input chain, that is before conntrack confirms an entry
  for it. Were it confirmed, the inner computer's own packet to that stranger would find its port taken
  and get another one, and hole punching would fail by chance.

Needs root. Nothing outside of the namespaces made here is touched.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from tests.support.netns import Computer, destroy, fresh_prefix, ip

_COMMAND_S_MAX: Final = 10
_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
_DOUBLES_CHECK: Final = [Path(f"/proc/sys/net/ipv6/conf/{which}/accept_dad") for which in ("all", "default")]
"""Duplicate address detection keeps an interface from answering for its first second or two."""
_FORWARDING_V6: Final = Path("/proc/sys/net/ipv6/conf/all/forwarding")


class Nat(Enum):
    """What a home's router does; the names are those of RFC 3489, people still use them."""

    FULL_CONE = "full cone"
    """Whoever writes to a mapped port gets in."""
    PORT_RESTRICTED = "port-restricted"
    """Only who was written to, from the very port, gets in."""
    SYMMETRIC = "symmetric"
    """As port-restricted, and every destination sees another port."""
    IPV6 = "IPv6 only"
    """No translation and no IPv4; the firewall lets in only what was asked for."""


@dataclass(slots=True)
class Home:
    """A router and what is plugged in behind it (`eth0` of each computer; `lan0`, `wan0` of the router)."""

    nat: Nat
    router: Computer
    number: int
    computers: list[Computer] = field(default_factory=list)

    @property
    def is_v6(self) -> bool:
        """Whether this home has IPv6, and nothing else."""
        return self.nat is Nat.IPV6

    def __getitem__(self, number: int) -> Computer:
        return self.computers[number]

    def block(self, what: str) -> None:
        """Let nothing that fits pass between inside and outside, e.g. 'meta l4proto udp'."""
        for way in ("iifname", "oifname"):  # by name: bridged packets of neighbours may come by here as well
            rule = f"insert rule inet home forward {way} wan0 {what} drop"
            self.router.run("nft", *rule.split())

    def inner_address(self, number: int) -> str:
        """What the computer with this number has."""
        return f"2001:db8:{self.number}::{number + 2}" if self.is_v6 else f"192.168.1.{number + 2}"

    def gateway(self) -> str:
        """What the router has inside."""
        return f"2001:db8:{self.number}::1" if self.is_v6 else "192.168.1.1"


@dataclass(slots=True)
class Internet:
    """Servers and homes on one switch."""

    prefix: str
    servers: list[Computer] = field(default_factory=list)
    homes: list[Home] = field(default_factory=list)

    @property
    def switch(self) -> str:
        """The namespace with the bridge."""
        return f"{self.prefix}sw"

    def add_computer(self, home: Home) -> Computer:
        """Plug one more computer in at a home."""
        computer = _computer(f"{self.prefix}h{home.number}c{len(home.computers)}")
        _plug_in(home, computer)
        return computer

    def move(self, computer: Computer, home: Home) -> None:
        """Carry a computer to another home: its cable is pulled here and plugged there, a new address."""
        ip("-n", computer.name, "link", "del", "eth0")
        _plug_in(home, computer)


@contextmanager
def internet(*nats: Nat, servers: int = 1) -> Iterator[Internet]:
    """One home with one computer for each of `nats`, and so many servers.

    Servers have 203.0.113.1, .2, … and 2001:db8::1, ::2, …; routers 203.0.113.11, … or 2001:db8::b, …
    """
    made = Internet(fresh_prefix())
    try:
        ip("netns", "add", made.switch)
        _batch(made.switch, "link add br0 type bridge forward_delay 0", "link set br0 up")
        for number in range(servers):
            made.servers.append(_server(made, number))
        for number, nat in enumerate(nats, 11):
            made.homes.append(_home(made, number, nat))
        for home in made.homes:
            made.add_computer(home)
        _route_v6(made)
        yield made
    finally:
        for home in made.homes:
            for computer in (*home.computers, home.router):
                destroy(computer)
        for computer in made.servers:
            destroy(computer)
        ip("netns", "del", made.switch, is_checked=False)


def _server(made: Internet, number: int) -> Computer:
    server = _computer(f"{made.prefix}s{number}", f"203.0.113.{number + 1}")
    _on_the_switch(made, server, "eth0", f"s{number}", f"{server.address}/24", f"2001:db8::{number + 1:x}/64")
    return server


def _home(made: Internet, number: int, nat: Nat) -> Home:
    router = _computer(f"{made.prefix}h{number}r")
    home = Home(nat, router, number)
    router.address = f"2001:db8::{number:x}" if home.is_v6 else f"203.0.113.{number}"
    _on_the_switch(made, router, "wan0", f"h{number}", f"{router.address}/{64 if home.is_v6 else 24}")
    _batch(
        router.name,
        "link add lan0 type bridge forward_delay 0",
        f"addr add {home.gateway()}/{64 if home.is_v6 else 24} dev lan0 {'nodad' if home.is_v6 else ''}",
        "link set lan0 up",
    )
    with router.entered():
        (_FORWARDING_V6 if home.is_v6 else _FORWARDING).write_text("1")
    _feed(["ip", "netns", "exec", router.name, "nft", "-f", "-"], _ruleset(nat))
    return home


def _ruleset(nat: Nat) -> str:
    """What a router does with packets; see the module."""
    asked_for = "ct state established,related accept"
    rules = f"""
table inet home {{
  chain input {{
    type filter hook input priority filter; policy drop;
    {asked_for}
    iifname "lan0" accept
    meta l4proto ipv6-icmp accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {asked_for}
    iifname "lan0" accept
    ct status dnat accept
  }}
}}
"""
    if nat is Nat.IPV6:
        return rules
    how = "masquerade fully-random" if nat is Nat.SYMMETRIC else "masquerade"
    rules += f"""
table ip translation {{
  chain outgoing {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan0" {how}
  }}
}}
"""
    if nat is Nat.FULL_CONE:
        rules += """
table ip cone {
  map mapped { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }
  chain outgoing {
    type filter hook postrouting priority srcnat - 1; policy accept;
    oifname "wan0" meta l4proto udp update @mapped { udp sport : ip saddr . udp sport }
  }
  chain incoming {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" meta l4proto udp dnat ip to udp dport map @mapped
  }
}
"""
    return rules


def _computer(name: str, address: str | None = None) -> Computer:
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    computer = Computer(name, address)
    with computer.entered():
        for switch in _DOUBLES_CHECK:
            switch.write_text("0")
    return computer


def _on_the_switch(made: Internet, computer: Computer, interface: str, port: str, *addresses: str) -> None:
    _batch(
        made.switch,
        f"link add {port} type veth peer name {interface} netns {computer.name}",
        f"link set {port} master br0",
        f"link set {port} up",
    )
    _batch(
        computer.name,
        *(f"addr add {address} dev {interface} {'nodad' * (':' in address)}" for address in addresses),
        f"link set {interface} up",
    )


def _plug_in(home: Home, computer: Computer) -> None:
    """Give `computer` an `eth0` behind this router, an address and the way out."""
    position = len(home.computers)
    home.computers.append(computer)
    computer.address = home.inner_address(position)
    port = f"port{position}"
    _batch(
        home.router.name,
        f"link add {port} type veth peer name eth0 netns {computer.name}",
        f"link set {port} master lan0",
        f"link set {port} up",
    )
    _batch(
        computer.name,
        f"addr add {computer.address}/{64 if home.is_v6 else 24} dev eth0 {'nodad' * home.is_v6}",
        "link set eth0 up",
        f"route add default via {home.gateway()}",
    )


def _route_v6(made: Internet) -> None:
    """IPv6 is not translated, so everybody must know the way to every home."""
    homes = [home for home in made.homes if home.is_v6]
    for home in homes:
        routers = [other.router for other in homes if other is not home]
        for other in (*made.servers, *routers):
            _batch(other.name, f"route add 2001:db8:{home.number}::/64 via {home.router.address}")


def _batch(namespace: str, *lines: str) -> None:
    """Several `ip` commands in one process."""
    _feed(["ip", "-n", namespace, "-batch", "-"], "\n".join(lines) + "\n")


def _feed(argv: list[str], text: str) -> None:
    done = subprocess.run(
        argv, input=text, text=True, capture_output=True, timeout=_COMMAND_S_MAX, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{argv} failed: {done.stderr}\n{text}")
