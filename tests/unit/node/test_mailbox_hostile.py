"""Mailboxes among hostile members and on hostile relays (FAULTS N12, N13; PROTOCOL §7)."""

from __future__ import annotations

import asyncio
import contextlib

from sheaf.core.base.ids import LogId, SpaceId
from sheaf.core.base.limits import KIB
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.protocol.mailbox_item import MailboxBatch, open_item, seal_item
from sheaf.core.protocol.receipt import sign_receipt
from sheaf.core.space import authoring
from sheaf.core.space.run import Run
from sheaf.core.wire.relay_words import RelayRefused
from sheaf.node.mailbox_compaction import HANGING_MS_MAX
from sheaf.node.space_host import SpaceHost
from sheaf.ports import MailboxAccess
from tests.support.mailbox_world import URL, MailboxWorld
from tests.support.memory_relay import RelayBox
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


# ------------------------------------------------------------------ what hangs in the air


def junk_run(log_id: LogId, first_seq: int, count: int = 1, size: int = 40) -> Run:
    return Run(log_id, first_seq, None, tuple(bytes([number % 256]) * size for number in range(count)))


def own_log(world: MailboxWorld, name: str) -> tuple[LogId, int]:
    host, device_id = world.host(name), world.nodes[name]._identity.device.device_id
    (head,) = [head for head in host.space.logs if head.device_id == device_id]
    return head.log_id, head.next_seq


def orphan_op(world: MailboxWorld, forgotten: SpaceHost) -> bytes:
    """An op of Ann's whose parent nobody gets to see; `forgotten` is the host of a daemon that has ended."""
    node, made = world.ann, b""
    for name in ("lost", "hanging"):
        made = authoring.prefs(
            forgotten.space,
            node._identity.device,
            now_ms=node._clock.wall_ms(),
            entropy=node._entropy,
            name=name,
        )
        forgotten.space.add_ops([made])
    return made


def standing(world: MailboxWorld, keys: SpaceKeys) -> MailboxBatch:
    """Everything that opens in the mailbox of `keys`, as one batch."""
    page = world.box.get(MailboxAccess(keys.mailbox_id, keys.mailbox_token), 0, 10**8)
    batches = [open_item(item.data, keys) for item in page.items]
    return MailboxBatch(
        tuple(op for batch in batches for op in batch.ops),
        tuple(run for batch in batches for run in batch.runs),
    )


def test_a_run_nobody_can_join_does_not_keep_what_is_written_from_being_uploaded() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="x")
            await world.until_text("ben", doc, "x")
            await world.stop("ben")
            log_id, next_seq = own_log(world, "ann")
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            world.box.put(access, seal_item(MailboxBatch(runs=(junk_run(log_id, next_seq + 1, 99),)), keys))
            for number in range(5):
                await world.write("ann", doc, "x" + "!" * number)
                await asyncio.sleep(5)
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "x!!!!")

    run_virtual(play())


def test_other_bytes_at_positions_we_hold_do_not_count_as_standing_there() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="x")
            for number in range(13):
                await world.write("ann", doc, "x" + "!" * number)
                await asyncio.sleep(3)
            await world.until_text("ben", doc, "x" + "!" * 12)
            await asyncio.sleep(30)
            await world.stop("ben")
            log_id, next_seq = own_log(world, "ann")
            assert next_seq > 10
            world.box.wipe()
            await asyncio.sleep(30)
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            world.box.put(access, seal_item(MailboxBatch(runs=(junk_run(log_id, 1, 2),)), keys))
            await asyncio.sleep(30)
            assert not world.worker("ann").coverage.has(log_id, 1, 2)
            stored = await world.machines["ann"].store.run(world.space_id, log_id, 1, 1)
            genuine = Run(log_id, 1, None, tuple(stored.envelopes))
            world.box.put(access, seal_item(MailboxBatch(runs=(genuine,)), keys))
            await asyncio.sleep(30)
            assert world.worker("ann").coverage.has(log_id, 1, genuine.next_seq)

    run_virtual(play())


def test_what_cannot_be_joined_is_carried_over_and_keeps_nobody_from_compacting() -> None:
    async def play() -> None:
        box = RelayBox(URL, mailbox_bytes_max=8_000)
        async with MailboxWorld.of("ann", "ben", "cat", box=box) as world:
            doc = await new_text(world.ann, world.space_id, content="a")
            await world.until_text("ben", doc, "a")
            forgotten = world.host("cat")
            await world.stop("cat")
            op, run = orphan_op(world, forgotten), junk_run(LogId(b"j" * 16), 1000)
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            world.box.put(access, seal_item(MailboxBatch(ops=(op,), runs=(run,)), keys))
            for number in range(40):
                await world.write("ann", doc, f"version {number}")
                await asyncio.sleep(4)
            await world.until_text("ben", doc, "version 39", timeout_s=1200)
            assert world.ann.metrics()["mailbox_compactions_total"] > 0
            assert (op in standing(world, keys).ops, run in standing(world, keys).runs) == (True, True)

    run_virtual(play())


