"""What is remembered of what was seen (FAULTS N18)."""

from __future__ import annotations

import os

from zeroconf import ServiceInfo

from sheaf.discovery.sightings import SERVICE_TYPE, SIGHTINGS_MAX, SightingTable, read_info
from sheaf.discovery.txt import TAGS_MAX, build_txt
from sheaf.ports import Sighting

NONCE = bytes(12)
PADDING = [os.urandom(6) for _ in range(TAGS_MAX)]


def sighting(instance: str = "abc", tags: frozenset[bytes] = frozenset()) -> Sighting:
    return Sighting(instance, NONCE, tags, ("192.168.1.4:4000",))


def info(addresses: list[str], *, port: int = 4000, text: bytes | None = None) -> ServiceInfo:
    return ServiceInfo(
        SERVICE_TYPE,
        f"abc.{SERVICE_TYPE}",
        port=port,
        properties=text if text is not None else build_txt(NONCE, [b"tagtag"], PADDING),
        server="host.local.",
        parsed_addresses=addresses,
    )


def test_a_sighting_is_told_once_and_again_when_it_changes() -> None:
    told: list[Sighting] = []
    table = SightingTable(own_instance="me", emit=told.append)
    table.seen(sighting())
    table.seen(sighting())
    table.seen(sighting(tags=frozenset({b"newtag"})))
    table.gone(f"abc.{SERVICE_TYPE}")
    table.gone(f"abc.{SERVICE_TYPE}")
    assert [(s.tags, s.is_gone) for s in told] == [
        (frozenset(), False),
        (frozenset({b"newtag"}), False),
        (frozenset({b"newtag"}), True),
    ]


def test_my_own_announcement_is_not_told() -> None:
    told: list[Sighting] = []
    table = SightingTable(own_instance="me", emit=told.append)
    table.seen(sighting("me"))
    assert told == []
    assert table.is_own(f"me.{SERVICE_TYPE}")


def test_n18_a_thousand_fakes_are_capped_and_make_room_when_they_go() -> None:
    told: list[Sighting] = []
    table = SightingTable(own_instance="me", emit=told.append)
    for number in range(1000):
        table.seen(sighting(f"fake{number}"))
    assert len(told) == SIGHTINGS_MAX
    table.seen(sighting("fake3", frozenset({b"change"})))
    assert len(told) == SIGHTINGS_MAX + 1
    table.gone(f"fake3.{SERVICE_TYPE}")
    table.seen(sighting("honest"))
    assert told[-1].instance == "honest"


def test_addresses_are_sorted_bounded_and_only_of_hosts() -> None:
    read = read_info(
        info(["fd00::2", "10.0.0.9", "10.0.0.1", "224.0.0.1", "0.0.0.0", "fe80::1", "127.0.0.1"]),
        is_loopback_allowed=False,
    )
    assert read is not None
    assert read.addresses == ("10.0.0.1:4000", "10.0.0.9:4000", "[fd00::2]:4000")
    assert b"tagtag" in read.tags
    many = read_info(info([f"10.0.0.{n}" for n in range(1, 200)]), is_loopback_allowed=False)
    assert many is not None
    assert len(many.addresses) == 16


def test_loopback_counts_only_when_there_is_nothing_else() -> None:
    assert read_info(info(["127.0.0.1"]), is_loopback_allowed=False) is None
    alone = read_info(info(["127.0.0.1", "::1"]), is_loopback_allowed=True)
    assert alone is not None
    assert alone.addresses == ("127.0.0.1:4000", "[::1]:4000")


def test_records_that_are_not_sheafs_are_passed_over() -> None:
    assert read_info(info(["10.0.0.1"], text=b"\x03a=b"), is_loopback_allowed=False) is None
    assert read_info(info(["10.0.0.1"], port=22), is_loopback_allowed=False) is None
    assert read_info(info([]), is_loopback_allowed=False) is None
