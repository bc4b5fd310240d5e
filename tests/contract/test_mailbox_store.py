"""The contract of `MailboxStore`: what a relay may rely on, whatever keeps its mailboxes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.store import (
    DAY_S,
    EMPTY_PAGE,
    EMPTY_STAT,
    ITEM_OVERHEAD_BYTES,
    NO_INCARNATION,
    MailboxStore,
    StoreLimits,
    hash_token,
)
from tests.support.daemon import eventually
from tests.support.mailbox_stores import OVERHEAD_BYTES_MAX, Bed, NatsBed, Opened, SqliteBed
from tests.support.nats import nats_server, needs_nats

BOX, OTHER = b"m" * 16, b"n" * 16
TOKEN, WRONG = hash_token(b"t" * 32), hash_token(b"x" * 32)
LIMITS = StoreLimits(item_bytes_max=4096, mailbox_bytes_max=16_384, total_bytes_max=65_536, retention_s=DAY_S)


@pytest.fixture(params=["sqlite", pytest.param("nats", marks=needs_nats)])
async def bed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bed]:
    with contextlib.ExitStack() as servers:
        made: Bed = SqliteBed(tmp_path)
        if request.param == "nats":
            made = NatsBed(servers.enter_context(nats_server(tmp_path)).url)
        yield made
        await made.close()


@pytest.fixture
async def opened(bed: Bed) -> Opened:
    return await bed.open(LIMITS)


@pytest.fixture
def store(opened: Opened) -> MailboxStore:
    return opened.store


async def read_all(store: MailboxStore, mailbox_id: bytes = BOX) -> list[bytes]:
    return [item.data for item in (await store.read(mailbox_id, TOKEN, 0, 10**9)).items]


# ------------------------------------------------------------------ appending and reading


async def test_a_mailbox_that_nobody_made_is_empty_for_every_token(store: MailboxStore) -> None:
    for token in (TOKEN, WRONG):
        assert await store.read(BOX, token, 0, 1000) == EMPTY_PAGE
        assert await store.stat(BOX, token) == EMPTY_STAT


async def test_items_come_back_in_the_order_they_were_put(store: MailboxStore) -> None:
    stored = [await store.put(BOX, TOKEN, b"item %d" % n) for n in range(20)]
    positions = [one.position for one in stored]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    page = await store.read(BOX, TOKEN, 0, 10_000)
    assert [item.data for item in page.items] == [b"item %d" % n for n in range(20)]
    assert [item.position for item in page.items] == positions
    assert (page.last, page.incarnation) == (positions[-1], stored[0].incarnation)
    assert {one.incarnation for one in stored} == {page.incarnation}
    assert page.incarnation != NO_INCARNATION
    rest = await store.read(BOX, TOKEN, positions[11], 10_000)
    assert [item.data for item in rest.items] == [b"item %d" % n for n in range(12, 20)]
    end = await store.read(BOX, TOKEN, positions[-1], 10_000)
    assert (end.items, end.last) == ((), positions[-1])


async def test_an_item_that_stands_there_is_not_stored_again(store: MailboxStore) -> None:
    first = await store.put(BOX, TOKEN, b"same")
    await store.put(BOX, TOKEN, b"other")
    assert await store.put(BOX, TOKEN, b"same") == first
    assert await read_all(store) == [b"same", b"other"]


async def test_the_same_item_in_two_mailboxes_is_two_items(store: MailboxStore) -> None:
    await store.put(BOX, TOKEN, b"same")
    await store.put(OTHER, TOKEN, b"same")
    assert await read_all(store) == await read_all(store, OTHER) == [b"same"]


async def test_an_empty_item_and_the_largest_are_items(store: MailboxStore) -> None:
    await store.put(BOX, TOKEN, b"")
    await store.put(BOX, TOKEN, b"x" * LIMITS.item_bytes_max)
    assert await read_all(store) == [b"", b"x" * LIMITS.item_bytes_max]


async def test_a_page_is_bounded_in_bytes_and_has_at_least_one_item(store: MailboxStore) -> None:
    stored = [await store.put(BOX, TOKEN, bytes([n]) * 300) for n in range(4)]
    page = await store.read(BOX, TOKEN, 0, 700)
    assert [item.position for item in page.items] == [one.position for one in stored[:2]]
    assert page.last == stored[-1].position
    assert len((await store.read(BOX, TOKEN, stored[1].position, 1)).items) == 1


async def test_a_page_is_bounded_in_items(bed: Bed) -> None:
    limits = StoreLimits(page_items_max=8)
    store = (await bed.open(limits)).store
    await asyncio.gather(*[store.put(BOX, TOKEN, b"%d" % n) for n in range(20)])
    page = await store.read(BOX, TOKEN, 0, 10_000)
    assert len(page.items) == 8
    assert len((await store.read(BOX, TOKEN, page.items[-1].position, 10_000)).items) == 8


async def test_another_token_is_refused_and_changes_nothing(store: MailboxStore) -> None:
    last = (await store.put(BOX, TOKEN, b"item")).position
    for request in (
        store.put(BOX, WRONG, b"mine"),
        store.read(BOX, WRONG, 0, 100),
        store.compact(BOX, WRONG, last, b"mine"),
        store.stat(BOX, WRONG),
    ):
        assert await refusal_of(request) is RefusalCode.WRONG_TOKEN
    assert await read_all(store) == [b"item"]


async def test_many_who_put_at_once_lose_nothing(store: MailboxStore) -> None:
    items = [b"item %d" % n for n in range(100)]
    stored = await asyncio.gather(*[store.put(BOX, TOKEN, item) for item in items])
    assert len({one.position for one in stored}) == len(items)
    assert len({one.incarnation for one in stored}) == 1
    page = await store.read(BOX, TOKEN, 0, 10**6)
    assert {item.position: item.data for item in page.items} == {
        one.position: item for one, item in zip(stored, items, strict=True)
    }


async def test_the_same_item_put_by_many_at_once_is_stored_once(store: MailboxStore) -> None:
    stored = await asyncio.gather(*[store.put(BOX, TOKEN, b"same") for _ in range(20)])
    assert len(set(stored)) == 1
    assert await read_all(store) == [b"same"]


# ------------------------------------------------------------------ compacting


async def test_compacting_replaces_all_items_by_one_at_a_new_position(store: MailboxStore) -> None:
    for n in range(5):
        last = await store.put(BOX, TOKEN, b"item %d" % n)
    merged = await store.compact(BOX, TOKEN, last.position, b"all")
    assert merged.position > last.position
    assert merged.incarnation == last.incarnation
    page = await store.read(BOX, TOKEN, 0, 1000)
    assert [(item.position, item.data) for item in page.items] == [(merged.position, b"all")]
    assert (await store.put(BOX, TOKEN, b"item 0")).position > merged.position


async def test_compacting_is_refused_when_something_newer_came(store: MailboxStore) -> None:
    first = await store.put(BOX, TOKEN, b"first")
    await store.put(BOX, TOKEN, b"second")
    assert await refusal_of(store.compact(BOX, TOKEN, first.position, b"x")) is RefusalCode.CHANGED
    assert await read_all(store) == [b"first", b"second"]


async def test_a_mailbox_that_nobody_made_cannot_be_compacted(store: MailboxStore) -> None:
    assert await refusal_of(store.compact(BOX, TOKEN, 0, b"x")) is RefusalCode.CHANGED
    assert await store.stat(BOX, TOKEN) == EMPTY_STAT


async def test_of_two_who_compact_at_once_one_is_told_so(store: MailboxStore) -> None:
    last = await store.put(BOX, TOKEN, b"item")
    outcomes = await asyncio.gather(
        *[store.compact(BOX, TOKEN, last.position, b"by %d" % n) for n in range(2)], return_exceptions=True
    )
    refusals = [one.code for one in outcomes if isinstance(one, RelayRefused)]
    assert refusals == [RefusalCode.CHANGED]
    assert len(await read_all(store)) == 1


async def test_what_is_put_while_others_compact_is_never_lost(store: MailboxStore) -> None:
    put: set[bytes] = set()
    merged: set[bytes] = set()

    async def write(name: int) -> None:
        for n in range(20):
            item = b"%d/%d" % (name, n)
            await store.put(BOX, TOKEN, item)
            put.add(item)

    async def compact(name: int) -> None:
        for n in range(20):
            page = await store.read(BOX, TOKEN, 0, 10**6)
            held = {item.data for item in page.items}
            marker = b"merged %d/%d" % (name, n)
            with contextlib.suppress(RelayRefused):
                await store.compact(BOX, TOKEN, page.last, marker)
                merged.update(held)

    await asyncio.gather(write(1), write(2), compact(1), compact(2))
    assert put <= merged | set(await read_all(store))


# ------------------------------------------------------------------ limits


async def test_what_is_too_large_is_refused(store: MailboxStore) -> None:
    large = bytes(LIMITS.item_bytes_max + 1)
    assert await refusal_of(store.put(BOX, TOKEN, large)) is RefusalCode.TOO_LARGE
    assert await store.stat(BOX, TOKEN) == EMPTY_STAT
    last = (await store.put(BOX, TOKEN, b"item")).position
    assert await refusal_of(store.compact(BOX, TOKEN, last, large)) is RefusalCode.TOO_LARGE
    assert await read_all(store) == [b"item"]


async def test_a_full_mailbox_takes_no_more_until_it_is_compacted(store: MailboxStore) -> None:
    stored = await fill(store, BOX)
    assert 1 <= len(stored) <= LIMITS.mailbox_bytes_max // 4000
    assert len(await read_all(store)) == len(stored)
    assert (await store.put(BOX, TOKEN, stored[0])).position > 0, "what stands there is no new item"
    assert await refusal_of(store.put(BOX, TOKEN, b"z" * 4000)) is RefusalCode.FULL
    await store.put(OTHER, TOKEN, b"others are not concerned")
    last = (await store.stat(BOX, TOKEN)).last
    await store.compact(BOX, TOKEN, last, b"merged")
    await store.put(BOX, TOKEN, b"more")
    assert await read_all(store) == [b"merged", b"more"]


async def test_items_without_bytes_fill_a_mailbox_too(store: MailboxStore) -> None:
    items_max = LIMITS.mailbox_bytes_max // ITEM_OVERHEAD_BYTES
    outcomes = await asyncio.gather(
        *[store.put(BOX, TOKEN, b"%d" % n) for n in range(items_max + 10)], return_exceptions=True
    )
    refusals = [one for one in outcomes if isinstance(one, RelayRefused)]
    assert refusals
    assert {refusal.code for refusal in refusals} == {RefusalCode.FULL}


async def test_a_full_store_takes_no_more_from_anybody(store: MailboxStore) -> None:
    boxes = [bytes([n]) * 16 for n in range(8)]
    for box in boxes:
        await fill(store, box)
    totals = await store.totals()
    assert 3 * LIMITS.mailbox_bytes_max // 4 < totals.size_bytes <= LIMITS.total_bytes_max
    assert await refusal_of(store.put(b"new box".ljust(16), TOKEN, b"z" * 4000)) is RefusalCode.FULL
    stat = await store.stat(boxes[0], TOKEN)
    await store.compact(boxes[0], TOKEN, stat.last, b"merged")
    await store.put(boxes[0], TOKEN, b"room again")


async def test_totals_follow_what_is_put_and_compacted(store: MailboxStore) -> None:
    async def are(mailboxes: int, items: int, size_bytes: int) -> None:
        async def agree() -> bool:
            totals = await store.totals()
            overhead_bytes = totals.size_bytes - size_bytes
            return (totals.mailboxes, totals.items) == (mailboxes, items) and (
                0 <= overhead_bytes <= items * OVERHEAD_BYTES_MAX
            )

        await eventually(agree, what=f"{mailboxes} mailboxes, {items} items, {size_bytes} bytes")

    await are(0, 0, 0)
    await store.put(BOX, TOKEN, b"12345")
    await store.put(BOX, TOKEN, b"123")
    last = await store.put(OTHER, TOKEN, b"1")
    await are(2, 3, 9)
    assert last.position
    await store.compact(BOX, TOKEN, (await store.stat(BOX, TOKEN)).last, b"12")
    await are(2, 2, 3)


# ------------------------------------------------------------------ looking at it


async def test_stat_tells_sizes_and_positions(store: MailboxStore) -> None:
    stored = [await store.put(BOX, TOKEN, b"x" * size) for size in (3, 4, 5)]
    stat = await store.stat(BOX, TOKEN)
    assert (stat.items, stat.size_bytes) == (3, 12)
    assert (stat.first, stat.last) == (stored[0].position, stored[-1].position)
    assert stat.incarnation == stored[0].incarnation
    assert 0 <= stat.oldest_age_s < 60


async def test_a_watched_mailbox_has_news_of_every_change(opened: Opened) -> None:
    store, news = opened.store, opened.news
    await store.watch(BOX)
    for n in range(3):
        stored = await store.put(BOX, TOKEN, b"item %d" % n)
        told = (BOX, stored.position, stored.incarnation)
        await eventually(lambda told=told: news[-1:] == [told])  # type: ignore[misc]
    merged = await store.compact(BOX, TOKEN, stored.position, b"all")
    await eventually(lambda: news[-1] == (BOX, merged.position, merged.incarnation))


async def test_nobody_is_told_of_mailboxes_that_are_not_watched(opened: Opened) -> None:
    store, news = opened.store, opened.news
    await store.watch(BOX)
    await store.watch(OTHER)
    await store.unwatch(OTHER)
    await store.put(OTHER, TOKEN, b"item")
    stored = await store.put(BOX, TOKEN, b"item")
    await eventually(lambda: (BOX, stored.position, stored.incarnation) in news)
    assert {mailbox_id for mailbox_id, _, _ in news} == {BOX}


# ------------------------------------------------------------------ time


async def test_old_items_are_dropped_and_the_last_position_stays(store: MailboxStore) -> None:
    stored = [await store.put(BOX, TOKEN, b"item %d" % n) for n in range(3)]
    assert await store.expire(time.time()) == 0
    await store.expire(time.time() + LIMITS.retention_s + 60)
    page = await store.read(BOX, TOKEN, 0, 1000)
    assert (page.items, page.last, page.incarnation) == ((), stored[-1].position, stored[0].incarnation)
    stat = await store.stat(BOX, TOKEN)
    assert (stat.items, stat.size_bytes, stat.first, stat.last) == (0, 0, 0, stored[-1].position)
    again = await store.put(BOX, TOKEN, b"item 0")
    assert again.position > stored[-1].position
    assert again.incarnation == stored[0].incarnation


async def test_a_mailbox_empty_for_long_is_forgotten_and_made_anew(store: MailboxStore) -> None:
    stored = await store.put(BOX, TOKEN, b"item")
    later = time.time() + LIMITS.retention_s + 60
    await store.expire(later)
    assert (await store.stat(BOX, TOKEN)).incarnation == stored.incarnation
    await store.expire(later + LIMITS.retention_s + 60)
    assert await store.stat(BOX, TOKEN) == EMPTY_STAT
    anew = await store.put(BOX, WRONG, b"somebody else's now")
    assert anew.incarnation != stored.incarnation


async def test_what_was_stored_is_there_after_opening_again(bed: Bed) -> None:
    first = await bed.open(LIMITS)
    stored = [await first.store.put(BOX, TOKEN, b"item %d" % n) for n in range(3)]
    await first.store.compact(BOX, TOKEN, stored[-1].position, b"merged")
    before = await first.store.read(BOX, TOKEN, 0, 1000)
    await first.store.close()
    assert await refusal_of(first.store.put(BOX, TOKEN, b"late")) is RefusalCode.UNAVAILABLE
    second = await bed.open(LIMITS)
    assert await second.store.read(BOX, TOKEN, 0, 1000) == before
    assert await refusal_of(second.store.stat(BOX, WRONG)) is RefusalCode.WRONG_TOKEN
    after = await second.store.put(BOX, TOKEN, b"after")
    assert after.position > before.last
    assert after.incarnation == before.incarnation
    assert (await second.store.totals()).items == 2


async def test_a_put_that_nobody_waits_for_any_more_is_whole_or_not_there(store: MailboxStore) -> None:
    tasks = [asyncio.ensure_future(store.put(BOX, TOKEN, b"item %d" % n)) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    kept = {b"item %d" % n for n, one in enumerate(outcomes) if not isinstance(one, BaseException)}
    assert {b"item %d" % n for n in range(1, 20, 2)} <= kept
    assert kept <= set(await read_all(store)) <= {b"item %d" % n for n in range(20)}


# ------------------------------------------------------------------ helpers


async def refusal_of(request: object) -> RefusalCode:
    assert asyncio.iscoroutine(request)
    with pytest.raises(RelayRefused) as refusal:
        await request
    return refusal.value.code


async def fill(store: MailboxStore, mailbox_id: bytes) -> list[bytes]:
    """Put items of 4,000 bytes until one is refused; those that were taken."""
    taken: list[bytes] = []
    for n in range(100):
        item = hashlib.sha256(mailbox_id + bytes([n])).digest() * 125
        try:
            await store.put(mailbox_id, TOKEN, item)
        except RelayRefused:
            assert await refusal_of(store.put(mailbox_id, TOKEN, item)) is RefusalCode.FULL
            return taken
        taken.append(item)
    raise AssertionError("it is never full")
