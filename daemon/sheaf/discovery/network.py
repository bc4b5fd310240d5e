"""Which addresses this machine has right now, which of them to use, and when that changes.

The one place that asks the operating system about interfaces. Serves the WebRTC transport
(candidates), mDNS (where to speak) and whoever wants to reconnect after a change. Looks
when the kernel says that something changed, and every few seconds anyway: not every system
says so (FAULTS N4 asks for 10 s in all). Knows nothing of peers.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ifaddr

from sheaf.discovery.kernel_news import KernelNews
from sheaf.task_set import TaskSet

_log = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""How often to look where the kernel does not tell…"""
POLL_TOLD_S: Final = 6.0
"""…and where it does; then a look is for noticing that the computer slept."""
SETTLE_S: Final = 0.2
"""A cable that is plugged in makes several changes; they are looked at together."""
SLEEP_S: Final = 8.0
"""A poll that comes this much late means that the computer, or this process, slept."""
_CONTAINER_PREFIXES: Final = ("docker", "veth", "br-", "lxc", "lxd", "podman", "cni", "flannel", "cali")
_MACHINE_PREFIXES: Final = ("virbr", "vmnet", "vboxnet", "ifb")
_VIRTUAL_PREFIXES: Final = _CONTAINER_PREFIXES + _MACHINE_PREFIXES
_SYS_NET: Final = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of one interface that is up."""

    interface: str
    index: int
    address: str

    @property
    def is_v6(self) -> bool:
        """An IPv6 address."""
        return ":" in self.address

    @property
    def is_loopback(self) -> bool:
        """Reaches only this machine."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def needs_scope(self) -> bool:
        """An IPv6 link-local address, useless without naming an interface."""
        return self.is_v6 and ipaddress.ip_address(self.address).is_link_local

    @property
    def scoped(self) -> str:
        """The address as sockets take it: 'fe80::4%eth0' if it needs a scope."""
        return f"{self.address}%{self.interface}" if self.needs_scope else self.address


