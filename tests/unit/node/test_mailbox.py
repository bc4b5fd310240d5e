"""Mailboxes between nodes that are never online together, over a relay in memory (PROTOCOL §7)."""

from __future__ import annotations

import asyncio

from sheaf.core.protocol.mailbox_item import open_item
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_words import RefusalCode
from sheaf.node.mailbox_worker import MailboxState
from sheaf.ports import MailboxAccess
from tests.support.mailbox_world import URL, MailboxWorld
from tests.support.memory_relay import RelayBox
from tests.support.nodes import new_text
from tests.support.virtual_time import run_virtual


def test_what_one_wrote_alone_reaches_the_other_who_comes_later() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="before")
            await world.until_text("ben", doc, "before")
            await world.stop("ben")
            await world.write("ann", doc, "while you were away")
            before = world.items()
            await world.until(lambda: world.items() > before)
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "while you were away")
            (ann,) = world.nodes["ben"].peers()
            assert [space.behind for space in ann.spaces] == [0], "what she wrote herself, she has"

    run_virtual(play())


def test_what_was_written_in_the_last_moment_is_uploaded_before_the_daemon_stops() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            doc = await new_text(world.ann, world.space_id, content="quick")
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "quick")

    run_virtual(play())


def test_nothing_is_uploaded_while_everybody_is_there() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            world.lan.mend()
            await world.until(lambda: world.host("ann").live_devices() and world.host("ben").live_devices())
            await asyncio.sleep(60)
            before = world.items()
            doc = await new_text(world.ann, world.space_id, content="together")
            await world.until_text("ben", doc, "together")
            await asyncio.sleep(120)
            assert world.items() == before

    run_virtual(play())


def test_a_quiet_world_asks_the_relay_nothing() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await new_text(world.ann, world.space_id, content="hello")
            await asyncio.sleep(120)
            before = figures(world)
            await asyncio.sleep(1800)
            assert figures(world) == before

    run_virtual(play())


def figures(world: MailboxWorld) -> list[tuple[str, float]]:
    nodes = world.nodes.values()
    return [(k, v) for node in nodes for k, v in node.metrics().items() if k.startswith("mailbox_")]


def test_a_newcomer_whom_nobody_knows_anything_of_gets_the_whole_history() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="long ago")
            await world.until_text("ben", doc, "long ago")
            host = world.host("ann")
            await world.stop("ben")
            host.delivery.book._words.clear()
            host.delivery._unkept.clear()
            world.box.wipe()
            await asyncio.sleep(20)
            keys = host.space.recent_keys()[0]
            seen = [
                run
                for item in world.box.get(world.access("ann"), 0, 10**7).items
                for run in open_item(item.data, keys).runs
            ]
            assert {run.log_id for run in seen} >= {log for log, seq in host.durable.items() if seq > 1}

    run_virtual(play())


def test_a_reader_says_what_he_holds_through_the_mailbox() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "rae", roles={"rae": Role.READER}) as world:
            await world.stop("rae")
            doc = await new_text(world.ann, world.space_id, content="read this")
            await world.stop("ann")
            await world.start("rae")
            await world.until_text("rae", doc, "read this")
            await asyncio.sleep(10)
            await world.stop("rae")
            await world.start("ann")

            async def is_delivered() -> bool:
                return (await world.person("ann", doc, "rae")).state == "delivered"

            await world.until(is_delivered)

    run_virtual(play())


