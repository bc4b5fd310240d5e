"""The contract of `Fleet`: nodes of one relay find each other's clients.

Each test runs with two nodes where there are any; `LocalFleet` is one node that is both.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.fleet import Fleet, LocalFleet
from sheaf.relay.nameplates import LIFE_S, SAYINGS_MAX
from sheaf.relay.nats_address import parse_nats_address
from sheaf.relay.nats_fleet import NatsFleet
from sheaf.relay.nats_link import NatsLink
from sheaf.relay.nats_words import node_subject, rendezvous_subject
from tests.support.daemon import eventually
from tests.support.nats import NatsServer, nats_server, needs_nats

RID, OTHER = RendezvousId(b"r" * 16), RendezvousId(b"o" * 16)
TOKEN = b"k" * 16


@dataclass
class Node:
    """A node as its fleet sees it: a `FleetListener` that writes down what it hears."""

    rids: set[RendezvousId] = field(default_factory=set)
    delivered: list[tuple[RendezvousId, bytes]] = field(default_factory=list)
    sides: list[tuple[str, int, object]] = field(default_factory=list)
    """(side, number, what was heard or why it was closed)."""

    def deliver(self, rid: RendezvousId, payload: bytes) -> bool:
        if rid in self.rids:
            self.delivered.append((rid, payload))
        return rid in self.rids

    def heard(self, side: str, number: int, payload: bytes) -> None:
        self.sides.append((side, number, payload))

    def nameplate_closed(self, side: str, number: int, code: RefusalCode) -> None:
        self.sides.append((side, number, code))

    def of(self, side: str) -> list[object]:
        return [what for name, _, what in self.sides if name == side]


@dataclass
class Two:
    """Two nodes of one relay (or one that is both), and their clock."""

    fleets: tuple[Fleet, Fleet]
    nodes: tuple[Node, Node]
    pass_time: Callable[[float], None]
    """Let so many seconds go by for nameplates."""

    async def subscribe(self, which: int, *rids: RendezvousId) -> None:
        fresh = [rid for rid in rids if rid not in self.nodes[which].rids]
        self.nodes[which].rids.update(rids)
        await self.fleets[which].subscribe(fresh)

    async def unsubscribe(self, which: int, *rids: RendezvousId) -> None:
        self.nodes[which].rids.difference_update(rids)
        await self.fleets[which].unsubscribe(list(rids))

    @property
    def are_one(self) -> bool:
        return self.fleets[0] is self.fleets[1]


@pytest.fixture(params=["local", pytest.param("nats", marks=needs_nats)])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    clock = [1000.0]

    def pass_time(seconds: float) -> None:
        clock[0] += seconds

    if request.param == "local":
        fleet, node = LocalFleet(now=lambda: clock[0], choose=random.Random(1).randrange), Node()
        await fleet.start(node)
        yield Two((fleet, fleet), (node, node), pass_time)
        await fleet.close()
        return
    with nats_server(tmp_path) as server:
        fleets, nodes = zip(*[nats_node(server.url, n, lambda: clock[0]) for n in range(2)], strict=True)
        for fleet, node in zip(fleets, nodes, strict=True):
            await fleet.start(node)
        yield Two(fleets, nodes, pass_time)
        for fleet in fleets:
            await fleet.close()


def nats_node(url: str, number: int, now: Callable[[], float]) -> tuple[NatsFleet, Node]:
    fleet = NatsFleet(
        link=NatsLink(address=parse_nats_address(url), name=f"node {number}"),
        node=f"node{number}",
        url=f"ws://node{number}.example",
        replicas=1,
        now=now,
        choose=random.Random(number).randrange,
    )
    return fleet, Node()


# ------------------------------------------------------------------ rendezvous


async def test_a_message_reaches_the_subscribers_at_any_node(two: Two) -> None:
    await two.subscribe(0, RID)
    for fleet in two.fleets:
        assert await fleet.send(RID, b"hello")
    await eventually(lambda: two.nodes[0].delivered == [(RID, b"hello")] * 2)


async def test_nobody_is_told_from_somebody(two: Two) -> None:
    await two.subscribe(0, RID)
    for fleet in two.fleets:
        assert not await fleet.send(OTHER, b"hello")
    await two.unsubscribe(0, RID)
    for fleet in two.fleets:
        assert not await fleet.send(RID, b"hello")
    assert two.nodes[0].delivered == []


async def test_messages_to_one_arrive_in_the_order_they_were_sent(two: Two) -> None:
    await two.subscribe(0, RID)
    for n in range(50):
        assert await two.fleets[1].send(RID, b"%d" % n)
    await eventually(lambda: len(two.nodes[0].delivered) == 50)
    assert [payload for _, payload in two.nodes[0].delivered] == [b"%d" % n for n in range(50)]


async def test_subscribers_at_two_nodes_all_have_it(two: Two) -> None:
    await two.subscribe(0, RID)
    await two.subscribe(1, RID)
    assert await two.fleets[1].send(RID, b"to all")
    for node in two.nodes:
        await eventually(lambda node=node: node.delivered == [(RID, b"to all")])


async def test_who_left_at_one_node_is_still_found_at_the_other(two: Two) -> None:
    await two.subscribe(0, RID, OTHER)
    await two.unsubscribe(0, OTHER)
    assert not await two.fleets[1].send(OTHER, b"x")
    assert await two.fleets[1].send(RID, b"y")


@needs_nats
async def test_nats_has_read_a_subscription_before_it_counts(tmp_path: Path) -> None:
    """Otherwise the first message after it may be lost: what NATS confirms must come after SUB."""
    with nats_server(tmp_path) as server:
        async with wiretap(server) as (said, url):
            fleet, node = nats_node(url, 0, lambda: 0.0)
            await fleet.start(node)
            assert_confirmed(said, node_subject("node0").encode())
            for number in range(20):
                rid = RendezvousId(number.to_bytes(16, "big"))
                del said[:]
                await fleet.subscribe([rid])
                assert_confirmed(said, rendezvous_subject(rid).encode())
            await fleet.close()


def assert_confirmed(said: bytearray, subject: bytes) -> None:
    """A PING, to which the answer was waited for, followed SUB."""
    assert said.index(b"SUB " + subject) < said.rindex(b"PING\r\n")


@asynccontextmanager
async def wiretap(server: NatsServer) -> AsyncIterator[tuple[bytearray, str]]:
    """What clients of `url` say to the server."""
    said = bytearray()
    port = int(server.url.rpartition(":")[2])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, upstream, said))
            group.create_task(pump(upstream_reader, writer, bytearray()))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield said, f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray) -> None:
    try:
        while data := await reader.read(65536):
            copy += data
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


# ------------------------------------------------------------------ nameplates


async def test_two_meet_at_a_number(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    assert 1 <= number <= 9
    await two.fleets[0].say(number, "ada", b"early")
    await two.fleets[1].claim_nameplate(number, "ben")
    await eventually(lambda: two.nodes[1].of("ben") == [b"early"])
    await two.fleets[1].say(number, "ben", b"hello")
    await eventually(lambda: two.nodes[0].of("ada") == [b"hello"])
    await two.fleets[0].say(number, "ada", b"good bye")
    await eventually(lambda: two.nodes[1].of("ben") == [b"early", b"good bye"])


async def test_numbers_are_given_once_and_small_ones_first(two: Two) -> None:
    numbers = [await two.fleets[n % 2].allocate_nameplate(f"side {n}") for n in range(30)]
    assert len(set(numbers)) == 30
    assert sorted(numbers[:9]) == list(range(1, 10))
    assert all(10 <= number <= 99 for number in numbers[9:])


async def test_a_number_that_nobody_holds_is_gone(two: Two) -> None:
    for fleet in two.fleets:
        assert await refused(fleet.claim_nameplate(77, "ben")) is RefusalCode.GONE


async def test_ones_own_number_is_not_for_oneself(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    assert await refused(two.fleets[0].claim_nameplate(number, "ada")) is RefusalCode.GONE
    await two.fleets[1].claim_nameplate(number, "ben")


async def test_a_third_makes_the_number_worthless_for_all(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    await two.fleets[1].claim_nameplate(number, "ben")
    assert await refused(two.fleets[1].claim_nameplate(number, "eve")) is RefusalCode.CROWDED
    await eventually(lambda: two.nodes[0].of("ada") == [RefusalCode.CROWDED])
    await eventually(lambda: two.nodes[1].of("ben") == [RefusalCode.CROWDED])
    await two.fleets[0].say(number, "ada", b"still there?")
    for fleet in two.fleets:
        assert await refused(fleet.claim_nameplate(number, "eve")) is RefusalCode.CROWDED
    assert two.nodes[1].of("ben") == [RefusalCode.CROWDED]
    assert two.nodes[1].of("eve") == []


@pytest.mark.parametrize("first", [0, 1])
async def test_when_one_side_leaves_the_other_is_told_after_what_was_said(two: Two, first: int) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    await two.fleets[1].claim_nameplate(number, "ben")
    sides = ("ada", "ben")
    leaving, staying = sides[first], sides[1 - first]
    await two.fleets[first].say(number, leaving, b"last words")
    await two.fleets[first].release_nameplate(number, leaving)
    await eventually(
        lambda: two.nodes[1 - first].of(staying) == [b"last words", RefusalCode.GONE], what="the end is told"
    )
    assert two.nodes[first].of(leaving) == []
    assert await refused(two.fleets[1].claim_nameplate(number, "eve")) is RefusalCode.GONE


async def test_a_released_number_is_not_given_to_others_for_a_while(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    await two.fleets[0].release_nameplate(number, "ada")
    assert await refused(two.fleets[1].claim_nameplate(number, "late")) is RefusalCode.GONE
    numbers = [await two.fleets[n % 2].allocate_nameplate(f"side {n}") for n in range(20)]
    assert number not in numbers


async def test_strangers_cannot_speak_or_release(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    await two.fleets[1].claim_nameplate(number, "ben")
    await two.fleets[1].say(number, "eve", b"psst")
    await two.fleets[1].release_nameplate(number, "eve")
    await two.fleets[1].say(number, "ben", b"hello")
    await eventually(lambda: two.nodes[0].of("ada") == [b"hello"])


async def test_only_so_much_waits_for_a_side_that_has_not_come(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    for n in range(SAYINGS_MAX):
        await two.fleets[0].say(number, "ada", b"%d" % n)
    assert await refused(two.fleets[0].say(number, "ada", b"one more")) is RefusalCode.RATE
    await two.fleets[1].claim_nameplate(number, "ben")
    await eventually(lambda: two.nodes[1].of("ben") == [b"%d" % n for n in range(SAYINGS_MAX)])


async def test_after_ten_minutes_it_is_over(two: Two) -> None:
    number = await two.fleets[0].allocate_nameplate("ada")
    await two.fleets[1].claim_nameplate(number, "ben")
    two.pass_time(LIFE_S + 1)
    for fleet in two.fleets:
        await fleet.tick()
    await eventually(lambda: two.nodes[0].of("ada") == [RefusalCode.GONE])
    await eventually(lambda: two.nodes[1].of("ben") == [RefusalCode.GONE])
    assert await refused(two.fleets[1].claim_nameplate(number, "late")) is RefusalCode.GONE


# ------------------------------------------------------------------ tunnels


async def test_both_sides_of_a_tunnel_are_led_to_one_node(two: Two) -> None:
    assert await two.fleets[0].hold_tunnel(TOKEN) is None
    elsewhere = await two.fleets[1].hold_tunnel(TOKEN)
    assert (elsewhere is None) == two.are_one
    await two.fleets[0].drop_tunnel(TOKEN)


async def test_of_two_who_come_at_once_at_most_one_is_sent_away(two: Two) -> None:
    urls = await asyncio.gather(*[fleet.hold_tunnel(TOKEN) for fleet in two.fleets])
    assert None in urls
    assert two.are_one or len([url for url in urls if url is not None]) == 1


async def test_a_tunnel_that_was_given_up_binds_nobody(two: Two) -> None:
    assert await two.fleets[0].hold_tunnel(TOKEN) is None
    await two.fleets[0].drop_tunnel(TOKEN)

    async def is_free() -> bool:
        url = await two.fleets[1].hold_tunnel(TOKEN)
        await two.fleets[1].drop_tunnel(TOKEN)
        return url is None

    await eventually(is_free)


async def test_a_fleet_that_works_says_so(two: Two) -> None:
    assert all(fleet.is_up for fleet in two.fleets)


async def refused(request: object) -> RefusalCode:
    assert asyncio.iscoroutine(request)
    with pytest.raises(RelayRefused) as refusal:
        await request
    return refusal.value.code
