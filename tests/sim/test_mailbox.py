"""Three devices that never meet and a relay that lies: whatever it did, nothing acknowledged is lost.

Virtual time, seeded. After the lies stop, all replicas are equal and every edit that was acknowledged
stands in all of them exactly once (FAULTS N13, A9, A10).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Final

import pytest
import structlog

from sheaf.core.base.errors import SheafError
from sheaf.core.base.ids import DocId
from tests.support.lying_relay import LyingBox
from tests.support.mailbox_world import URL, MailboxWorld
from tests.support.memory_store import MemoryStore
from tests.support.nodes import new_text
from tests.support.virtual_time import run_virtual

SEEDS: Final = 50
OPERATIONS_MIN: Final = 10_000
NAMES: Final = ("ann", "ben", "cat")
TROUBLE_S: Final = 200.0
HONEST_S_MAX: Final = 2 * 86_400.0
"""Virtual. A doubt that found nothing is looked into ever less often, so the last one may take hours."""

operations: list[int] = []
lies: list[set[str]] = []


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A million lines that nobody reads take longer than everything else."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_n13_a_relay_that_lies_loses_nothing_and_doubles_nothing(seed: int) -> None:
    course = Course(seed)
    run_virtual(course.play())
    operations.append(course.box.operations)
    lies.append(set(course.box.lies))


def test_n13_ten_thousand_operations_with_every_kind_of_lie_were_among_them() -> None:
    if len(operations) < SEEDS:
        pytest.skip(reason="counts what the seeds above did; run the whole file")
    assert sum(operations) >= OPERATIONS_MIN
    assert len(set.union(*lies)) >= 15


class Course:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.box = LyingBox(URL, self.chance, share=self.chance.choice([0.2, 0.5, 0.8]))
        self.acknowledged: set[str] = set()
        self.tried = 0

    async def play(self) -> None:
        """Trouble, then honesty, then the reckoning."""
        async with MailboxWorld.of(*NAMES, box=self.box) as world:
            doc = await new_text(world.ann, world.space_id, content="begin\n")
            for name in NAMES[1:]:
                await world.until_text(name, doc, "begin\n")
            self.box.is_lying = True
            await self._trouble(world, doc)
            self.box.reform()
            await world.start(*(name for name in NAMES if name not in world.nodes))
            await world.until(world.is_level, timeout_s=HONEST_S_MAX, step_s=5.0)
            await self._reckon(world, doc)

    async def _trouble(self, world: MailboxWorld, doc: DocId) -> None:
        end = asyncio.get_running_loop().time() + TROUBLE_S
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.chance.uniform(0.1, 4.0))
            roll = self.chance.random()
            if roll < 0.55:
                await self._write(world, doc)
            elif roll < 0.75:
                self.box.mishap()
            elif roll < 0.9 and len(world.nodes) > 1:
                await self._crash(world)
            else:
                away = [name for name in NAMES if name not in world.nodes]
                if away:
                    await world.start(self.chance.choice(away))

    async def _write(self, world: MailboxWorld, doc: DocId) -> None:
        name = self.chance.choice(list(world.nodes))
        for _ in range(self.chance.choice([1, 1, 3])):
            self.tried += 1
            mark = f"{name}{self.tried}\n"
            try:
                await world.append(name, doc, mark)
            except SheafError:
                return  # not acknowledged
            self.acknowledged.add(mark)

    async def _crash(self, world: MailboxWorld) -> None:
        """At any moment, or in the moment a commit is done."""
        name = self.chance.choice(list(world.nodes))
        if self.chance.random() < 0.5:
            await world.crash(name)
            return
        store = world.machines[name].store
        assert isinstance(store, MemoryStore)
        survivors: list[MemoryStore] = []
        store.on_commit = after_some(self.chance.randrange(4), lambda: survivors.append(store.copy()))
        await asyncio.sleep(self.chance.uniform(0, 5))
        store.on_commit = None
        if survivors:
            await world.crash(name)
            world.machines[name].store = survivors[0]
            survivors[0].on_commit = None

    async def _reckon(self, world: MailboxWorld, doc: DocId) -> None:
        texts = {await world.text(name, doc) for name in NAMES}
        assert len(texts) == 1, "replicas differ"
        lines = texts.pop().splitlines(keepends=True)
        assert len(lines) == len(set(lines)), "an edit came twice"
        assert self.acknowledged <= set(lines), "an acknowledged edit is lost"


def after_some(count: int, act: Callable[[], None]) -> Callable[[object], None]:
    """Called for each commit: does `act` once, after `count` others."""
    left = count

    def committed(_: object) -> None:
        nonlocal left
        if left == 0:
            act()
        left -= 1

    return committed