def test_delivery_is_told_step_by_step_and_only_on_the_recipients_word() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            world.box.switch(is_up=False)
            doc = await new_text(world.ann, world.space_id, content="secret plan")
            await asyncio.sleep(10)
            person = await world.person("ann", doc, "ben")
            assert (person.state, person.devices[0].missing > 0) == ("waiting", True)
            assert world.ann.space(world.space_id).delivery.state == "saved_here"
            assert (await world.ann.delivery(doc)).relays[0].state == "unreachable"
            world.box.switch(is_up=True)
            await asyncio.sleep(10)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"
            assert (await world.ann.delivery(doc)).relays[0].state == "stored"
            summary = world.ann.space(world.space_id).delivery
            assert (summary.state, summary.waiting_people) == ("on_relay", 1)
            await world.start("ben")
            await asyncio.sleep(10)
            person = await world.person("ann", doc, "ben")
            assert (person.state, person.devices[0].missing) == ("delivered", 0)
            assert world.ann.space(world.space_id).delivery.state == "delivered"
            await world.ben.mark_seen(doc)
            await asyncio.sleep(10)
            person = await world.person("ann", doc, "ben")
            assert person.state == "seen"
            assert person.devices[0].at_ms is not None
            await world.append("ann", doc, "more")
            assert (await world.person("ann", doc, "ben")).state == "waiting"

    run_virtual(play())


def test_what_was_seen_is_kept_to_oneself_when_switched_off() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="psst")
            await world.until_text("ben", doc, "psst")
            assert (await world.ben.update_profile(share_seen=False)).share_seen is False
            await world.ben.mark_seen(doc)
            await asyncio.sleep(60)
            assert (await world.person("ann", doc, "ben")).state == "delivered"
            await world.stop("ben")
            await world.start("ben")
            assert world.ben.profile().share_seen is False, "remembered"

    run_virtual(play())


def test_a_relay_that_an_owner_spelt_another_way_is_the_same_relay() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            world.set_relays("ann", "wss://Relay.Example:443/", URL, "no relay at all")
            await asyncio.sleep(10)
            await world.stop("ben")
            assert [worker.url for worker in world.ann._delivery.mailboxes.workers(world.space_id)] == [URL]
            world.set_relays("ann", "wss://Relay.Example:443/")
            doc = await new_text(world.ann, world.space_id, content="by the same relay")
            await asyncio.sleep(10)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())


# ------------------------------------------------------------------ relays that fail


def warnings_of(world: MailboxWorld, name: str) -> list[tuple[object, object]]:
    subscription = world.nodes[name].events.subscribe()
    found: list[tuple[object, object]] = []
    put = subscription.put

    def note(event: object) -> None:
        if getattr(event, "kind", "") == "relay_warning":
            data = event.data  # type: ignore[attr-defined]
            found.append((data["kind"], data["space_id"]))
        put(event)  # type: ignore[arg-type]

    subscription.put = note  # type: ignore[assignment]
    return found


def test_a_relay_that_lost_its_store_is_filled_again_and_people_are_told() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            doc = await new_text(world.ann, world.space_id, content="kept by ann")
            await asyncio.sleep(10)
            told = warnings_of(world, "ann")
            world.box.wipe()
            assert world.items() == 0
            await world.until(lambda: world.items() > 0)
            assert told == [("lost", world.space_id.text)]
            assert "lost what it kept" in (world.ann.space(world.space_id).delivery.relay_warning or "")
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "kept by ann")

    run_virtual(play())


def test_a10_a_relay_that_went_back_to_an_older_copy_is_noticed() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            doc = await new_text(world.ann, world.space_id, content="start")
            await asyncio.sleep(10)
            told = warnings_of(world, "ann")
            for turn in range(10):
                old = world.box.copy()
                await world.write("ann", doc, f"after copy {turn}")
                await asyncio.sleep(10)
                world.box.restore(old)
                await asyncio.sleep(10)
                assert told == [("rolled_back", world.space_id.text)] * (turn + 1)
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "after copy 9")

    run_virtual(play())


