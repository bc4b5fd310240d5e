"""What one relay bears from one connection and one address."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sheaf.relay.limits import Addresses, Budget, RelayLimits, address_key

LIMITS = replace(RelayLimits(), connections_per_address_max=3, handshakes_burst=10, handshakes_per_min=60)


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=60))
def test_nobody_spends_more_than_the_burst_and_the_rate(spendings: list[tuple[float, float]]) -> None:
    budget, now, spent = Budget(burst=100, now=0), 0.0, 0.0
    for cost, pause in spendings:
        now += pause
        if budget.afford(cost, now, burst=100, per_s=2):
            spent += cost
        assert spent <= 100 + 2 * now + 1e-6


def test_who_goes_into_debt_waits_until_it_is_paid() -> None:
    budget = Budget(burst=10, now=0)
    assert budget.spend(10, 0, burst=10, per_s=2) == 0.0
    assert budget.spend(4, 0, burst=10, per_s=2) == 2.0
    assert budget.spend(0, 2, burst=10, per_s=2) == 0.0


def test_connections_are_bounded_per_address_and_given_back() -> None:
    addresses = Addresses(limits=LIMITS, now=Clock().now)
    assert [addresses.admit("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert addresses.admit("192.0.2.2")
    addresses.leave("192.0.2.1")
    assert addresses.admit("192.0.2.1")


def test_handshakes_are_bounded_per_address_over_time() -> None:
    clock = Clock()
    addresses = Addresses(limits=LIMITS, now=clock.now)

    def knock(times: int) -> int:
        admitted = 0
        for _ in range(times):
            if addresses.admit("192.0.2.1"):
                addresses.leave("192.0.2.1")
                admitted += 1
        return admitted

    assert knock(30) == 10
    clock.at += 5
    assert knock(30) == 5


def test_all_addresses_of_a_v6_network_count_as_one() -> None:
    addresses = Addresses(limits=LIMITS, now=Clock().now)
    assert [addresses.admit(f"2001:db8::{n}") for n in range(4)] == [True, True, True, False]
    assert addresses.admit("2001:db8:0:1::1")
    assert address_key("fe80::1%eth0") == "fe80::/64"


def test_this_machine_is_not_counted_unless_asked_for() -> None:
    trusting = Addresses(limits=LIMITS, now=Clock().now)
    assert all(trusting.admit("127.0.0.1") for _ in range(100))
    strict = Addresses(limits=replace(LIMITS, trusts_local=False), now=Clock().now)
    assert sum(strict.admit("127.0.0.1") for _ in range(100)) == 3


def test_nameplates_and_stored_bytes_have_budgets_of_their_own() -> None:
    limits = replace(LIMITS, nameplates_burst=2, stored_bytes_burst=1000)
    addresses = Addresses(limits=limits, now=Clock().now)
    assert [addresses.may_use_nameplate("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [addresses.may_store("192.0.2.1", 400) for _ in range(3)] == [True, True, False]
    assert addresses.may_use_nameplate("192.0.2.2")
    assert addresses.may_store("192.0.2.2", 1000)


def test_only_so_many_addresses_are_remembered_and_those_connected_first_of_all() -> None:
    clock = Clock()
    addresses = Addresses(limits=LIMITS, now=clock.now)
    for _ in range(3):
        assert addresses.admit("192.0.2.1")
    for n in range(40_000):
        assert addresses.admit(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        addresses.leave(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(addresses) <= 2 * 8192
    assert not addresses.admit("192.0.2.1"), "its connections are still counted"
