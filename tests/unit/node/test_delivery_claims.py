"""Delivery believes no hearsay of what a device said, and shows no more than was said (PROTOCOL §5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

from sheaf.core.base.ids import DeviceId, DocId, LogId, SpaceId
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.space import authoring
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node.mailbox_words import RelayWarning
from sheaf.node.mailbox_worker import MailboxState
from sheaf.ports import MailboxAccess, StoredItem, WriteBatch
from tests.support.mailbox_world import MailboxWorld
from tests.support.memory_relay import MailboxState as TakenMailbox
from tests.support.nodes import new_text
from tests.support.virtual_time import LoopClock, run_virtual


class Peer:
    """A live member who only listens."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def tell_receipts(
        self, space_id: SpaceId, counters: Mapping[DeviceId, int] | None, raws: Sequence[bytes]
    ) -> None:
        self.told += raws


class LateClock(LoopClock):
    """The clock of a machine that lost the date."""

    def wall_ms(self) -> int:
        return super().wall_ms() % 86_400_000


def test_nobody_can_use_up_the_counters_of_anothers_receipts() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            host = world.host("ann")
            own = world.ann._identity.device.device_id
            mallory = Peer()
            host.delivery.asked(mallory, {own: INTEGER_MAX})
            doc = await new_text(world.ben, world.space_id, content="did you get this?")
            await world.until_text("ann", doc, "did you get this?")

            async def is_delivered() -> bool:
                return (await world.person("ben", doc, "ann")).state == "delivered"

            await world.until(is_delivered)
            assert host.delivery.own is not None
            assert host.delivery.own.counter < INTEGER_MAX // 2

    run_virtual(play())


def test_an_edit_that_is_sealed_while_somebody_asks_is_not_said_to_be_on_the_relay() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            doc = await new_text(world.ann, world.space_id, content="old")

            async def is_on_relay() -> bool:
                return (await world.person("ann", doc, "ben")).state == "on_relay"

            await world.until(is_on_relay)
            world.box.switch(is_up=False)
            host = world.host("ann")
            store = host._store
            ask = store.document_frontier

            async def ask_and_be_overtaken(space_id: SpaceId, doc_id: DocId) -> Mapping[LogId, int]:
                frontier = await ask(space_id, doc_id)
                host.seal_now()
                await host.flush()
                return frontier

            store.document_frontier = ask_and_be_overtaken  # type: ignore[method-assign]
            await world.write("ann", doc, "new")
            assert host.unsettled(doc) == 1
            assert (await world.person("ann", doc, "ben")).state == "waiting"
            assert host.unsettled(doc) == 0
            store.document_frontier = ask  # type: ignore[method-assign]
            assert (await world.person("ann", doc, "ben")).state == "waiting"

    run_virtual(play())


def test_what_is_sealed_and_not_yet_durable_counts_as_not_settled() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            doc = await new_text(world.ann, world.space_id, content="old")
            await world.until_text("ben", doc, "old")
            host = world.host("ann")
            unsettled: list[int] = []
            commit = host._store.commit

            async def look_and_commit(batch: WriteBatch) -> None:
                if batch.envelopes:
                    unsettled.append(host.unsettled(doc))
                await commit(batch)

            host._committer._store.commit = look_and_commit  # type: ignore[method-assign]
            await world.write("ann", doc, "new")
            await world.until_text("ben", doc, "new")
            assert unsettled == [1]
            assert host.unsettled() == 0

    run_virtual(play())


def test_an_empty_document_is_delivered_no_sooner_than_its_name() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            world.box.switch(is_up=False)
            doc = await new_text(world.ann, world.space_id)
            await asyncio.sleep(10)
            assert (await world.person("ann", doc, "ben")).state == "waiting"
            world.box.switch(is_up=True)
            await asyncio.sleep(20)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())


