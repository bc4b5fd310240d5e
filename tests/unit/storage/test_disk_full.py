"""A disk that really is full: a small file system of its own (FAULTS S5)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.ports import Store, WriteBatch
from sheaf.storage import open_store
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 2 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], check=True, timeout=10)
    yield mount
    subprocess.run(["umount", str(mount)], check=True, timeout=10)


def remount(mount: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(mount)], check=True, timeout=10)


async def fill(store: Store) -> list[int]:
    """Commit until the disk is full; the edits acknowledged until then."""
    for number in range(1, 2_000):
        try:
            await store.commit(WriteBatch(pending=[ROWS.pending(number, size=5_000)]))
        except StorageFailure:
            return list(range(1, number))
    raise AssertionError("10 MB went onto a disk of 2 MiB")


@pytest.mark.netns
async def test_s5_a_full_disk_refuses_keeps_what_was_acked_and_recovers(small_disk: Path) -> None:
    store = await open_store(small_disk / "data", clock=SystemClock())
    await store.commit(ROWS.beginning())
    acked = await fill(store)
    assert len(acked) > 20
    for number in (9_001, 9_002):
        with pytest.raises(StorageFailure, match="disk is full"):
            await store.commit(WriteBatch(pending=[ROWS.pending(number, size=100_000)]))
    assert [row.pending_id for row in await store.pending(ROWS.space_id)] == acked
    assert await store.check() == []

    remount(small_disk, "size=16m")
    await store.commit(WriteBatch(pending=[ROWS.pending(9_003, size=100_000)]))
    await store.close()
    again = await open_store(small_disk / "data", clock=SystemClock())
    assert [row.pending_id for row in await again.pending(ROWS.space_id)] == [*acked, 9_003]
    await again.close()


@pytest.mark.netns
async def test_s5_closing_and_reopening_on_a_full_disk_loses_nothing(small_disk: Path) -> None:
    store = await open_store(small_disk / "data", clock=SystemClock())
    await store.commit(ROWS.beginning())
    acked = await fill(store)
    await store.close()
    again = await open_store(small_disk / "data", clock=SystemClock())
    assert [row.pending_id for row in await again.pending(ROWS.space_id)] == acked
    await again.close()
