"""Which relays a daemon uses, for whom, and what each is told (PROTOCOL §6, §7)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sheaf.core.base.errors import NotAllowed, UsageError
from sheaf.core.space.roles import Role
from sheaf.core.wire.ticket import RELAYS_MAX, Ticket
from sheaf.node.node import Node
from sheaf.node.relay_book import RelayBook
from tests.support.memory_network import MemoryLan
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nodes import Machine, join, machine, running, until

OWN, TEAM, THIRD = "wss://own.example", "wss://team.example", "wss://third.example"


def with_relays(each: Machine, *own: str) -> Machine:
    each.relays = MemoryRelayPool(*(RelayBox(url) for url in (OWN, TEAM, THIRD)))
    each.own_relays = own
    return each


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Machine, Machine, Node, Node]]:
    """Ann, started with a relay of her own, and Bob, started without."""
    lan = MemoryLan()
    ann, bob = with_relays(machine(lan, "ann"), OWN), with_relays(machine(lan, "bob"))
    async with running(ann, bob) as (one, two):
        yield ann, bob, one, two


def used(node: Node) -> list[str]:
    return [status.url for status in node.status().relays]


def book(node: Node) -> RelayBook:
    return node._relays


async def test_an_owner_lets_new_spaces_use_her_relay_and_members_follow(
    pair: tuple[Machine, Machine, Node, Node],
) -> None:
    _, _, ann, bob = pair
    space = await ann.create_space("Home")
    assert ann.space(space.space_id).relay_urls == (OWN,)
    assert used(bob) == []
    await join(ann, bob, space.space_id)
    await until(lambda: used(bob) == [OWN])
    assert bob.space(space.space_id).relay_urls == (OWN,)
    assert used(ann) == [OWN]


async def test_a_relay_that_was_taken_out_stays_out_after_a_restart() -> None:
    ann = with_relays(machine(MemoryLan(), "ann"), OWN)
    async with running(ann) as (node,):
        space = await node.create_space("Home")
        await node.set_relays(space.space_id, [])
        assert node.space(space.space_id).relay_urls == ()
    with_relays(ann, OWN, TEAM)
    async with running(ann) as (node,):
        await until(lambda: node.space(space.space_id).relay_urls == (TEAM,))  # offered for the first time


async def test_a_ticket_names_the_relays_and_no_token(pair: tuple[Machine, Machine, Node, Node]) -> None:
    _, _, ann, _ = pair
    space = await ann.create_space("Home")
    await ann.set_relays(space.space_id, [TEAM])
    view = await ann.create_invitation(space.space_id, role=Role.EDITOR, expires_in_s=None, max_uses=1)
    assert view.ticket is not None
    assert Ticket.decode(view.ticket).relay_urls == (TEAM, OWN)


@pytest.mark.parametrize(
    "urls",
    [["https://x.example"], ["wss://token@x.example"], ["x"], [f"wss://r{n}.example" for n in range(9)]],
    ids=["not a relay", "a token", "junk", "too many"],
)
async def test_what_cannot_be_a_spaces_relays_changes_nothing(
    pair: tuple[Machine, Machine, Node, Node], urls: list[str]
) -> None:
    _, _, ann, _ = pair
    space = await ann.create_space("Home")
    with pytest.raises(UsageError) as refusal:
        await ann.set_relays(space.space_id, urls)
    assert "token@" not in str(refusal.value)
    assert ann.space(space.space_id).relay_urls == (OWN,)


async def test_the_same_relay_written_in_two_ways_is_one(pair: tuple[Machine, Machine, Node, Node]) -> None:
    _, _, ann, _ = pair
    space = await ann.create_space("Home")
    changed = await ann.set_relays(space.space_id, ["wss://TEAM.example:443/sheaf", TEAM])
    assert changed.relay_urls == (TEAM,)


async def test_only_owners_choose(pair: tuple[Machine, Machine, Node, Node]) -> None:
    _, _, ann, bob = pair
    space = await ann.create_space("Home")
    await join(ann, bob, space.space_id)
    with pytest.raises(NotAllowed):
        await bob.set_relays(space.space_id, [TEAM])


async def test_a_space_has_at_most_four_however_many_the_daemon_has() -> None:
    urls = [f"wss://r{n}.example" for n in range(7)]
    ann = with_relays(machine(MemoryLan(), "ann"), *urls)
    async with running(ann) as (node,):
        space = await node.create_space("Home")
        assert node.space(space.space_id).relay_urls == tuple(urls[:RELAYS_MAX])


async def test_each_relay_is_told_only_the_names_that_belong_to_it(
    pair: tuple[Machine, Machine, Node, Node],
) -> None:
    _, _, ann, bob = pair
    home, club = await ann.create_space("Home"), await ann.create_space("Club")
    for space in (home, club):
        await join(ann, bob, space.space_id)
    await ann.set_relays(home.space_id, [TEAM])
    await ann.set_relays(club.space_id, [THIRD])
    await until(lambda: set(used(bob)) == {TEAM, THIRD})
    names = book(bob).names({})
    own = bob._identity.device.device_id
    for space, url in ((home, TEAM), (club, THIRD)):
        host = bob._library.host(space.space_id)
        assert names[url] == host.space.rendezvous_ids(own)
    rid = names[TEAM][0]  # an answer is awaited at the relay the question went over, before all else
    assert book(bob).names({rid: THIRD})[THIRD][0] == rid


async def test_a_relay_that_is_held_is_used_until_it_is_let_go(
    pair: tuple[Machine, Machine, Node, Node],
) -> None:
    _, _, _, bob = pair
    first, second = book(bob).hold(THIRD), book(bob).hold(THIRD)
    assert used(bob) == [THIRD]
    first()
    first()
    assert used(bob) == [THIRD]
    second()
    assert used(bob) == []


async def test_members_are_met_at_connected_relays_of_common_spaces_only(
    pair: tuple[Machine, Machine, Node, Node],
) -> None:
    _, bob_machine, ann, bob = pair
    space = await ann.create_space("Home")
    await join(ann, bob, space.space_id)
    await until(lambda: used(bob) == [OWN])
    ann_device = ann._identity.device.device_id
    assert book(bob).meeting_places() == {ann_device: [OWN]}
    pool = bob_machine.relays
    assert isinstance(pool, MemoryRelayPool)
    pool._boxes[OWN].switch(is_up=False)
    assert book(bob).meeting_places() == {}


async def test_what_a_space_says_is_not_believed_blindly(pair: tuple[Machine, Machine, Node, Node]) -> None:
    """An owner with another Sheaf may have written anything."""
    _, _, ann, _ = pair
    space = await ann.create_space("Home")
    host = ann._library.host(space.space_id)
    await book(ann)._write(host, ["file:///etc/passwd", "wss://token@evil.example", TEAM])
    assert book(ann).of_space(host) == (OWN, TEAM)
