"""Mailboxes between nodes that are never online together, over a relay in memory (PROTOCOL §7)."""

from __future__ import annotations

from tests.support.mailbox_world import MailboxWorld
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

    run_virtual(play())
