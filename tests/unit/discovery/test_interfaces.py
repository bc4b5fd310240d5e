"""Which interfaces are used is told with the reason, by the same policy that chooses."""

from __future__ import annotations

import pytest

from sheaf.discovery.interfaces import Interface, describe_interfaces, read_interfaces
from sheaf.discovery.network import InterfaceAddress, InterfacePolicy
from sheaf.ports import InterfaceStatus


def interface(name: str, *addresses: str, is_up: bool = True) -> Interface:
    return Interface(name, is_up, tuple(InterfaceAddress(name, 1, address) for address in addresses))


LOOPBACK = interface("lo", "127.0.0.1", "::1")
WIFI = interface("wlan0", "192.168.1.4", "fe80::4", "2001:db8::4")
DOCKER = interface("docker0", "172.17.0.1")
CABLE = interface("eth0", "10.0.0.4", is_up=False)


def described(*interfaces: Interface, allowed: frozenset[str] | None = None) -> dict[str, InterfaceStatus]:
    policy = InterfacePolicy(allowed=allowed)
    return {status.name: status for status in describe_interfaces(policy, read=lambda: interfaces)}


def used(found: dict[str, InterfaceStatus]) -> set[str]:
    return {name for name, status in found.items() if status.is_used}


def test_a_laptop_with_wifi_uses_it_and_says_why_not_the_others() -> None:
    found = described(LOOPBACK, DOCKER, CABLE, WIFI)
    assert list(found) == ["wlan0", "docker0", "eth0", "lo"]
    assert used(found) == {"wlan0"}
    assert found["wlan0"].addresses == ("192.168.1.4", "fe80::4", "2001:db8::4")
    assert "containers" in found["docker0"].reason
    assert "down" in found["eth0"].reason
    assert "this computer only" in found["lo"].reason


def test_what_is_all_there_is_is_used() -> None:
    assert used(described(LOOPBACK, CABLE)) == {"lo"}
    assert used(described(LOOPBACK, DOCKER)) == {"docker0"}
    assert "virtual" in described(LOOPBACK, DOCKER)["docker0"].reason


@pytest.mark.parametrize("address", ["fe80::1", "169.254.7.7"])
def test_a_link_local_address_is_enough_and_is_named(address: str) -> None:
    found = described(LOOPBACK, DOCKER, interface("usb0", address))
    assert used(found) == {"usb0"}
    assert "same cable" in found["usb0"].reason


def test_an_interface_that_is_not_allowed_is_said_to_be_so() -> None:
    found = described(LOOPBACK, WIFI, DOCKER, allowed=frozenset({"docker0"}))
    assert used(found) == {"docker0"}
    assert "allowed" in found["wlan0"].reason


def test_this_machine_has_a_loopback_interface() -> None:
    assert any("127.0.0.1" in (a.address for a in each.addresses) for each in read_interfaces())