def test_what_cannot_be_joined_and_does_not_fit_hinders_compaction_for_a_day_only() -> None:
    async def play() -> None:
        box = RelayBox(URL, item_bytes_max=16 * KIB, mailbox_bytes_max=48 * KIB)
        async with MailboxWorld.of("ann", "ben", box=box) as world:
            doc = await new_text(world.ann, world.space_id, content="a")
            await world.until_text("ben", doc, "a")
            await world.stop("ben")
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            with contextlib.suppress(RelayRefused):
                for number in range(50):
                    run = junk_run(LogId(bytes([number]) * 16), 1000, 1, 5000)
                    world.box.put(access, seal_item(MailboxBatch(runs=(run,)), keys))
            await asyncio.sleep(30)
            for number in range(8):
                await world.write("ann", doc, f"{number}" * 500)
                await asyncio.sleep(4)
            await asyncio.sleep(HANGING_MS_MAX / 1000 / 2)
            assert world.ann.metrics()["mailbox_compactions_total"] == 0
            assert (await world.person("ann", doc, "ben")).state == "waiting"
            await world.stop("ann")
            await world.start("ann")
            await asyncio.sleep(HANGING_MS_MAX / 1000 / 2 + 1300)
            assert world.ann.metrics()["mailbox_compactions_total"] > 0
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "7" * 500)

    run_virtual(play())


def test_an_honest_run_that_hangs_outlives_compaction_and_is_joined_later() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben", "cat") as world:
            doc = await new_text(world.ann, world.space_id, content="x")
            for name in ("ben", "cat"):
                await world.until_text(name, doc, "x")
            await asyncio.sleep(30)
            await world.stop("ben", "cat")
            log_id, first = own_log(world, "ann")
            for number in range(4):
                await world.write("ann", doc, "x" + "!" * number)
                await asyncio.sleep(5)
            keys, access = world.host("ann").space.recent_keys()[0], world.access("ann")
            await world.stop("ann")
            runs = [
                run for run in standing(world, keys).runs if run.log_id == log_id and run.first_seq >= first
            ]
            early, late = runs[0], runs[1:]
            assert late
            world.box.mailboxes[access.mailbox_id].items.clear()
            world.box.put(access, seal_item(MailboxBatch(runs=tuple(late)), keys))
            for number in range(300):
                world.box.put(access, b"junk %d" % number)
            await world.start("ben")
            await world.until(lambda: world.ben.metrics()["mailbox_compactions_total"] > 0)
            await world.stop("ben")
            world.box.put(access, seal_item(MailboxBatch(runs=(early,)), keys))
            await world.start("cat")
            await world.until_text("cat", doc, "x!!!")

    run_virtual(play())


# ------------------------------------------------------------------ receipts


def test_receipts_of_devices_nobody_let_in_take_no_room() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            host = world.host("ann")
            keys, access = host.space.recent_keys()[0], world.access("ann")
            strangers = [DeviceKeys(b"%032d" % number, b"b" * 32) for number in range(600)]
            for begin in range(0, 600, 100):
                raws = [
                    sign_receipt(
                        stranger,
                        space_id=world.space_id,
                        counter=1,
                        is_full=True,
                        made_ms=1,
                        heads=(),
                        holds={},
                        seen={},
                    ).raw
                    for stranger in strangers[begin : begin + 100]
                ]
                world.box.put(access, seal_item(MailboxBatch(receipts=tuple(raws)), keys))
            await asyncio.sleep(30)
            noted = world.worker("ann").coverage.receipts
            assert noted
            assert all(host.is_member(device_id) for device_id in noted)

    run_virtual(play())


def test_a_receipt_too_large_for_the_relay_is_not_tried_again_and_again() -> None:
    async def play() -> None:
        box = RelayBox(URL, item_bytes_max=16 * KIB)
        async with MailboxWorld.of("ann", "ben", box=box) as world:
            ben = world.ben._identity.device
            await world.stop("ben")
            host, worker = world.host("ann"), world.worker("ann")
            large = sign_receipt(
                ben,
                space_id=world.space_id,
                counter=host.delivery.book.counters()[ben.device_id] + 1,
                is_full=True,
                made_ms=world.ann._clock.wall_ms(),
                heads=(),
                holds={LogId(b"%016d" % number): 2 for number in range(2000)},
                seen={},
            )
            assert len(large.raw) > 16 * KIB
            host.delivery.take([large])
            await asyncio.sleep(30)
            current = worker.current
            assert current is not None
            assert worker._need(current, [ben.device_id]).is_empty
            doc = await new_text(world.ann, world.space_id, content="goes on")
            await asyncio.sleep(30)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())