@dataclass(frozen=True, slots=True)
class InterfacePolicy:
    """Which interfaces to use.

    `allowed` names the only ones; without it all are used, except that virtual ones
    (containers, virtual machines) count only when there is no other, and loopback only
    when there is nothing at all (two daemons on one offline computer). A link-local
    address is enough: a cable between two computers has no other (decision 0072).
    """

    allowed: frozenset[str] | None = None
    virtual_prefixes: tuple[str, ...] = _VIRTUAL_PREFIXES

    def choose(self, addresses: Iterable[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
        """The addresses to use: IPv4 before IPv6, then by interface name."""
        present = sorted(addresses, key=lambda a: (a.is_v6, a.interface, a.address))
        if self.allowed is not None:
            return tuple(a for a in present if a.interface in self.allowed)
        outside = [a for a in present if not a.is_loopback]
        physical = [a for a in outside if not a.interface.startswith(self.virtual_prefixes)]
        for group in (physical, outside):
            if group:
                return tuple(group)
        return tuple(a for a in present if a.is_loopback)


def read_addresses() -> tuple[InterfaceAddress, ...]:
    """Every address of every interface that is up, in a stable order; () when that fails."""
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError as error:
        _log.warning("cannot read the network interfaces error=%r", error)
        return ()
    found = {
        InterfaceAddress(str(adapter.name), adapter.index or 0, address_text(ip.ip))
        for adapter in adapters
        if is_up(str(adapter.name))
        for ip in adapter.ips
    }
    return tuple(sorted(found, key=lambda a: (a.index, a.address)))


def usable_addresses(policy: InterfacePolicy) -> tuple[str, ...]:
    """The addresses to offer to others now, best first, without those that need a scope."""
    return tuple(a.address for a in policy.choose(read_addresses()) if not a.needs_scope)


def link_addresses(policy: InterfacePolicy) -> tuple[str, ...]:
    """The addresses that need a scope, with it: 'fe80::4%eth0'. They reach what is on the same link."""
    return tuple(a.scoped for a in policy.choose(read_addresses()) if a.needs_scope)


def link_interfaces(policy: InterfacePolicy) -> tuple[int, ...]:
    """The interfaces that have an address which needs a scope, by number."""
    return tuple(dict.fromkeys(a.index for a in policy.choose(read_addresses()) if a.needs_scope))


def shown_addresses(policy: InterfacePolicy) -> tuple[str, ...]:
    """The addresses to tell others of. Those of a link only when there is no other, and without their
    scope, which is this computer's: whoever tries them puts its own."""
    usable = usable_addresses(policy)
    return usable or tuple(dict.fromkeys(a.partition("%")[0] for a in link_addresses(policy)))


def has_address(address: str) -> bool:
    """Whether an interface of this machine has this address right now; asks the kernel, a short call
    (or one for each interface, for an address that needs a scope)."""
    if ":" not in address:
        return _can_bind(socket.AF_INET, (address, 0))
    if not ipaddress.ip_address(address).is_link_local:
        return _can_bind(socket.AF_INET6, (address, 0))
    return any(_can_bind(socket.AF_INET6, (address, 0, 0, index)) for index, _ in socket.if_nameindex())


def _can_bind(family: socket.AddressFamily, address: tuple[str | int, ...]) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


class NetworkWatch:
    """Tells when the chosen addresses change, and when the computer woke up.

    Args:
        poll_s: how often to look, seconds; None follows what the system offers.
        news: hears from the kernel; its own when None.
        wall: seconds of a clock that goes on while the computer sleeps; a step of it counts
            as a sleep, which is harmless.

    Invariants:
    1. One poll at a time, in a thread, never on the event loop.
    2. Callbacks are told after the state is up to date, at most once per poll (damping).
    """

    def __init__(
        self,
        *,
        policy: InterfacePolicy,
        read: Callable[[], tuple[InterfaceAddress, ...]] = read_addresses,
        poll_s: float | None = None,
        news: KernelNews | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._read = read
        self._poll_s = poll_s
        self._news = news or KernelNews()
        self._wall = wall
        self._tasks = TaskSet("network watch")
        self._listeners: list[Callable[[], None]] = []
        self._current: tuple[InterfaceAddress, ...] = ()
        self._lost: frozenset[str] = frozenset()

    @property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """The chosen addresses as last polled, link-local ones included."""
        return self._current

    def has_address(self, address: str) -> bool:
        """Whether what was connected from this address may go on: the machine has it, and listeners that
        are told of a change just now are not told because it was gone meanwhile (another network often
        gives the very same)."""
        return address not in self._lost and has_address(address)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change; it only enqueues."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read once, then go on in the background."""
        self._news.start()
        self._current = await self._poll()
        self._tasks.spawn(self._run(), "poll")

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._tasks.close()
        self._news.close()

    async def _run(self) -> None:
        while True:
            before = self._wall()
            pause_s = self._pause_s()
            await self._wait(pause_s)
            fresh = await self._poll()
            has_slept = self._wall() - before > pause_s + SLEEP_S
            lost = self._news.take_lost() & {a.address for a in self._current}
            if fresh == self._current and not has_slept and not lost:
                continue
            self._current = fresh
            shown = ",".join(a.scoped for a in fresh) or "none"
            _log.info("network changed addresses=%s has_slept=%s", shown, has_slept)
            self._lost = lost
            for listener in self._listeners:
                listener()
            self._lost = frozenset()

    def _pause_s(self) -> float:
        if self._poll_s is not None:
            return self._poll_s
        return POLL_TOLD_S if self._news.is_heard else POLL_S

    async def _wait(self, pause_s: float) -> None:
        """Until there is news (and it has settled), or the pause is over."""
        try:
            async with asyncio.timeout(pause_s):
                await self._news.changed.wait()
                await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            return
        finally:
            self._news.changed.clear()

    async def _poll(self) -> tuple[InterfaceAddress, ...]:
        return self._policy.choose(await asyncio.to_thread(self._read))


def address_text(address: str | tuple[str, int, int]) -> str:
    """The text of what ifaddr gives, without an IPv6 scope."""
    return address if isinstance(address, str) else address[0].partition("%")[0]


def is_up(interface: str) -> bool:
    """Whether the link carries; systems that do not say are believed."""
    try:
        return (_SYS_NET / interface / "operstate").read_text().strip() in ("up", "unknown", "dormant")
    except OSError:
        return True
