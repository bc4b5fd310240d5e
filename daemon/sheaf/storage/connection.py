"""SQLite connections as Sheaf uses them: made, set up, and made again after a failure.

Runs on the worker thread. See docs/decisions/0010-storage.md for the settings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.limits import KIB, MIB
from sheaf.storage.failures import DATABASE_ERRORS, storage_failure
from sheaf.storage.migrate import BUSY_S, Migration, known_migrations, migrate, refuse_foreign
from sheaf.storage.progress import Progress

_WAL_KEPT_BYTES: Final = 8 * MIB
_CACHE_KIB: Final = 8 * KIB


def make_database(path: Path) -> None:
    """Make an empty database of the present schema, whose lock the caller holds.

    Raises:
        StorageFailure: the disk refused.
    """
    try:
        connect(path, known_migrations(), Progress()).close()
    except DATABASE_ERRORS as error:
        raise storage_failure(error, path.parent) from error


def connect(path: Path, migrations: Sequence[Migration], progress: Progress) -> sqlite3.Connection:
    """Open (or make) the database at `path` and bring it to this program's schema.

    Raises:
        StorageFailure: newer schema, not a database, no write-ahead log here.
    """
    refuse_foreign(path, newest=len(migrations))
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, cached_statements=256)
    try:
        progress.watch(connection)
        _configure(connection, path)
        migrate(connection, migrations, copies_dir=path.parent, progress=progress)
    except BaseException:
        connection.close()
        raise
    return connection


def reconnect(path: Path) -> sqlite3.Connection:
    """A new connection to a database that was open before, after the old one was closed.

    Everything committed then stands in the database file, written anew: pages of the WAL that an
    fsync failed for may be on no disk although the kernel shows them; moving them makes new pages,
    with an fsync of their own.

    Raises:
        StorageFailure: another program has the database.
        sqlite3.Error: it is not there, or the disk refuses. It is never made.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, cached_statements=256)
    try:
        _configure(connection, path)
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StorageFailure("Another program holds Sheaf's database, so nothing is saved. Close it.")
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    # Damaged text must reach its digest check instead of failing the whole query.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    # Before the first access to the WAL: its index then lives in memory and no -shm file exists.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageFailure(f"{path.parent} is on a file system that Sheaf cannot use safely (no WAL).")
    for pragma in (
        "synchronous = FULL",  # what a peer has seen is on our disk, also after power loss
        "fullfsync = ON",  # macOS: fsync alone does not reach the platter
        "checkpoint_fullfsync = ON",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "temp_store = MEMORY",
        f"cache_size = -{_CACHE_KIB}",
        f"journal_size_limit = {_WAL_KEPT_BYTES}",
        "wal_autocheckpoint = 4096",  # a safety net; _checkpoint comes earlier
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
