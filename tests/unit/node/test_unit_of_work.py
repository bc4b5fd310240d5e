"""Units of work: order, what is announced when, and what a failed commit does."""

from __future__ import annotations

import asyncio

import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.node.unit_of_work import Committer, UnitOfWork
from sheaf.ports import WriteBatch
from sheaf.task_set import TaskSet
from tests.support.memory_store import MemoryStore


class Rig:
    """A committer over a memory store, and what it told us."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.told: list[str] = []
        self.failures: list[StorageFailure] = []
        self.tasks = TaskSet("rig")
        self.committer = Committer(store=self.store, prepare=self._prepare, on_failure=self.failures.append)
        self.prepared: list[UnitOfWork] = []
        self.tasks.spawn(self.committer.run(), "commits")

    def _prepare(self, unit: UnitOfWork) -> None:
        self.prepared.append(unit)

    def add(self, key: str) -> None:
        self.committer.unit.batch.settings[key] = b"x"
        self.committer.after_commit(lambda: self.told.append(key))


async def test_nothing_is_announced_before_its_commit() -> None:
    rig = Rig()
    seen: list[tuple[str, ...]] = []
    rig.store.on_commit = lambda batch: seen.append(tuple(rig.told))
    rig.add("one")
    assert rig.told == []
    await rig.committer.flush()
    assert seen == [()]
    assert rig.told == ["one"]
    await rig.tasks.close()


async def test_what_comes_while_a_commit_is_under_way_goes_together_into_the_next() -> None:
    rig = Rig()
    batches: list[WriteBatch] = []

    def committed(batch: WriteBatch) -> None:
        batches.append(batch)
        if len(batches) == 1:
            rig.add("two")
            rig.add("three")

    rig.store.on_commit = committed
    rig.add("one")
    await rig.committer.flush()
    await rig.committer.flush()
    assert [sorted(batch.settings) for batch in batches] == [["one"], ["three", "two"]]
    assert rig.told == ["one", "two", "three"]
    await rig.tasks.close()


async def test_after_a_failed_commit_nothing_is_announced_or_committed_again() -> None:
    rig = Rig()
    rig.store.fail_commits_with = StorageFailure("the disk is full")
    rig.add("one")
    with pytest.raises(StorageFailure):
        await rig.committer.flush()
    assert rig.told == []
    assert len(rig.failures) == 1
    rig.store.fail_commits_with = None
    with pytest.raises(StorageFailure):
        rig.add("two")
    with pytest.raises(StorageFailure):
        await rig.committer.flush()
    assert await rig.store.setting("two") is None
    await rig.tasks.close()


async def test_a_callback_with_nothing_to_wait_for_runs_at_once() -> None:
    rig = Rig()
    rig.committer.after_commit(lambda: rig.told.append("now"))
    assert rig.told == ["now"]
    await rig.tasks.close()


async def test_flushing_an_idle_committer_returns() -> None:
    rig = Rig()
    async with asyncio.timeout(5):
        await rig.committer.flush()
    await rig.tasks.close()


async def test_one_who_cannot_be_told_does_not_keep_the_others_from_hearing() -> None:
    rig = Rig()
    rig.committer.unit.batch.settings["one"] = b"x"
    rig.committer.after_commit(lambda: 1 // 0)  # type: ignore[arg-type]  # it raises
    rig.add("two")
    async with asyncio.timeout(5):
        await rig.committer.flush()
        assert rig.told == ["two"]
        rig.add("three")
        await rig.committer.flush()
    assert rig.failures == []
    await rig.tasks.close()


async def test_a_defect_while_preparing_is_a_failure_and_not_a_silence() -> None:
    rig = Rig()

    def broken(unit: UnitOfWork) -> None:
        raise AssertionError("a defect")

    rig.committer._prepare = broken
    rig.add("one")
    async with asyncio.timeout(5):
        with pytest.raises(StorageFailure, match="defect"):
            await rig.committer.flush()
    assert len(rig.failures) == 1
    await rig.tasks.close()


async def test_stopping_tells_those_who_wait_and_those_who_come_later() -> None:
    rig = Rig()
    rig.add("one")
    waiting = asyncio.create_task(rig.committer.flush())
    await asyncio.sleep(0)
    await rig.tasks.close()
    async with asyncio.timeout(5):
        with pytest.raises(StorageFailure, match="closed"):
            await waiting
        with pytest.raises(StorageFailure, match="closed"):
            await rig.committer.flush()