def test_who_stops_in_the_middle_of_an_upload_uploads_what_came_meanwhile_too() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            relay = world.worker("ann").relay
            put, begun, go_on = relay.put, asyncio.Event(), asyncio.Event()

            async def slow_put(access: MailboxAccess, item: bytes) -> StoredItem:
                begun.set()
                await go_on.wait()
                return await put(access, item)

            relay.put = slow_put  # type: ignore[method-assign]
            doc = await new_text(world.ann, world.space_id, content="first")
            await begun.wait()
            await world.write("ann", doc, "second")
            stopping = asyncio.ensure_future(world.stop("ann"))
            await asyncio.sleep(0.2)
            go_on.set()
            await stopping
            await world.start("ben")
            await world.until_text("ben", doc, "second")

    run_virtual(play())


def test_one_relay_that_answers_nothing_does_not_keep_the_others_from_the_last_upload() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            desk = world.ann._delivery.mailboxes
            hurried: list[str] = []

            async def never() -> None:
                hurried.append("never")
                await asyncio.Event().wait()

            async def at_once() -> None:
                hurried.append("at once")

            running = next(iter(desk._running.values()))
            desk._running = {
                (world.space_id, name): replace(running, worker=SimpleNamespace(hurry=hurry))  # type: ignore[arg-type]
                for name, hurry in (("a", never), ("b", at_once))
            }
            await desk.close()
            assert hurried == ["never", "at once"]

    run_virtual(play())


def test_who_was_removed_cannot_stop_the_new_mailbox_by_taking_the_old_one() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            node, host = world.ann, world.host("ann")
            old = host.space.recent_keys()[0]
            world.box.switch(is_up=False)
            raw, epoch_id, secret = authoring.epoch(
                host.space, node._identity.device, node._clock.wall_ms(), node._entropy
            )
            host.add_ops([raw])
            host.add_secret(epoch_id, secret)
            world.box.wipe()
            world.box.mailboxes[old.mailbox_id] = TakenMailbox(b"by another token", b"takeover", [], 1)
            world.box.switch(is_up=True)
            await world.stop("ben")
            doc = await new_text(node, world.space_id, content="in the new one")
            current = host.space.recent_keys()[0].mailbox_id
            await world.until(lambda: current in world.box.mailboxes)
            await world.until(lambda: world.worker("ann").state is MailboxState.OK)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())


def test_an_old_mailbox_that_somebody_filled_is_no_full_relay() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            node, host = world.ann, world.host("ann")
            old = host.space.recent_keys()[0].mailbox_id
            put, said = world.box.put, list[RelayWarning]()

            def full_for_the_old(access: MailboxAccess, item: bytes) -> StoredItem:
                if access.mailbox_id == old:
                    raise RelayRefused(RefusalCode.FULL)
                return put(access, item)

            world.box.put = full_for_the_old  # type: ignore[method-assign]
            raw, epoch_id, secret = authoring.epoch(
                host.space, node._identity.device, node._clock.wall_ms(), node._entropy
            )
            world.worker("ann")._on_warning = said.append
            host.add_ops([raw])
            host.add_secret(epoch_id, secret)
            doc = await new_text(node, world.space_id, content="in the new one")
            await asyncio.sleep(300)
            assert said == []
            assert world.worker("ann").state is MailboxState.OK
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())


def test_a_device_whose_clock_stands_at_1970_is_waited_for_too() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            await world.stop("ben")
            world.machines["ben"].clock = LateClock()
            await world.start("ben")
            first = await new_text(world.ben, world.space_id, content="my clock has no battery")
            await world.until_text("ann", first, "my clock has no battery")
            await asyncio.sleep(10)
            await world.stop("ben")
            doc = await new_text(world.ann, world.space_id, content="for you all the same")
            await asyncio.sleep(20)
            assert (await world.person("ann", doc, "ben")).state == "on_relay"

    run_virtual(play())


def test_a_defect_in_one_round_does_not_end_the_mailboxes_for_ever() -> None:
    async def play() -> None:
        async with MailboxWorld.of("ann", "ben") as world:
            mailboxes = world.ann._delivery.mailboxes
            settle, rounds = mailboxes._settle, []

            async def failing_once() -> None:
                rounds.append("round")
                if len(rounds) == 1:
                    raise RuntimeError("a defect")
                await settle()

            mailboxes._settle = failing_once  # type: ignore[method-assign]
            mailboxes.refresh()
            await world.until(lambda: len(rounds) == 1)
            mailboxes.refresh()
            await world.until(lambda: len(rounds) == 2)

    run_virtual(play())
