"""Describes the network interfaces for people: which are used, and why the others are not.

The same policy that chooses addresses (`discovery.network`) is asked, so what is said here is what is
done. Knows nothing of peers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import ifaddr

from sheaf.discovery.network import InterfaceAddress, InterfacePolicy, address_text, is_up
from sheaf.ports import InterfaceStatus


@dataclass(frozen=True, slots=True)
class Interface:
    """What the system says of one interface."""

    name: str
    is_up: bool
    addresses: tuple[InterfaceAddress, ...]


def read_interfaces() -> tuple[Interface, ...]:
    """Every interface that has an address, up or not; () when the system does not tell."""
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:
        return ()
    return tuple(
        Interface(
            name,
            is_up(name),
            tuple(InterfaceAddress(name, adapter.index or 0, address_text(ip.ip)) for ip in adapter.ips),
        )
        for adapter in adapters
        if adapter.ips and (name := str(adapter.name))
    )


def describe_interfaces(
    policy: InterfacePolicy, *, read: Callable[[], Iterable[Interface]] = read_interfaces
) -> tuple[InterfaceStatus, ...]:
    """All of them, the used ones first, each with the reason."""
    found = list(read())
    used = {a.interface for a in policy.choose(a for each in found if each.is_up for a in each.addresses)}
    described = [_describe(each, policy, each.name in used) for each in found]
    return tuple(sorted(described, key=lambda status: (not status.is_used, status.name)))


def _describe(interface: Interface, policy: InterfacePolicy, is_used: bool) -> InterfaceStatus:
    addresses = tuple(dict.fromkeys(a.address for a in interface.addresses))
    return InterfaceStatus(interface.name, addresses, is_used, _reason(interface, policy, is_used))


def _reason(interface: Interface, policy: InterfacePolicy, is_used: bool) -> str:
    is_loopback = all(a.is_loopback for a in interface.addresses)
    is_virtual = interface.name.startswith(policy.virtual_prefixes)
    if is_used:
        if is_loopback:
            return "there is no other; it reaches this computer only"
        if is_virtual:
            return "there is no other but virtual ones"
        if all(_is_link_local(a.address) for a in interface.addresses):
            return "it is up, with a link-local address: it reaches what is on the same cable or switch"
        return "it is up and has an address"
    if not interface.is_up:
        return "it is down: no cable, no Wi-Fi, or switched off"
    if policy.allowed is not None and interface.name not in policy.allowed:
        return "it is not among the allowed ones"
    if is_loopback:
        return "it reaches this computer only"
    return "it belongs to containers or virtual machines; others cannot reach it"


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_address(address).is_link_local
