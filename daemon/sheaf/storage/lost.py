"""A data directory that was used and has no database any more (decision 0064).

A missing or empty `sheaf.db` looks to SQLite like a new one, which it would fill in without a
word; an empty one costs the write-ahead log beside it as well, because SQLite deletes that.
So it is refused, until somebody says that the documents are given up (`sheaf up --new-database`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sheaf.core.base.errors import StorageFailure, UsageError
from sheaf.storage.connection import make_database
from sheaf.storage.database import DATABASE_NAME
from sheaf.storage.lock import lock_data_dir
from sheaf.storage.migrate import is_without_tables
from sheaf.storage.old_copies import old_copies

NEW_DATABASE_OPTION: Final = "--new-database"


def lost_database(data_dir: Path, *, has_keys: bool) -> str | None:
    """What happened to the database, as a sentence, or None: it is here, or the directory is new.

    Args:
        has_keys: the device's keys are here, so there was a database.

    Raises:
        StorageFailure: what is there is no database.
    """
    path = data_dir / DATABASE_NAME
    state = _state(path)
    if state is None:
        return None
    if has_keys:
        return f"{data_dir} holds the keys of a device, but its database {DATABASE_NAME} {state}."
    if _has_log(path):
        return f"{data_dir} holds {DATABASE_NAME}-wal with saved changes, but {DATABASE_NAME} {state}."
    if old_copies(data_dir):
        return f"{data_dir} holds a database from before an update, but {DATABASE_NAME} {state}."
    return None


def what_to_do(data_dir: Path) -> str:
    """How to go on after `lost_database`."""
    copies = old_copies(data_dir)
    of_before = f" {copies[-1].name} is the database of before the last update." if copies else ""
    return (
        f"Put {DATABASE_NAME} (and {DATABASE_NAME}-wal, if there is one) back from a backup.{of_before} "
        f"Or start once with `sheaf up {NEW_DATABASE_OPTION}`: the device keeps its keys and begins "
        "without documents, and others can invite it again."
    )


def refuse_lost_database(data_dir: Path, *, has_keys: bool) -> None:
    """Keep a database that is gone from being taken for a new one.

    Raises:
        StorageFailure: it is gone; nothing was changed.
    """
    happened = lost_database(data_dir, has_keys=has_keys)
    if happened is not None:
        raise StorageFailure(f"{happened} Nothing was changed. {what_to_do(data_dir)}")


def begin_anew(data_dir: Path, *, has_keys: bool, wall_ms: int) -> None:
    """Make an empty database where one was lost.

    A write-ahead log, and the copies of before an update, are moved aside, never deleted: the next
    start would take the copies away, as the new database is sound.

    Raises:
        UsageError: the database is not lost.
        DataDirBusy: a daemon runs.
        StorageFailure: the disk refused.
    """
    lock = lock_data_dir(data_dir, wall_ms=wall_ms)
    try:
        if lost_database(data_dir, has_keys=has_keys) is None:
            raise UsageError(
                f"{data_dir} has lost no database, so nothing was changed. "
                f"Start without {NEW_DATABASE_OPTION}."
            )
        path = data_dir / DATABASE_NAME
        beside = (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))
        for stale in (path, *beside, *old_copies(data_dir)):
            if stale.exists():
                stale.rename(_free_name(stale))
        make_database(path)
    except OSError as error:
        raise StorageFailure(f"No new database was made in {data_dir}: {error.strerror}.") from error
    finally:
        lock.release()


def _state(path: Path) -> str | None:
    if not path.exists():
        return "is missing"
    if path.is_file() and path.stat().st_size == 0:
        return "is empty"
    return "has nothing in it" if path.is_file() and is_without_tables(path) else None


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _free_name(path: Path) -> Path:
    numbers = (path.with_name(f"{path.name}.lost-{number}") for number in range(1, 10_000))
    return next(free for free in numbers if not free.exists())
