"""The file behind the SQLite store: its tables, how it is opened, and when it is refused.

`synchronous = NORMAL`: after a power cut the last transactions may be missing, never half there. The
relay is a cache, whose clients notice that and upload again (decision 0049).
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

import structlog

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.limits import MIB

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x5368_4652
"""In the file's header, so that no other database is taken for ours ("ShFR")."""
_BUSY_S: Final = 1.0
_log = structlog.get_logger("sheaf.relay.store")
_WAL_KEPT_BYTES: Final = 8 * MIB

_SCHEMA: Final = """
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    mailbox_id BLOB NOT NULL UNIQUE,
    token_hash BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    last INTEGER NOT NULL,
    items INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    emptied_s INTEGER
) STRICT;
CREATE TABLE item (
    mailbox INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    stored_s INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (mailbox, position),
    UNIQUE (mailbox, hash)
) STRICT;
CREATE INDEX item_age ON item (stored_s);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open (or make) the database at `path`, for this process alone.

    Raises:
        StorageFailure: not ours, newer, damaged, in use, or the directory cannot be written.
    """
    path = path.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.is_dir():
            raise StorageFailure(
                f"The relay's store {path} is a folder. Choose a file in it with --store sqlite:PATH."
            )
        if not path.exists():
            path.touch(mode=0o600)
        elif path.stat().st_size == 0:
            _log.warning(
                "the store was empty: people's devices upload again what they still need", path=str(path)
            )
        connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailure(f"The relay's store {path} cannot be opened: {error}.") from error
    try:
        _configure(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _failure(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def disconnect(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log and close."""
    with contextlib.suppress(sqlite3.Error):  # it is applied when the file is opened again
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not ours before anything is written, then set up the connection."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the first access: no -shm file then
    is_new = _is_new(connection, path)
    if is_new:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # later it would need a VACUUM
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageFailure(f"{path.parent} is on a file system without what SQLite needs (WAL).")
    for pragma in (
        "synchronous = NORMAL",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "temp_store = MEMORY",
        "cache_size = -16384",
        f"journal_size_limit = {_WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if is_new:
        _make_tables(connection)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """True for an empty file, False for ours; StorageFailure for everything else."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables == 0 and application == 0:
        return True
    if application != APPLICATION_ID:
        raise StorageFailure(
            f"{path} is a database of another program. Choose another file with --store sqlite:PATH."
        )
    if version > SCHEMA_VERSION:
        raise StorageFailure(
            f"{path} was written by a newer version of Sheaf (schema {version}, this one knows "
            f"{SCHEMA_VERSION}). Install that version again, or choose another file with --store sqlite:PATH."
        )
    return False


def _failure(error: sqlite3.Error, path: Path) -> StorageFailure:
    code = int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageFailure(f"Another relay has {path} open. Stop it, or choose another file with --store.")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageFailure(
            f"{path} is damaged or no database. Move it away and start again: the relay's store is a cache, "
            "and people's devices upload again what they still need."
        )
    return StorageFailure(f"The relay's store {path} cannot be used: {error}.")
