"""One daemon per data directory (FAULTS S9)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sheaf.core.base.errors import StorageFailure, UsageError
from sheaf.storage import DataDirBusy, lock_data_dir, open_store
from tests.support import store_process
from tests.support.store_rows import SystemClock

RACES = 8
NOON_MS = 1_767_268_800_000  # 2026-01-01 12:00 UTC


def test_the_second_is_refused_with_who_where_and_what_to_do(tmp_path: Path) -> None:
    held = lock_data_dir(tmp_path / "new" / "data", wall_ms=NOON_MS)
    with pytest.raises(DataDirBusy) as refusal:
        lock_data_dir(tmp_path / "new" / "data", wall_ms=NOON_MS)
    assert isinstance(refusal.value, UsageError)
    assert refusal.value.exit_code == 75
    assert f"process {os.getpid()}, started 2026-01-01 12:00:00 UTC" in str(refusal.value)
    assert str(tmp_path / "new" / "data") in str(refusal.value)
    assert "--data-dir" in str(refusal.value)
    held.release()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    held = lock_data_dir(tmp_path, wall_ms=NOON_MS)
    held.release()
    held.release()
    assert not held.is_held
    lock_data_dir(tmp_path, wall_ms=NOON_MS).release()


def test_the_note_of_a_dead_holder_with_my_process_number_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"process {os.getpid()}, started 2026-01-01 12:00:00 UTC and then some\n")
    held = lock_data_dir(tmp_path, wall_ms=NOON_MS)
    assert (tmp_path / "lock").read_text() == f"process {os.getpid()}, started 2026-01-01 12:00:00 UTC\n"
    held.release()


def test_a_directory_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailure, match=re.escape(str(tmp_path / "file" / "data"))):
        lock_data_dir(tmp_path / "file" / "data", wall_ms=NOON_MS)


def test_the_data_directory_and_its_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        lock_data_dir(tmp_path / "data", wall_ms=NOON_MS).release()
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "lock").stat().st_mode & 0o777 == 0o600


async def test_the_database_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = await open_store(tmp_path / "data", clock=SystemClock())
        await store.commit(store_process.ROWS.beginning())
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert modes == {"lock": 0o600, "sheaf.db": 0o600, "sheaf.db-wal": 0o600}
    await store.close()


async def test_s9_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    with pytest.raises(DataDirBusy):
        await open_store(tmp_path, clock=SystemClock())
    await store.commit(store_process.ROWS.beginning())
    await store.close()
    again = await open_store(tmp_path, clock=SystemClock())
    assert len(await again.spaces()) == 1
    await again.close()


async def test_s9_a_second_process_is_refused_within_a_second_and_the_first_goes_on(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    await store.commit(store_process.ROWS.beginning())
    before = (tmp_path / "lock").read_bytes()
    started = time.monotonic()
    second = store_process.start(tmp_path)
    output, errors = second.communicate(timeout=20)
    assert second.returncode == 75
    assert output == ""
    assert f"process {os.getpid()}" in errors
    assert time.monotonic() - started < 1 + interpreter_start_s()
    assert (tmp_path / "lock").read_bytes() == before
    await store.commit(store_process.batch(0))
    await store.close()


def interpreter_start_s() -> float:
    """How long a Python with our imports takes to start here and now."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import sheaf.storage.store"], check=True, timeout=20)
    return time.monotonic() - started


async def test_s9_of_racing_processes_exactly_one_gets_in(tmp_path: Path) -> None:
    for race in range(RACES):
        racers = [store_process.start(tmp_path / str(race)) for _ in range(2)]
        winner = None
        try:
            losers = [racer for racer in racers if _ended(racer)]
            assert [loser.returncode for loser in losers] == [75]
            (winner,) = [racer for racer in racers if racer.poll() is None]
        finally:
            for racer in racers:
                racer.kill()
        assert winner is not None
        acked = [int(line) for line in winner.communicate(timeout=20)[0].split("\n")[1:-1]]
        # The kernel gave the lock back at the winner's death, whatever its note says.
        store = await open_store(tmp_path / str(race), clock=SystemClock())
        assert set(acked) <= set(await store_process.stored_numbers(store))
        await store.close()


def _ended(racer: subprocess.Popen[str]) -> bool:
    """Wait until `racer` is refused, or has opened the store."""
    assert racer.stdout is not None
    return racer.stdout.readline() != "open\n" and racer.wait(timeout=20) is not None
