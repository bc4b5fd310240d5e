"""The databases that migrations leave behind, and when they go (decision 0064).

A copy is made before anything is changed, and kept until the new database has proved itself:
every row of it was read and verified after the migration, and the daemon is up. Until then it
is the only whole copy. Only for its owner, from its first byte.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from sheaf.failpoints import failpoint

_PATTERN: Final = "before-schema-[0-9][0-9][0-9][0-9].db"
_UNFINISHED: Final = ".new"

_log = structlog.get_logger(__name__)


def copy_before(connection: sqlite3.Connection, folder: Path, schema: int) -> None:
    """Copy the database, as it was before it got `schema`, beside it: whole and durable, or not at all.

    Raises:
        sqlite3.Error, OSError: no room, no right; what was written is gone again.
    """
    target = folder / f"before-schema-{schema:04}.db"
    unfinished = target.with_name(target.name + _UNFINISHED)
    failpoint("migration-copy")
    unfinished.unlink(missing_ok=True)
    # VACUUM takes an empty file, and would make one that others can read.
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        failpoint("migration-copied")
        os.fsync(descriptor)
        unfinished.replace(target)
        _sync(folder)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def old_copies(folder: Path) -> Sequence[Path]:
    """What earlier migrations left in a data directory, by schema."""
    return sorted(folder.glob(_PATTERN))


def settle(folder: Path, problems: Sequence[str]) -> None:
    """The daemon is up. Remove the copies if nothing is wrong with the new database, else say why not.

    Args:
        problems: of the database in use, by `Store.check`.
    """
    copies = old_copies(folder)
    if problems:
        _log.error(
            "the database is damaged, so that of before the update is kept: run `sheaf doctor`",
            kept=str(copies[-1]) if copies else None,
            problems=len(problems),
            first=problems[0],
        )
        return
    for path in (*copies, *folder.glob(_PATTERN + _UNFINISHED)):
        try:
            path.unlink()
        except OSError as error:
            _log.warning("the database of before the update stays", path=str(path), error=error.strerror)
        else:
            _log.info("the database of before the update was removed", path=str(path))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
