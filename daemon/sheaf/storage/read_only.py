"""Looking at a database that no daemon has open, without changing a byte of it.

For `sheaf doctor`. SQLite cannot read a write-ahead log without writing beside it, so a
database with one is checked in a temporary copy; without one it is opened immutable.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sheaf.storage.database import DATABASE_NAME

_PROBLEMS_MAX: Final = 20


def check_read_only(data_dir: Path) -> Sequence[str]:
    """SQLite's own integrity check; one line per problem, empty when the file is sound.

    Raises:
        OSError: the copy cannot be made (no room, no right to read).
    """
    path = data_dir / DATABASE_NAME
    log = data_dir / f"{DATABASE_NAME}-wal"
    if not (log.exists() and log.stat().st_size):
        return _check(path, "mode=ro&immutable=1")
    with tempfile.TemporaryDirectory(prefix="sheaf-doctor-") as folder:
        for file in (path, log):
            shutil.copyfile(file, Path(folder) / file.name)
        return _check(Path(folder) / path.name, "mode=rw")


def _check(path: Path, mode: str) -> Sequence[str]:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=1)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})").fetchall()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:  # no fault of the database
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        return [f"{path} cannot be read: {error}"]
    return [str(row[0]) for row in rows if row[0] != "ok"]
