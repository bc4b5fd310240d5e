"""Mailboxes among hostile members and on hostile relays (FAULTS N12, N13; PROTOCOL §7)."""

from __future__ import annotations

import asyncio

from sheaf.core.base.ids import SpaceId
from sheaf.core.protocol.mailbox_item import MailboxBatch, open_item, seal_item
from sheaf.ports import MailboxAccess
from tests.support.mailbox_world import MailboxWorld
from tests.support.nodes import new_text
from tests.support.virtual_time import run_virtual


def test_items_that_do_not_open_never_block_those_that_do() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            access = world.access("ann")
            for size in (0, 10, 500, 70_000):
                world.box.put(access, b"\x07" * size)
            doc = await new_text(world.ann, world.space_id, content="after the junk")
            await asyncio.sleep(10)
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "after the junk")
            assert world.ben.metrics()["mailbox_items_skipped_total"] >= 4

    run_virtual(play())


def test_a_member_who_floods_the_mailbox_costs_the_others_no_memory_and_no_disk() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="fine")
            await world.until_text("ben", doc, "fine")
            await world.stop("ben")
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            rows = len(world.machines["ben"].store._envelopes)  # type: ignore[attr-defined]
            for number in range(300):
                batch = MailboxBatch(ops=(b"junk %d" % number,), receipts=(b"junk" * 200,))
                world.box.put(access, seal_item(batch, keys))
            await world.write("ann", doc, "fine, still")
            await asyncio.sleep(100)
            await world.start("ben")
            await world.until_text("ben", doc, "fine, still")
            host = world.host("ben")
            assert host.space.held_envelopes == 0
            grown = len(world.machines["ben"].store._envelopes) - rows  # type: ignore[attr-defined]
            assert grown <= 3

    run_virtual(play())


def test_a_relay_that_withholds_makes_people_see_incomplete_not_silence() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="all")
            await world.until_text("ben", doc, "all")
            await world.stop("ben")
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            for _ in range(3):
                await world.append("ann", doc, "!")
                await asyncio.sleep(4)
            await world.stop("ann")
            box = world.box.mailboxes[access.mailbox_id]
            kept = []
            for item in box.items:  # the runs are withheld, what Ann says she holds is not
                batch = open_item(item.data, keys)
                data = (
                    seal_item(MailboxBatch(batch.ops, (), batch.receipts), keys) if batch.runs else item.data
                )
                kept.append(type(item)(item.position, data))
            box.items[:] = kept
            await world.start("ben")
            await asyncio.sleep(10)
            incomplete = (await world.ben.delivery(doc)).incomplete
            assert incomplete is not None
            assert (incomplete.missing, incomplete.source) == (3, "ann's laptop")
            assert world.ben.space(world.space_id).delivery.incomplete_missing == 3

    run_virtual(play())


def test_what_was_put_for_somebody_who_never_got_to_see_it_is_put_again() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="x")
            await world.until_text("ben", doc, "x")
            await asyncio.sleep(30)
            access = world.access("ann")
            real_get = world.box.get

            def blind_get(asked: MailboxAccess, after: int, bytes_max: int):  # type: ignore[no-untyped-def]
                page = real_get(asked, after, bytes_max)
                return type(page)((), page.last, page.incarnation)

            world.box.get = blind_get  # type: ignore[method-assign]
            await world.write("ann", doc, "xy")
            await asyncio.sleep(10)
            world.box.get = real_get  # type: ignore[method-assign]
            await world.ben.mark_seen(doc)
            await asyncio.sleep(10)
            assert await world.text("ben", doc) == "x", "the relay showed it nothing, and Ben read past it"
            assert world.box.news(access.mailbox_id)[0] > 0
            await world.until_text("ben", doc, "xy", timeout_s=3600)

    run_virtual(play())


def test_a_foreign_space_id_never_appears_in_a_mailbox() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            await new_text(world.ann, world.space_id, title="Title nobody may read", content="words")
            await asyncio.sleep(10)
            stored = b"".join(item.data for box in world.box.mailboxes.values() for item in box.items)
            needles = [b"Title nobody", b"words", b"Home", bytes(world.space_id), b"ann"]
            assert stored
            assert not [needle for needle in needles if needle in stored]
            assert SpaceId(world.space_id).text.encode() not in stored

    run_virtual(play())
