"""After a power loss the store is what it was at some commit, never something between (FAULTS S3).

The write-ahead log is what a lost power supply damages: its end is missing, zero, or torn.
The images are made from the files a dead process left.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sheaf.failpoints import EXIT_CODE
from sheaf.storage import open_store
from tests.support import store_process
from tests.support.store_rows import SystemClock

IMAGES_PER_FAULT = 20
COMMITS = 100


def cut(wal: bytearray, at: int, chance: random.Random) -> None:
    """The file ends early."""
    del wal[at:]


def zero(wal: bytearray, at: int, chance: random.Random) -> None:
    """The length was written, the blocks from `at` were not."""
    wal[at:] = bytes(len(wal) - at)


def flip(wal: bytearray, at: int, chance: random.Random) -> None:
    """One bit of one sector went wrong."""
    wal[at] ^= 1 << chance.randrange(8)


@pytest.fixture(scope="module")
def left_by_a_crash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose last commits are in the WAL only."""
    path = tmp_path_factory.mktemp("crashed")
    writer = store_process.start(path, 0, 10_000, failpoint=f"after-commit:{COMMITS}")
    writer.communicate(timeout=30)
    assert writer.returncode == EXIT_CODE
    assert (path / "sheaf.db-wal").stat().st_size > 100 * 4096
    return path


async def numbers_in(path: Path) -> list[int]:
    """What a daemon finds; that it can go on writing; that the structure is sound."""
    store = await open_store(path, clock=SystemClock())
    numbers = await store_process.stored_numbers(store)
    assert await store.check() == []
    if numbers:
        await store.commit(store_process.batch(len(numbers)))
        assert await store_process.stored_numbers(store) == list(range(len(numbers) + 1))
    await store.close()
    return numbers


async def test_an_undamaged_image_holds_every_commit(left_by_a_crash: Path, tmp_path: Path) -> None:
    shutil.copytree(left_by_a_crash, tmp_path / "image")
    assert len(await numbers_in(tmp_path / "image")) >= COMMITS - 1


@pytest.mark.parametrize("damage", [cut, zero, flip])
async def test_s3_a_damaged_wal_gives_a_consistent_prefix(
    left_by_a_crash: Path,
    tmp_path: Path,
    seeded_random: random.Random,
    damage: Callable[[bytearray, int, random.Random], None],
) -> None:
    whole = (left_by_a_crash / "sheaf.db-wal").read_bytes()
    found: list[tuple[int, int]] = []
    for number in range(IMAGES_PER_FAULT):
        image = tmp_path / str(number)
        shutil.copytree(left_by_a_crash, image)
        wal = bytearray(whole)
        at = seeded_random.randrange(len(wal))
        damage(wal, at, seeded_random)
        (image / "sheaf.db-wal").write_bytes(wal)
        numbers = await numbers_in(image)
        found.append((at, len(numbers)))
        shutil.rmtree(image)
    found.sort()
    counts = [count for _, count in found]
    assert counts == sorted(counts), "later damage loses no more than earlier damage"
    assert counts[-1] > counts[0]
