"""Three relay processes on one nats-server, behind a proxy that deals connections out in turn (FAULTS A9).

Clients never choose a node. Nodes are killed, NATS is killed and loses everything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Deliver,
    Nobody,
    Ping,
    Pong,
    Refused,
    Send,
    Sent,
    Sub,
    TunnelElsewhere,
    TunnelJoin,
    TunnelJoined,
)
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStored,
    MailboxWatch,
    NameplateAllocate,
    NameplateClaim,
    NameplateClosed,
    NameplateHeard,
    NameplateHeld,
    NameplateSay,
)
from sheaf.core.wire.relay_words import RefusalCode
from sheaf.relay.store import NO_INCARNATION
from tests.support.daemon import eventually
from tests.support.fleet import RECOVERY_S, Fleet, running_fleet
from tests.support.nats import needs_nats
from tests.support.relay import FrameClient, RelayProcess, frame_client

pytestmark = [pytest.mark.e2e, needs_nats]

ADA, BEN = RendezvousId(b"a" * 16), RendezvousId(b"b" * 16)
BOX, TOKEN = b"m" * 16, b"t" * 32


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet to which nobody does any harm, so that several tests can share it."""
    with running_fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of one's own."""
    with running_fleet(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def clients(fleet: Fleet, count: int) -> AsyncIterator[list[FrameClient]]:
    """So many clients, each at another node as long as there are enough."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(frame_client(fleet.url)) for _ in range(count)]
        assert len(set(fleet.proxy.served[-count:])) == min(count, len(fleet.nodes))
        yield made


async def subscribe(client: FrameClient, rid: RendezvousId) -> None:
    """SUB, and wait until it is in force: frames are served in order."""
    await client.send(Sub((rid,)))
    await client.ask(Ping(), Pong)


async def put(client: FrameClient, item: bytes) -> MailboxStored:
    return await client.ask(MailboxPut(1, BOX, TOKEN, item), MailboxStored)


async def items(client: FrameClient) -> list[bytes]:
    page = await client.ask(MailboxGet(2, BOX, TOKEN, 0, 100_000), MailboxItems)
    return [data for _, data in page.items]


async def reconnected(fleet: Fleet, stack: contextlib.AsyncExitStack) -> FrameClient:
    """A new connection, as a client makes it that has lost one: tried until a node takes it."""
    async with asyncio.timeout(RECOVERY_S):
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                return await stack.enter_async_context(frame_client(fleet.url))
            await asyncio.sleep(0.1)


# ------------------------------------------------------------------ one relay, whatever the node


async def test_clients_at_different_nodes_reach_each_other(sound: Fleet) -> None:
    async with clients(sound, 3) as (ada, ben, eve):
        await subscribe(ada, ADA)
        await subscribe(ben, BEN)
        for sender, rid, receiver in ((ben, ADA, ada), (ada, BEN, ben), (eve, ADA, ada), (eve, BEN, ben)):
            await sender.ask(Send(rid, b"sealed"), Sent)
            assert await receiver.expect(Deliver) == Deliver(rid, b"sealed")
        await eve.ask(Send(RendezvousId(b"e" * 16), b"sealed"), Nobody)
        await ada.connection.close()
        first_node = sound.node_of(sound.proxy.served[-3])
        await eventually(lambda: first_node.metrics()["sheaf_relay_connections"] == 0)
        await eve.ask(Send(ADA, b"sealed"), Nobody)


async def test_two_at_different_nodes_meet_at_a_number(sound: Fleet) -> None:
    async with clients(sound, 3) as (ada, ben, eve):
        held = await ada.ask(NameplateAllocate(1), NameplateHeld)
        await ada.send(NameplateSay(held.number, b"early"))
        assert await ben.ask(NameplateClaim(2, held.number), NameplateHeld) == NameplateHeld(2, held.number)
        assert await ben.expect(NameplateHeard) == NameplateHeard(held.number, b"early")
        await ben.send(NameplateSay(held.number, b"hello"))
        assert await ada.expect(NameplateHeard) == NameplateHeard(held.number, b"hello")
        crowded = await eve.ask(NameplateClaim(3, held.number), Refused)
        assert crowded.code is RefusalCode.CROWDED
        for side in (ada, ben):
            assert await side.expect(NameplateClosed) == NameplateClosed(held.number, RefusalCode.CROWDED)


@pytest.mark.parametrize("at_once", [False, True])
async def test_the_two_sides_of_a_tunnel_are_led_to_one_node(sound: Fleet, at_once: bool) -> None:
    token = bytes([at_once]) * 16
    async with clients(sound, 2) as both, contextlib.AsyncExitStack() as stack:
        nodes = [sound.node_of(port) for port in sound.proxy.served[-2:]]
        await both[0].send(TunnelJoin(token))
        if not at_once:
            await eventually(lambda: nodes[0].metrics()["sheaf_relay_tunnels_waiting"] == 1)
        await both[1].send(TunnelJoin(token))
        waits = [asyncio.ensure_future(client.receive()) for client in both]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        leaving = 0 if waits[0].done() else 1
        assert waits[leaving].result() == TunnelElsewhere(nodes[1 - leaving].url)
        again = await stack.enter_async_context(frame_client(nodes[1 - leaving].url))
        await again.ask(TunnelJoin(token), TunnelJoined)
        assert await waits[1 - leaving] == TunnelJoined()
        for sender, receiver in ((both[1 - leaving], again), (again, both[1 - leaving])):
            await sender.connection.send(b"raw bytes")
            assert await receiver.receive_raw() == b"raw bytes"


async def test_a_mailbox_is_the_same_at_every_node_and_its_news_come_to_all(sound: Fleet) -> None:
    async with clients(sound, 3) as (ada, ben, eve):
        nothing = await ben.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews)
        assert (nothing.last, nothing.incarnation) == (0, NO_INCARNATION)
        first = await put(ada, b"one")
        assert await ben.expect(MailboxNews) == MailboxNews(BOX, first.incarnation, first.position)
        assert await put(eve, b"one") == first
        second = await put(eve, b"two")
        assert await ben.expect(MailboxNews) == MailboxNews(BOX, first.incarnation, second.position)
        for client in (ada, ben, eve):
            assert await items(client) == [b"one", b"two"]
        wrong = await ada.ask(MailboxGet(9, BOX, b"x" * 32, 0, 1000), Refused)
        assert wrong.code is RefusalCode.WRONG_TOKEN


# ------------------------------------------------------------------ faults


async def test_clients_of_a_node_that_is_killed_go_on_at_another(fleet: Fleet) -> None:
    async with clients(fleet, 2) as (ada, ben), contextlib.AsyncExitStack() as stack:
        lost = fleet.node_of_last()
        await subscribe(ada, ADA)
        await subscribe(ben, BEN)
        before = await put(ben, b"one")
        held = await ada.ask(NameplateAllocate(3), NameplateHeld)
        await ben.ask(NameplateClaim(4, held.number), NameplateHeld)
        lost.kill()
        await ben.ended()
        assert await ada.expect(NameplateClosed) == NameplateClosed(held.number, RefusalCode.GONE)
        await ada.ask(Send(BEN, b"anybody?"), Nobody)
        back = await reconnected(fleet, stack)
        assert fleet.node_of_last() is not lost
        await subscribe(back, BEN)
        await ada.ask(Send(BEN, b"there you are"), Sent)
        assert await back.expect(Deliver) == Deliver(BEN, b"there you are")
        assert await put(back, b"one") == before
        assert await items(ada) == [b"one"]


async def test_while_nats_is_away_each_node_serves_its_own_and_says_what_is_wrong(fleet: Fleet) -> None:
    async with clients(fleet, 1) as (ada,), contextlib.AsyncExitStack() as stack:
        await subscribe(ada, ADA)
        await put(ada, b"one")
        fleet.nats.kill()
        here = fleet.node_of_last()
        await eventually(lambda: here.http("/healthz") == (503, "store out of reach\n"), timeout_s=RECOVERY_S)
        beside = await stack.enter_async_context(frame_client(here.url))
        await beside.ask(Send(ADA, b"still here"), Sent)
        assert await ada.expect(Deliver) == Deliver(ADA, b"still here")
        for request in (
            MailboxPut(5, BOX, TOKEN, b"two"),
            MailboxGet(5, BOX, TOKEN, 0, 1000),
            NameplateAllocate(5),
        ):
            assert await ada.ask(request, Refused) == Refused(5, RefusalCode.UNAVAILABLE)
        fleet.nats.start()
        await fleet.are_healthy()
        assert await items(ada) == [b"one"]
        other = await reconnected(fleet, stack)
        assert fleet.node_of_last() is not here
        await other.ask(Send(ADA, b"and everywhere"), Sent)


async def test_when_nats_loses_everything_the_fleet_goes_on_and_clients_are_told(fleet: Fleet) -> None:
    async with clients(fleet, 2) as (ada, ben):
        await ben.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews)
        before = await put(ada, b"one")
        await ben.expect(MailboxNews)
        fleet.nats.kill()
        fleet.nats.wipe()
        fleet.nats.start()
        assert await ben.expect(MailboxNews) == MailboxNews(BOX, NO_INCARNATION, 0)
        await fleet.are_healthy()
        after = await put(ada, b"one")
        assert after.incarnation not in (before.incarnation, NO_INCARNATION)
        assert await ben.expect(MailboxNews) == MailboxNews(BOX, after.incarnation, after.position)
        assert await items(ben) == [b"one"]


def test_a_node_that_is_told_to_stop_ends_in_order(fleet: Fleet) -> None:
    assert fleet.nodes[0].stop() == 0
    assert fleet.nodes[1].http("/healthz")[0] == 200


def test_a_node_starts_without_nats_and_joins_when_it_comes(fleet: Fleet, tmp_path: Path) -> None:
    fleet.nats.kill()
    late = RelayProcess(tmp_path / "late", store=fleet.nats.url).start()
    try:
        assert late.http("/healthz")[0] == 503
        fleet.nats.start()
        asyncio.run(Fleet([*fleet.nodes, late], fleet.nats, fleet.proxy).are_healthy())
    finally:
        late.stop()