def test_a10_an_older_copy_that_grew_meanwhile_is_noticed_when_we_come_back() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben", "cat") as world:
            await world.stop("ben", "cat")
            doc = await new_text(world.ann, world.space_id, content="one")
            await asyncio.sleep(10)
            old = world.box.copy()
            await world.write("ann", doc, "two")
            await asyncio.sleep(10)
            await world.stop("ann")
            world.box.restore(old)
            access = access_of_stopped = next(iter(world.box.mailboxes))
            assert access == access_of_stopped
            state = world.box.mailboxes[access]
            for junk in (b"x" * 50, b"y" * 50, b"z" * 50, b"w" * 50):
                world.box._append(access, state, junk)
            await world.start("ann")
            told = warnings_of(world, "ann")
            await asyncio.sleep(10)
            assert told == [("rolled_back", world.space_id.text)]
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "two")

    run_virtual(play())


def test_a_full_relay_is_told_and_used_again_when_it_has_room() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            told = warnings_of(world, "ann")
            world.box.refusal = RefusalCode.FULL
            doc = await new_text(world.ann, world.space_id, content="no room")
            await asyncio.sleep(30)
            assert told == [("full", world.space_id.text)]
            assert world.worker("ann").state is MailboxState.FULL
            assert (await world.ann.delivery(doc)).relays[0].state == "full"
            world.box.refusal = None
            await asyncio.sleep(120)
            assert world.worker("ann").state is MailboxState.OK
            assert (await world.person("ann", doc, "ben")).state == "on_relay"
            assert world.ann.space(world.space_id).delivery.relay_warning is None

    run_virtual(play())


def test_a_full_mailbox_is_compacted_by_a_member() -> None:
    async def play() -> None:
        box = RelayBox(URL, mailbox_bytes_max=6_000)
        async with MailboxWorld.of("ann", "ben", box=box) as world:
            doc = await new_text(world.ann, world.space_id, content="a")
            for number in range(40):
                await world.write("ann", doc, f"version {number}")
                await asyncio.sleep(4)
            await world.until_text("ben", doc, "version 39", timeout_s=1200)
            assert world.ann.metrics()["mailbox_compactions_total"] > 0

    run_virtual(play())


def test_a_mailbox_of_many_items_is_compacted_and_nothing_is_missing_after_it() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben", "cat") as world:
            await world.stop("cat")
            doc = await new_text(world.ann, world.space_id, content="start")
            for number in range(260):
                await world.write("ann", doc, f"version {number}")
                await asyncio.sleep(2.5)
            await asyncio.sleep(120)
            assert world.items() < 250
            assert max(node.metrics()["mailbox_compactions_total"] for node in world.nodes.values()) == 1
            await world.stop("ann", "ben")
            await world.start("cat")
            await world.until_text("cat", doc, "version 259")

    run_virtual(play())


# ------------------------------------------------------------------ epochs


def test_who_was_away_during_a_rotation_finds_the_way_through_the_old_mailbox() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            node, host = world.ann, world.host("ann")
            raw, epoch_id, secret = authoring.epoch(
                host.space, node._identity.device, node._clock.wall_ms(), node._entropy
            )
            host.add_ops([raw])
            host.add_secret(epoch_id, secret)
            doc = await new_text(node, world.space_id, content="under the new key")
            await asyncio.sleep(10)
            assert len(world.box.mailboxes) == 2
            await world.stop("ann")
            await world.start("ben")
            await world.until_text("ben", doc, "under the new key")

    run_virtual(play())


def test_the_old_mailbox_gets_no_envelope_after_a_rotation() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            node, host = world.ann, world.host("ann")
            old = host.space.recent_keys()[0]
            last = world.box.news(old.mailbox_id)[0]
            raw, epoch_id, secret = authoring.epoch(
                host.space, node._identity.device, node._clock.wall_ms(), node._entropy
            )
            host.add_ops([raw])
            host.add_secret(epoch_id, secret)
            await new_text(node, world.space_id, content="not for those who left")
            await asyncio.sleep(30)
            page = world.box.get(MailboxAccess(old.mailbox_id, old.mailbox_token), last, 10**7)
            batches = [open_item(item.data, old) for item in page.items]
            assert [raw] == [op for batch in batches for op in batch.ops][-1:]
            assert all(not batch.runs and not batch.receipts for batch in batches)

    run_virtual(play())
