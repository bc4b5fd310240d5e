"""The contract of `Relay`, `RelayPool` and `Nameplate`: in memory, and over a real relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.ports import MailboxAccess, Relay, RelayPool, RelayState
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nodes import until

BOX = MailboxAccess(b"m" * 16, b"t" * 32)
OTHER = MailboxAccess(b"n" * 16, b"u" * 32)
WRONG = MailboxAccess(b"m" * 16, b"x" * 32)
NONE = bytes(8)


@dataclass
class Two:
    """Two daemons at one relay."""

    url: str
    pools: tuple[RelayPool, RelayPool]

    @property
    def relays(self) -> tuple[Relay, Relay]:
        ada, ben = (pool.relay(self.url) for pool in self.pools)
        assert ada is not None
        assert ben is not None
        return ada, ben


@pytest.fixture(params=["memory"])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    box = RelayBox("wss://relay.example")
    pools: tuple[RelayPool, RelayPool] = MemoryRelayPool(box), MemoryRelayPool(box)
    made = Two(box.url, pools)
    for pool in pools:
        pool.set_urls([made.url])
    await until(lambda: all(relay.status.state is RelayState.CONNECTED for relay in made.relays))
    yield made
    for pool in pools:
        await pool.close()


# ------------------------------------------------------------------ mailboxes


async def test_a_mailbox_that_nobody_made_is_empty(two: Two) -> None:
    ada, _ = two.relays
    page = await ada.get(BOX, 0, 1000)
    assert (page.items, page.last, page.incarnation) == ((), 0, NONE)
    stat = await ada.stat(BOX)
    assert (stat.items, stat.size_bytes, stat.last, stat.incarnation) == (0, 0, 0, NONE)


async def test_what_one_puts_the_other_gets_in_order(two: Two) -> None:
    ada, ben = two.relays
    stored = [await ada.put(BOX, b"item %d" % n) for n in range(5)]
    assert [one.position for one in stored] == sorted({one.position for one in stored})
    page = await ben.get(BOX, 0, 1000)
    assert [item.data for item in page.items] == [b"item %d" % n for n in range(5)]
    assert [item.position for item in page.items] == [one.position for one in stored]
    assert (page.last, page.incarnation) == (stored[-1].position, stored[0].incarnation)
    later = await ben.get(BOX, stored[2].position, 1000)
    assert [item.data for item in later.items] == [b"item 3", b"item 4"]


async def test_putting_the_same_again_gives_the_earlier_position(two: Two) -> None:
    ada, ben = two.relays
    first = await ada.put(BOX, b"same")
    await ada.put(BOX, b"other")
    assert await ben.put(BOX, b"same") == first


async def test_a_page_is_bounded_and_has_at_least_one_item(two: Two) -> None:
    ada, _ = two.relays
    for n in range(4):
        await ada.put(BOX, bytes([n]) * 300)
    page = await ada.get(BOX, 0, 700)
    assert len(page.items) == 2
    assert len((await ada.get(BOX, page.items[-1].position, 10)).items) == 1


async def test_another_token_is_refused(two: Two) -> None:
    ada, ben = two.relays
    await ada.put(BOX, b"item")
    for request in (ben.put(WRONG, b"x"), ben.get(WRONG, 0, 10), ben.stat(WRONG)):
        with pytest.raises(RelayRefused) as refusal:
            await request
        assert refusal.value.code is RefusalCode.WRONG_TOKEN


async def test_mailboxes_do_not_mix(two: Two) -> None:
    ada, ben = two.relays
    await ada.put(BOX, b"mine")
    await ben.put(OTHER, b"yours")
    assert [item.data for item in (await ada.get(OTHER, 0, 100)).items] == [b"yours"]


async def test_compacting_replaces_all_items_unless_something_newer_came(two: Two) -> None:
    ada, ben = two.relays
    for n in range(3):
        last = await ada.put(BOX, b"item %d" % n)
    with pytest.raises(RelayRefused) as refusal:
        await ben.compact(BOX, last.position - 1, b"late")
    assert refusal.value.code is RefusalCode.CHANGED
    merged = await ben.compact(BOX, last.position, b"all")
    assert merged.position > last.position
    page = await ada.get(BOX, 0, 1000)
    assert [item.data for item in page.items] == [b"all"]
    stat = await ada.stat(BOX)
    assert (stat.items, stat.first, stat.last) == (1, merged.position, merged.position)


async def test_what_is_too_large_is_refused_and_nothing_stored(two: Two) -> None:
    ada, _ = two.relays
    with pytest.raises(RelayRefused) as refusal:
        await ada.put(BOX, bytes(ada.item_bytes_max + 1))
    assert refusal.value.code is RefusalCode.TOO_LARGE
    assert (await ada.get(BOX, 0, 10)).items == ()


async def test_a_watch_tells_at_once_and_of_what_comes(two: Two) -> None:
    ada, ben = two.relays
    news: list[tuple[int, bytes]] = []
    end = ben.watch(BOX, lambda last, incarnation: news.append((last, incarnation)))
    await until(lambda: news == [(0, NONE)])
    stored = await ada.put(BOX, b"item")
    await until(lambda: news[-1] == (stored.position, stored.incarnation))
    end()
    count = len(news)
    await ada.put(BOX, b"another")
    await ben.get(BOX, 0, 10)
    assert len(news) == count


async def test_two_watches_of_one_mailbox_are_told_each(two: Two) -> None:
    ada, ben = two.relays
    first: list[int] = []
    second: list[int] = []
    end = ben.watch(BOX, lambda last, _: first.append(last))
    ben.watch(BOX, lambda last, _: second.append(last))
    await until(lambda: first and second)
    end()
    stored = await ada.put(BOX, b"item")
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
    ada, ben = two.relays
    mine = await ada.allocate_nameplate()
    theirs = await ben.claim_nameplate(mine.number)
    with pytest.raises(RelayRefused) as refusal:
        await ben.claim_nameplate(mine.number)
    assert refusal.value.code is RefusalCode.CROWDED
    for side in (mine, theirs):
        with pytest.raises(RelayRefused) as refusal:
            await _hear(side.hear())
        assert refusal.value.code is RefusalCode.CROWDED


# ------------------------------------------------------------------ the pool


async def test_a_relay_that_is_not_wanted_any_more_is_let_go(two: Two) -> None:
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
        await ada.put(BOX, b"item")
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
