"""Which descriptions and candidates of a peer are believed (FAULTS N19)."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.limits import CANDIDATES_MAX
from sheaf.ports import Candidate, WebRtcDescription
from sheaf.transport.description import check_description, is_usable, usable_candidates

GOOD = Candidate(
    foundation="a1",
    component=1,
    protocol="udp",
    priority=2130706431,
    address="192.168.1.4",
    port=40000,
    kind="host",
)
OFFER = WebRtcDescription(
    ufrag="abcd",
    pwd="p" * 22,
    setup="actpass",
    sctp_port=5000,
    message_bytes_max=65536,
    fingerprint=bytes(32),
    candidates=(GOOD,),
)


def at(address: str, **changes: object) -> Candidate:
    return dataclasses.replace(GOOD, address=address, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["192.168.1.4", "10.0.0.1", "169.254.7.7", "203.0.113.9", "fd00::2", "2001:4860::1"]
)
def test_private_and_public_unicast_addresses_are_tried(address: str) -> None:
    assert is_usable(at(address), is_loopback_allowed=False)


def test_link_local_ipv6_is_tried_only_from_links_of_our_own_and_never_with_a_foreign_scope() -> None:
    assert not is_usable(at("fe80::1"), is_loopback_allowed=False)
    assert is_usable(at("fe80::1"), is_loopback_allowed=False, is_link_allowed=True)
    assert not is_usable(at("fe80::1%eth0"), is_loopback_allowed=False, is_link_allowed=True)
    assert usable_candidates([at("fe80::1")], is_loopback_allowed=True) == ()


@pytest.mark.parametrize(
    "address",
    [
        "224.0.0.251",
        "255.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "240.0.0.1",
        "ff02::fb",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:192.168.1.4",
        "localhost",
        "host.local",
        "192.168.001.004",
        "FD00::2",
        " 192.168.1.4",
        "",
        "192.168.1.4:80",
    ],
)
def test_n19_everything_but_literal_unicast_is_refused(address: str) -> None:
    assert not is_usable(at(address), is_loopback_allowed=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_counts_only_when_this_computer_has_nothing_else(address: str) -> None:
    assert not is_usable(at(address), is_loopback_allowed=False)
    assert is_usable(at(address), is_loopback_allowed=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 53},
        {"port": 1023},
        {"port": 65536},
        {"port": -1},
        {"component": 2},
        {"protocol": "tcp"},
        {"kind": "relay"},
        {"priority": -1},
        {"priority": 2**31},
        {"foundation": ""},
        {"foundation": "x" * 33},
        {"foundation": "a b"},
    ],
)
def test_candidates_out_of_range_are_not_tried(changes: dict[str, object]) -> None:
    assert not is_usable(at("192.168.1.4", **changes), is_loopback_allowed=False)


def test_n19_two_thousand_candidates_are_capped_and_doubles_dropped() -> None:
    many = [at(f"10.1.{n // 250}.{n % 250 + 1}") for n in range(2000)]
    assert len(usable_candidates(many, is_loopback_allowed=False)) == CANDIDATES_MAX
    assert len(usable_candidates([GOOD] * 20, is_loopback_allowed=False)) == 1
    with pytest.raises(ProtocolViolation):
        check_description(dataclasses.replace(OFFER, candidates=tuple(many)), setup="actpass")


def test_an_honest_offer_passes() -> None:
    check_description(OFFER, setup="actpass")


@pytest.mark.parametrize(
    "changes",
    [
        {"ufrag": "abc"},
        {"ufrag": "ab d"},
        {"ufrag": "abcd\r\na=fingerprint:sha-256 00"},
        {"pwd": "p" * 21},
        {"pwd": "p" * 257},
        {"setup": "active"},
        {"setup": "passive"},
        {"sctp_port": 0},
        {"sctp_port": 65536},
        {"message_bytes_max": 0},
        {"fingerprint": bytes(31)},
        {"fingerprint": b""},
    ],
)
def test_a_malformed_offer_is_the_peers_fault(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        check_description(dataclasses.replace(OFFER, **changes), setup="actpass")  # type: ignore[arg-type]


@given(
    address=st.one_of(st.text(max_size=40), st.ip_addresses().map(str)),
    port=st.integers(-10, 70000),
    kind=st.sampled_from(["host", "srflx", "relay", "prflx", ""]),
    foundation=st.text(max_size=40),
)
def test_any_candidate_is_either_refused_or_safe_to_send_to(
    address: str, port: int, kind: str, foundation: str
) -> None:
    candidate = at(address, port=port, kind=kind, foundation=foundation)
    if is_usable(candidate, is_loopback_allowed=False):
        parsed = ipaddress.ip_address(address)
        bad = (parsed.is_multicast, parsed.is_loopback, parsed.is_unspecified, parsed.is_reserved)
        assert not any(bad)
        assert 1024 <= port < 65536
