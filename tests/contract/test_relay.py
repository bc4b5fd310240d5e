"""The contract of `Relay`, `RelayPool` and `Nameplate`: in memory, and over a real relay."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.ports import MailboxAccess, Relay, RelayPool, RelayState
from sheaf.signaling.relay_client import RelayWorld
from sheaf.signaling.relay_pool import RelayConnections
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nodes import until
from tests.support.relay import RelayProcess

NONE = bytes(8)
_numbers = itertools.count(1)


@dataclass
class Two:
    """Two daemons at one relay, and a third for mischief."""

    url: str
    pools: tuple[RelayPool, ...]

    @property
    def relays(self) -> tuple[Relay, Relay]:
        ada, ben, _ = self.three
        return ada, ben

    @property
    def three(self) -> list[Relay]:
        found = [pool.relay(self.url) for pool in self.pools]
        return [relay for relay in found if relay is not None]


def _mailbox() -> MailboxAccess:
    """One that no test used before."""
    return MailboxAccess(next(_numbers).to_bytes(16, "big"), b"t" * 32)


@pytest.fixture
def box() -> MailboxAccess:
    return _mailbox()


@pytest.fixture
def wrong(box: MailboxAccess) -> MailboxAccess:
    """The same mailbox with a token that is not its own."""
    return MailboxAccess(box.mailbox_id, b"x" * 32)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path_factory.mktemp("relay")).start()
    yield relay
    relay.stop()


@pytest.fixture(params=["memory", "real"])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    if request.param == "memory":
        relay = RelayBox("wss://relay.example")
        made = Two(relay.url, tuple(MemoryRelayPool(relay) for _ in range(3)))
    else:
        process: RelayProcess = request.getfixturevalue("process")
        made = Two(process.url, tuple(_pool() for _ in range(3)))
    for pool in made.pools:
        pool.set_urls([made.url])
    await until(lambda: all(relay.status.state is RelayState.CONNECTED for relay in made.three))
    yield made
    for pool in made.pools:
        await pool.close()


def _pool() -> RelayConnections:
    return RelayConnections(
        world=RelayWorld(
            door=RelayDoor(resolver=Resolver()),
            now=time.monotonic,
            wall_ms=lambda: 1,
            chance=lambda: 0.5,
        )
    )


# ------------------------------------------------------------------ mailboxes


async def test_a_mailbox_that_nobody_made_is_empty(two: Two, box: MailboxAccess) -> None:
    ada, _ = two.relays
    page = await ada.get(box, 0, 1000)
    assert (page.items, page.last, page.incarnation) == ((), 0, NONE)
    stat = await ada.stat(box)
    assert (stat.items, stat.size_bytes, stat.last, stat.incarnation) == (0, 0, 0, NONE)


async def test_what_one_puts_the_other_gets_in_order(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    stored = [await ada.put(box, b"item %d" % n) for n in range(5)]
    assert [one.position for one in stored] == sorted({one.position for one in stored})
    page = await ben.get(box, 0, 1000)
    assert [item.data for item in page.items] == [b"item %d" % n for n in range(5)]
    assert [item.position for item in page.items] == [one.position for one in stored]
    assert (page.last, page.incarnation) == (stored[-1].position, stored[0].incarnation)
    later = await ben.get(box, stored[2].position, 1000)
    assert [item.data for item in later.items] == [b"item 3", b"item 4"]


async def test_putting_the_same_again_gives_the_earlier_position(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    first = await ada.put(box, b"same")
    await ada.put(box, b"other")
    assert await ben.put(box, b"same") == first


async def test_a_page_is_bounded_and_has_at_least_one_item(two: Two, box: MailboxAccess) -> None:
    ada, _ = two.relays
    for n in range(4):
        await ada.put(box, bytes([n]) * 300)
    page = await ada.get(box, 0, 700)
    assert len(page.items) == 2
    assert len((await ada.get(box, page.items[-1].position, 10)).items) == 1


async def test_another_token_is_refused(two: Two, box: MailboxAccess, wrong: MailboxAccess) -> None:
    ada, ben = two.relays
    await ada.put(box, b"item")
    for request in (ben.put(wrong, b"x"), ben.get(wrong, 0, 10), ben.stat(wrong)):
        with pytest.raises(RelayRefused) as refusal:
            await request
        assert refusal.value.code is RefusalCode.WRONG_TOKEN


async def test_mailboxes_do_not_mix(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    other = _mailbox()
    await ada.put(box, b"mine")
    await ben.put(other, b"yours")
    assert [item.data for item in (await ada.get(other, 0, 100)).items] == [b"yours"]


async def test_compacting_replaces_all_items_unless_something_newer_came(
    two: Two, box: MailboxAccess
) -> None:
    ada, ben = two.relays
    for n in range(3):
        last = await ada.put(box, b"item %d" % n)
    with pytest.raises(RelayRefused) as refusal:
        await ben.compact(box, last.position - 1, b"late")
    assert refusal.value.code is RefusalCode.CHANGED
    merged = await ben.compact(box, last.position, b"all")
    assert merged.position > last.position
    page = await ada.get(box, 0, 1000)
    assert [item.data for item in page.items] == [b"all"]
    stat = await ada.stat(box)
    assert (stat.items, stat.first, stat.last) == (1, merged.position, merged.position)


async def test_what_is_too_large_is_refused_and_nothing_stored(two: Two, box: MailboxAccess) -> None:
    ada, _ = two.relays
    with pytest.raises(RelayRefused) as refusal:
        await ada.put(box, bytes(ada.item_bytes_max + 1))
    assert refusal.value.code is RefusalCode.TOO_LARGE
    assert (await ada.get(box, 0, 10)).items == ()


async def test_a_watch_tells_at_once_and_of_what_comes(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    news: list[tuple[int, bytes]] = []
    end = ben.watch(box, lambda last, incarnation: news.append((last, incarnation)))
    await until(lambda: bool(news))
    assert set(news) == {(0, NONE)}  # the same may be said twice
    stored = await ada.put(box, b"item")
    await until(lambda: news[-1] == (stored.position, stored.incarnation))
    end()
    count = len(news)
    await ada.put(box, b"another")
    await ben.get(box, 0, 10)
    assert len(news) == count


async def test_two_watches_of_one_mailbox_are_told_each(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    first: list[int] = []
    second: list[int] = []
    end = ben.watch(box, lambda last, _: first.append(last))
    ben.watch(box, lambda last, _: second.append(last))
    await until(lambda: first and second)
    end()
    stored = await ada.put(box, b"item")
    await until(lambda: second[-1] == stored.position)
    assert stored.position not in first


# ------------------------------------------------------------------ nameplates


async def test_two_meet_at_a_nameplate(two: Two) -> None:
    ada, ben = two.relays
    mine = await ada.allocate_nameplate()
    assert (mine.number > 0, mine.relay_url) == (True, two.url)
    await mine.say(b"early")
    theirs = await ben.claim_nameplate(mine.number)
    assert await _hear(theirs.hear()) == b"early"
    await theirs.say(b"hello")
    assert await _hear(mine.hear()) == b"hello"
    await mine.release()
    with pytest.raises(RelayRefused) as refusal:
        await _hear(theirs.hear())
    assert refusal.value.code is RefusalCode.GONE


async def test_a_number_that_nobody_holds_is_gone(two: Two) -> None:
    with pytest.raises(RelayRefused) as refusal:
        await two.relays[0].claim_nameplate(99_998)
    assert refusal.value.code is RefusalCode.GONE


async def test_a_third_at_a_nameplate_burns_it(two: Two) -> None:
    ada, ben, third = two.three
    mine = await ada.allocate_nameplate()
    theirs = await ben.claim_nameplate(mine.number)
    with pytest.raises(RelayRefused) as refusal:
        await third.claim_nameplate(mine.number)
    assert refusal.value.code is RefusalCode.CROWDED
    for side in (mine, theirs):
        with pytest.raises(RelayRefused) as refusal:
            await _hear(side.hear())
        assert refusal.value.code is RefusalCode.CROWDED


# ------------------------------------------------------------------ the pool


async def test_a_relay_that_is_not_wanted_any_more_is_let_go(two: Two, box: MailboxAccess) -> None:
    ada, ben = two.relays
    plate = await ada.allocate_nameplate()
    other_side = await ben.claim_nameplate(plate.number)
    changes: list[int] = []
    two.pools[0].on_change(lambda: changes.append(1))
    two.pools[0].set_urls([])
    assert two.pools[0].relay(two.url) is None
    assert list(two.pools[0].relays()) == []
    assert changes
    with pytest.raises(TransportFailure):
        await ada.put(box, b"item")
    with pytest.raises(RelayRefused):
        await _hear(other_side.hear())


async def test_setting_the_same_urls_again_keeps_the_connections(two: Two) -> None:
    before = two.relays
    two.pools[0].set_urls([two.url])
    assert two.relays[0] is before[0]
    assert before[0].status.state is RelayState.CONNECTED


async def _hear(hearing: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(5):
        return await hearing
