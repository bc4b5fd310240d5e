"""The contract of `Signaling`, on the LAN (a relay joins this suite when there is one)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import SIGNAL_BYTES_MAX
from sheaf.ports import Signaling, SignalRoute
from sheaf.signaling.lan import LanSignaling

ALICE, BOB, OTHER = (RendezvousId(letter * 16) for letter in (b"a", b"b", b"o"))
Message = tuple[RendezvousId, bytes, SignalRoute]


class Desk:
    """A signalling end and what came to it."""

    def __init__(self, signaling: Signaling, *rids: RendezvousId) -> None:
        self.signaling = signaling
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        signaling.set_handler(lambda rid, sealed, route: self.inbox.put_nowait((rid, sealed, route)))
        signaling.subscribe(rids)

    @property
    def address(self) -> str:
        assert self.signaling.listening is not None
        return self.signaling.listening

    async def next(self) -> Message:
        async with asyncio.timeout(5):
            return await self.inbox.get()


@pytest.fixture
async def desks() -> AsyncIterator[tuple[Desk, Desk]]:
    ends = LanSignaling(), LanSignaling()
    for end in ends:
        await end.listen("127.0.0.1", 0)
    yield Desk(ends[0], ALICE), Desk(ends[1], BOB)
    for end in ends:
        await end.close()


async def test_a_message_arrives_and_the_answer_comes_back_on_its_route(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    route = await alice.signaling.send(bob.address, BOB, b"question")
    assert route is not None
    assert route.address == bob.address
    rid, sealed, back = await bob.next()
    assert (rid, sealed, back.address) == (BOB, b"question", None)
    assert await bob.signaling.reply(back, ALICE, b"answer")
    rid, sealed, again = await alice.next()
    assert (rid, sealed, again.address) == (ALICE, b"answer", bob.address)
    assert await alice.signaling.reply(again, BOB, b"thanks")
    assert (await bob.next())[1] == b"thanks"


async def test_nobody_answers_to_an_unknown_rid(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    assert await alice.signaling.send(bob.address, OTHER, b"?") is None
    assert bob.inbox.empty()


async def test_the_subscription_is_replaced_as_a_whole(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    bob.signaling.subscribe([OTHER])
    assert await alice.signaling.send(bob.address, BOB, b"?") is None
    assert await alice.signaling.send(bob.address, OTHER, b"!") is not None
    assert (await bob.next())[0] == OTHER


async def test_an_answer_for_a_rid_that_is_not_mine_is_dropped(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    await alice.signaling.send(bob.address, BOB, b"question")
    _, _, back = await bob.next()
    await bob.signaling.reply(back, OTHER, b"for somebody else")
    await bob.signaling.reply(back, ALICE, b"for alice")
    assert (await alice.next())[1] == b"for alice"


async def test_messages_of_the_largest_size_pass(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    await alice.signaling.send(bob.address, BOB, bytes(SIGNAL_BYTES_MAX))
    _, sealed, back = await bob.next()
    assert sealed == bytes(SIGNAL_BYTES_MAX)
    assert await bob.signaling.reply(back, ALICE, bytes(SIGNAL_BYTES_MAX))
    assert (await alice.next())[1] == bytes(SIGNAL_BYTES_MAX)


async def test_many_messages_at_once_keep_their_answers_apart(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    wanted = [BOB if n % 3 else OTHER for n in range(60)]
    routes = await asyncio.gather(
        *(alice.signaling.send(bob.address, rid, b"%d" % n) for n, rid in enumerate(wanted))
    )
    assert [route is not None for route in routes] == [rid == BOB for rid in wanted]


async def test_an_address_where_nobody_listens_fails(desks: tuple[Desk, Desk]) -> None:
    with pytest.raises(TransportFailure):
        await desks[0].signaling.send("127.0.0.1:9", BOB, b"?")


async def test_replying_to_somebody_who_left_says_so(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    route = await alice.signaling.send(bob.address, BOB, b"question")
    assert route is not None
    _, _, back = await bob.next()
    await alice.signaling.close()
    async with asyncio.timeout(5):
        while await bob.signaling.reply(back, ALICE, b"anybody?"):  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
    assert not await alice.signaling.reply(route, BOB, b"closed here")


async def test_a_restarted_listener_is_dialled_again(desks: tuple[Desk, Desk]) -> None:
    alice, bob = desks
    await alice.signaling.send(bob.address, BOB, b"one")
    host, _, port = bob.address.rpartition(":")
    await bob.signaling.close()
    reborn = LanSignaling()
    await reborn.listen(host, int(port))
    desk = Desk(reborn, BOB)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await alice.signaling.send(desk.address, BOB, b"two") is not None
                break
            except TransportFailure:
                await asyncio.sleep(0)  # the old connection is only now found dead
    assert (await desk.next())[1] == b"two"
    await reborn.close()


async def test_closing_twice_is_harmless_and_ends_listening(desks: tuple[Desk, Desk]) -> None:
    alice, _ = desks
    await alice.signaling.close()
    await alice.signaling.close()
    assert alice.signaling.listening is None
