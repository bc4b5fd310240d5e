"""When a document changed last, on machines whose clocks are years wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from sheaf.clock import SystemClock
from sheaf.core.base.ids import DocId
from sheaf.node.change_times import change_time
from sheaf.node.node import Node
from tests.support.memory_network import MemoryLan
from tests.support.nodes import Machine, join, machine, new_text, running, text_of, until

YEARS_MS = 10 * 365 * 86_400_000
NOW = 1_000_000


@dataclass
class WrongClock(SystemClock):
    """The system's clock, off by as much as a test wants."""

    off_ms: int = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.off_ms


@pytest.mark.parametrize(
    ("known", "edited", "is_last", "shown"),
    [
        (0, NOW - 5, False, NOW - 5),
        (NOW - 9, NOW - 5, False, NOW - 5),
        (NOW - 5, NOW - 9, False, NOW - 5),  # an older edit that comes late changes nothing
        (NOW - 5, NOW - 9, True, NOW),  # the last one shows, by whatever clock it was made
        (NOW - 5, NOW + YEARS_MS, False, NOW),  # never later than now
        (NOW + YEARS_MS, NOW - 5, False, NOW - 5),  # what a clock years ahead has left behind goes
        (NOW + YEARS_MS, NOW, True, NOW),
    ],
)
def test_the_time_that_is_shown(known: int, edited: int, is_last: bool, shown: int) -> None:
    assert change_time(known, edited, now_ms=NOW, is_last=is_last) == shown


def wrong(lan: MemoryLan, name: str) -> tuple[Machine, WrongClock]:
    made, clock = machine(lan, name), WrongClock()
    made.clock = clock
    return made, clock


def changed(node: Node, doc: DocId) -> int:
    return node.document(doc).updated_ms


def is_now(time_ms: int) -> bool:
    """Within this test's lifetime, rather than years away."""
    return abs(time_ms - SystemClock().wall_ms()) < 600_000


def has(node: Node, doc: DocId, line: str) -> Callable[[], Awaitable[bool]]:
    async def has_line() -> bool:
        return line in await text_of(node, doc)

    return has_line


async def test_an_edit_shows_after_our_own_clock_was_years_ahead() -> None:
    anns, clock = wrong(MemoryLan(), "ann")
    async with running(anns) as (ann,):
        clock.off_ms = YEARS_MS
        doc = await new_text(ann, (await ann.create_space("Home")).space_id, content="one\n")
        assert not is_now(changed(ann, doc))
        clock.off_ms = 0
        assert is_now(changed(ann, doc)), "not in ten years"
        await ann.append_content(doc, "two", agent=None)
        first = changed(ann, doc)
    async with running(anns) as (ann,):
        assert changed(ann, doc) == first, "as it was stored"
        assert anns.clock.wall_ms() >= first


@pytest.mark.parametrize("off_ms", [YEARS_MS, -YEARS_MS], ids=["ahead", "behind"])
async def test_an_edit_shows_whatever_the_clock_of_its_author_says(off_ms: int) -> None:
    lan = MemoryLan()
    bobs, clock = wrong(lan, "bob")
    async with running(machine(lan, "ann"), bobs) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        doc = await new_text(ann, space, content="one\n")
        await join(ann, bob, space)
        await until(has(bob, doc, "one"))
        before = changed(ann, doc)
        clock.off_ms = off_ms
        await bob.append_content(doc, "from another time", agent=None)
        await until(has(ann, doc, "from another time"))
        after = changed(ann, doc)
        assert after > before
        assert is_now(after)
        await ann.append_content(doc, "three", agent=None)
        assert after <= changed(ann, doc) <= SystemClock().wall_ms()
