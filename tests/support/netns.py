"""Network namespaces for tests: computers on a switch, with nothing else in the room.

Needs root. Every test makes its own switch (a namespace with a bridge) and its own
computers; nothing outside is touched. By default there is no default route and no DNS.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_RESOLVERS = Path("/etc/netns")
_numbers = itertools.count()
_COMMAND_S_MAX = 10
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12


def fresh_prefix() -> str:
    """The beginning of names of namespaces that nobody else uses."""
    return f"sh{os.getpid()}x{next(_numbers)}"


def is_possible() -> bool:
    """Whether this process may make namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


@dataclass(slots=True)
class Computer:
    """One namespace with `lo` and, when it is on a switch, `eth0`."""

    name: str
    address: str | None = None
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv`, as it must be called from outside to run in here."""
        return ["ip", "netns", "exec", self.name, *argv]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes (and processes it starts) meanwhile belong in here."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as inside:
            _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def run(self, *argv: str, timeout_s: float = _COMMAND_S_MAX) -> str:
        """Run to the end and return what it printed; fails on a non-zero exit."""
        done = subprocess.run(
            self.command(argv), check=True, capture_output=True, text=True, timeout=timeout_s
        )
        return done.stdout

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = False,
    ) -> subprocess.Popen[Any]:
        """Start a process in here; it is killed with the computer at the latest."""
        process: subprocess.Popen[Any] = subprocess.Popen(
            self.command(argv),
            env=None if env is None else {**os.environ, **env},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=text,
        )
        self.processes.append(process)
        return process

    def switch(self, name: str, value: str) -> None:
        """Set a switch of the kernel for this namespace, e.g. 'ipv6/conf/all/disable_ipv6'."""
        with self.entered():
            (Path("/proc/sys/net") / name).write_text(value)

    def link(self, state: str) -> None:
        """Set `eth0` 'up' or 'down' on this side."""
        self.run("ip", "link", "set", "eth0", state)

    def add_interface(self, name: str, address: str) -> None:
        """One more interface that is up and leads nowhere, e.g. 'docker0' with '172.17.0.1/16'.

        Nobody answers on it and nothing is routed over it but its own subnet: so a container bridge or
        a VPN without the other side looks.
        """
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
        self.run("ip", "addr", "add", address, "dev", name)
        for end in (name, f"{name}-far"):
            self.run("ip", "link", "set", end, "up")

    def use_resolver(self, address: str) -> None:
        """Let programs in here ask this name server (ip-netns(8) shows them a resolv.conf of their own)."""
        directory = _RESOLVERS / self.name
        directory.mkdir(parents=True)
        (directory / "resolv.conf").write_text(f"nameserver {address}\n")

    def readdress(self, old: str, new: str) -> None:
        """Replace an address of `eth0`, both as 'a.b.c.d/n'."""
        self.run("ip", "addr", "del", old, "dev", "eth0")
        self.run("ip", "addr", "add", new, "dev", "eth0")


@dataclass(slots=True)
class Lan:
    """A switch and the computers on it."""

    switch: str
    computers: list[Computer]

    def __getitem__(self, number: int) -> Computer:
        return self.computers[number]

    def replace_interface(self, number: int, name: str, address: str) -> None:
        """Take a computer's `eth0` away and give it another interface on this switch, e.g. 'wlan0'."""
        computer = self.computers[number]
        ip("-n", computer.name, "link", "del", "eth0")
        computer.address = address
        _plug(self.switch, number, computer, name)

    def cable(self, number: int, state: str) -> None:
        """Pull ('down') or plug ('up') the cable of one computer, seen as lost carrier by it."""
        ip("-n", self.switch, "link", "set", f"port{number}", state)


@contextmanager
def lan(count: int, *, has_default_route: bool = False, subnet: str = "10.77.0") -> Iterator[Lan]:
    """`count` computers on a switch, with addresses `subnet`.1, .2, …

    Args:
        count: how many.
        has_default_route: give each a default route to an address that never answers, the
            way a network looks whose uplink (and DNS) is dead.
        subnet: the first three numbers of a /24.
    """
    prefix = fresh_prefix()
    made = Lan(f"{prefix}sw", [])
    try:
        ip("netns", "add", made.switch)
        ip("-n", made.switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        ip("-n", made.switch, "link", "set", "br0", "up")
        for position in range(count):
            computer = Computer(f"{prefix}c{position}", f"{subnet}.{position + 1}")
            made.computers.append(computer)
            ip("netns", "add", computer.name)
            ip("-n", computer.name, "link", "set", "lo", "up")
            _plug(made.switch, position, computer, "eth0")
            if has_default_route:
                ip("-n", computer.name, "route", "add", "default", "via", f"{subnet}.254")
        yield made
    finally:
        for computer in made.computers:
            destroy(computer)
        ip("netns", "del", made.switch, is_checked=False)


@contextmanager
def cable(*, has_ipv4: bool = False) -> Iterator[tuple[Computer, Computer]]:
    """Two computers joined by one cable: each `eth0` has the link-local address the kernel gave it and no
    other, or with `has_ipv4` one of 169.254/16 and no IPv6. No router, no switch, no routes.
    """
    prefix = fresh_prefix()
    ends = (Computer(f"{prefix}c0"), Computer(f"{prefix}c1"))
    try:
        for end in ends:
            ip("netns", "add", end.name)
            end.switch("ipv6/conf/default/accept_dad", "0")
            ip("-n", end.name, "link", "set", "lo", "up")
        one, other = (end.name for end in ends)
        ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other)
        for number, end in enumerate(ends, 1):
            if has_ipv4:
                end.switch("ipv6/conf/eth0/disable_ipv6", "1")
                end.address = f"169.254.77.{number}"
                ip("-n", end.name, "addr", "add", f"{end.address}/16", "dev", "eth0")
            ip("-n", end.name, "link", "set", "eth0", "up")
        yield ends
    finally:
        for end in ends:
            destroy(end)


@contextmanager
def lonely(*, is_loopback_up: bool = True) -> Iterator[Computer]:
    """One computer with nothing but `lo`, which may be down as well."""
    computer = Computer(f"{fresh_prefix()}lo")
    try:
        ip("netns", "add", computer.name)
        if is_loopback_up:
            ip("-n", computer.name, "link", "set", "lo", "up")
        yield computer
    finally:
        destroy(computer)


def _plug(switch: str, position: int, computer: Computer, interface: str) -> None:
    port = f"port{position}"
    ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", computer.name)
    ip("-n", switch, "link", "set", port, "master", "br0")
    ip("-n", switch, "link", "set", port, "up")
    ip("-n", computer.name, "addr", "add", f"{computer.address}/24", "dev", interface)
    ip("-n", computer.name, "link", "set", interface, "up")


def destroy(computer: Computer) -> None:
    """End what runs in it and take it away."""
    for process in computer.processes:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=_COMMAND_S_MAX)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    ip("netns", "del", computer.name, is_checked=False)
    shutil.rmtree(_RESOLVERS / computer.name, ignore_errors=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip(*argv: str, is_checked: bool = True) -> None:
    """`ip …`, outside of any namespace."""
    subprocess.run(["ip", *argv], check=is_checked, capture_output=True, timeout=_COMMAND_S_MAX)
