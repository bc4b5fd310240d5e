"""Which addresses are used, and how a change is noticed (FAULTS N4)."""

from __future__ import annotations

import asyncio
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.discovery import kernel_news, network
from sheaf.discovery.kernel_news import KernelNews, lost_addresses
from sheaf.discovery.network import (
    InterfaceAddress,
    InterfacePolicy,
    NetworkWatch,
    link_addresses,
    link_interfaces,
    read_addresses,
    shown_addresses,
    usable_addresses,
)
from tests.support.channels import eventually

LO = InterfaceAddress("lo", 1, "127.0.0.1")
LO6 = InterfaceAddress("lo", 1, "::1")
WIFI = InterfaceAddress("wlan0", 3, "192.168.1.4")
WIFI6 = InterfaceAddress("wlan0", 3, "fd00::4")
LINK = InterfaceAddress("wlan0", 3, "fe80::4")
CABLE = InterfaceAddress("eth0", 2, "10.0.0.4")
DOCKER = InterfaceAddress("docker0", 9, "172.17.0.1")


def chosen(*present: InterfaceAddress, allowed: frozenset[str] | None = None) -> list[InterfaceAddress]:
    return list(InterfacePolicy(allowed=allowed).choose(present))


def test_real_interfaces_win_ipv4_first() -> None:
    assert chosen(WIFI6, LO, DOCKER, WIFI, CABLE, LINK) == [CABLE, WIFI, WIFI6, LINK]


def test_virtual_ones_count_when_there_is_nothing_else() -> None:
    assert chosen(LO, DOCKER) == [DOCKER]


def test_loopback_counts_when_there_is_nothing_at_all() -> None:
    assert chosen(LO6, LO) == [LO, LO6]
    assert chosen() == []


def test_a_link_local_address_is_enough() -> None:
    assert chosen(LO, LINK) == [LINK]
    assert chosen(LO, DOCKER, LINK) == [LINK]


def test_link_local_addresses_carry_the_scope_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = InterfacePolicy()
    monkeypatch.setattr(network, "read_addresses", lambda: (LO, LINK))
    assert usable_addresses(policy) == ()
    assert link_addresses(policy) == ("fe80::4%wlan0",)
    assert link_interfaces(policy) == (3,)
    assert shown_addresses(policy) == ("fe80::4",), "others put a scope of their own"
    monkeypatch.setattr(network, "read_addresses", lambda: (LO, LINK, WIFI))
    assert usable_addresses(policy) == shown_addresses(policy) == ("192.168.1.4",)


def test_an_allow_list_is_final() -> None:
    assert chosen(LO, WIFI, CABLE, DOCKER, allowed=frozenset({"docker0"})) == [DOCKER]
    assert chosen(LO, WIFI, allowed=frozenset({"eth7"})) == []


def test_reading_finds_loopback_on_any_machine() -> None:
    assert any(address.is_loopback for address in read_addresses())


def test_a_system_that_refuses_to_tell_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(network.ifaddr, "get_adapters", refuse)
    assert read_addresses() == ()


async def test_a_change_is_told_once_and_after_it_is_known() -> None:
    present = [LO, WIFI]
    seen: list[tuple[InterfaceAddress, ...]] = []
    watch = NetworkWatch(policy=InterfacePolicy(), read=lambda: tuple(present), poll_s=0.01)
    watch.on_change(lambda: seen.append(watch.addresses))
    await watch.start()
    assert watch.addresses == (WIFI,)
    present.append(CABLE)
    await eventually(lambda: seen == [(CABLE, WIFI)])
    present.remove(WIFI)
    await eventually(lambda: seen == [(CABLE, WIFI), (CABLE,)])
    await watch.close()
    tasks = len(asyncio.all_tasks())
    await watch.close()
    assert tasks == 1


async def test_n4_waking_up_counts_as_a_change() -> None:
    wall = [1000.0]
    told: list[bool] = []
    watch = NetworkWatch(policy=InterfacePolicy(), read=lambda: (WIFI,), poll_s=0.01, wall=lambda: wall[0])
    watch.on_change(lambda: told.append(True))
    await watch.start()
    await asyncio.sleep(0.05)
    assert not told
    wall[0] += 3600
    await eventually(lambda: told == [True])
    await watch.close()


async def test_n4_the_kernels_word_is_enough_no_poll_is_needed() -> None:
    present = [LO, WIFI]
    told: list[tuple[InterfaceAddress, ...]] = []
    news = KernelNews()
    watch = NetworkWatch(policy=InterfacePolicy(), read=lambda: tuple(present), poll_s=3600, news=news)
    watch.on_change(lambda: told.append(watch.addresses))
    await watch.start()
    present.append(CABLE)
    news.changed.set()
    await eventually(lambda: told == [(CABLE, WIFI)])
    await watch.close()


async def test_n4_the_same_address_on_another_network_is_a_change() -> None:
    told: list[bool] = []
    news, here = KernelNews(), InterfaceAddress("lo", 1, "127.0.0.1")
    watch = NetworkWatch(policy=InterfacePolicy(), read=lambda: (here,), poll_s=3600, news=news)
    watch.on_change(lambda: told.append(watch.has_address(here.address)))
    await watch.start()
    news._lost.add(DOCKER.address)
    news.changed.set()
    await asyncio.sleep(network.SETTLE_S + 0.1)
    assert not told
    news._lost.add(here.address)
    news.changed.set()
    await eventually(lambda: told == [False])
    assert watch.has_address(here.address)
    assert not watch.has_address("203.0.113.77")
    await watch.close()


def message(kind: int, body: bytes) -> bytes:
    raw = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return raw + bytes(-len(raw) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    raw = struct.pack("=HH", 4 + len(value), kind) + value
    return raw + bytes(-len(raw) % 4)


def test_n4_the_kernel_names_the_address_that_was_lost() -> None:
    about = struct.pack("=BBBBI", 2, 24, 0, 0, 3)
    four, six = ipaddress.ip_address("192.168.1.4").packed, ipaddress.ip_address("fd00::4").packed
    gone = about + attribute(3, b"eth0\0") + attribute(1, four) + attribute(2, four) + attribute(1, six)
    noise = message(16, bytes(30)) + message(20, gone)
    assert set(lost_addresses(noise + message(21, gone) + noise)) == {"192.168.1.4", "fd00::4"}
    assert set(lost_addresses(noise)) == set()


@given(st.binary(max_size=200))
def test_whatever_the_kernel_says_is_read_to_its_end(junk: bytes) -> None:
    for data in (junk, message(21, junk)):
        assert len(list(lost_addresses(data))) <= len(data) // 8


async def test_where_the_kernel_may_not_be_asked_polling_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(kernel_news.socket, "socket", refuse)
    news = KernelNews()
    news.start()
    assert not news.is_heard
    news.close()
