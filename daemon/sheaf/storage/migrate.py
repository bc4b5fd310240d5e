"""Bringing a database to this program's schema, forwards only (PROTOCOL §10, FAULTS S10, S11).

All `migrations/NNNN-name.sql` that are missing run in one transaction together with the new
`user_version`, so a kill leaves the old schema or the new one. Before an existing database
is changed a copy is put beside it (`old_copies` takes it away). A newer schema is refused
before anything is written. Runs on the worker thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sheaf.core.base.errors import StorageFailure
from sheaf.failpoints import failpoint
from sheaf.storage.migration_functions import add_functions
from sheaf.storage.old_copies import copy_before
from sheaf.storage.progress import Progress

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
APPLICATION_ID: Final = 0x53484546
"""'SHEF': tells our files from other SQLite databases."""

_log = structlog.get_logger(__name__)

BUSY_S: Final = 0.3
"""How long to wait for a program that holds the file without holding our lock (S9: below 1 s)."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step; `number` becomes the `user_version`."""

    number: int
    name: str
    sql: str


def known_migrations(directory: Path = MIGRATIONS_DIR) -> Sequence[Migration]:
    """The migrations this program brings, by number, without gaps."""
    found = []
    for path in sorted(directory.glob("[0-9][0-9][0-9][0-9]-*.sql")):
        number, _, name = path.stem.partition("-")
        found.append(Migration(int(number), name, path.read_text("utf-8")))
    assert [step.number for step in found] == list(range(1, len(found) + 1)), "gap in the migrations"
    return found


def refuse_foreign(path: Path, newest: int) -> None:
    """Refuse a database of a newer program, or of another one, leaving it byte for byte.

    Raises:
        StorageFailure: newer schema, or not Sheaf's.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    if not path.is_file():
        raise StorageFailure(
            f"{path} is no file but a folder or something else, so it cannot be the database. Nothing was "
            "changed. Move it away, and put sheaf.db back from a backup."
        )
    header = _look(path)
    if not header.is_empty and header.application != APPLICATION_ID:
        raise StorageFailure(f"{path} is not a Sheaf database. Choose another directory with --data-dir.")
    if header.version > newest:
        raise StorageFailure(
            f"{path} was written by a newer Sheaf (schema {header.version}; this one knows {newest}). "
            "Nothing was changed. Install the newer Sheaf again to use this data."
        )


def is_without_tables(path: Path) -> bool:
    """Whether a database file, its write-ahead log included, has nothing in it.

    Raises:
        StorageFailure: it is no database.
    """
    return _look(path).is_empty


@dataclass(frozen=True, slots=True)
class _Header:
    """What a database file says of itself (sqlite.org/fileformat2.html, section 1.3)."""

    version: int
    application: int
    is_empty: bool


def _look(path: Path) -> _Header:
    """The header, without changing the file or its WAL.

    Read directly: no connection of this process has the file open yet, so closing it drops
    no locks. If there is a WAL the newest header may be in it.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size > 0:
        # On a full disk there is no room for the WAL's index; the file's own header has to do.
        with contextlib.suppress(sqlite3.OperationalError):
            return _ask(path)
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0"):
        raise StorageFailure(f"{path} is not a Sheaf database. Choose another directory with --data-dir.")
    cookie, version, application = (int.from_bytes(header[at : at + 4], "big") for at in (40, 60, 68))
    return _Header(version, application, is_empty=cookie == 0)


def _ask(path: Path) -> _Header:
    """The header as SQLite sees it, WAL included; a read-only connection never checkpoints."""
    index = path.with_name(path.name + "-shm")
    had_index = index.exists()
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        looking = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)
        with contextlib.closing(looking) as connection:
            is_empty = _pragma(connection, "schema_version") == 0
            return _Header(
                _pragma(connection, "user_version"), _pragma(connection, "application_id"), is_empty
            )
    finally:
        if not had_index:
            index.unlink(missing_ok=True)


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[Migration],
    *,
    copies_dir: Path,
    progress: Progress | None = None,
) -> None:
    """Apply what is missing. A copy of the database as it was goes to `copies_dir` first.

    Raises:
        sqlite3.Error: a step failed, or was interrupted; the transaction was rolled back.
        StartInterrupted: `progress` was told to end between two steps.
        OSError: the copy cannot be written.
    """
    progress = progress or Progress()
    version = _pragma(connection, "user_version")
    missing = [step for step in migrations if step.number > version]
    if not missing:
        return
    add_functions(connection)
    if version > 0:
        progress.begin(f"copying the database before it is brought to schema {missing[-1].number}")
        copy_before(connection, copies_dir, version + 1)
    _apply(connection, missing, progress)
    if version > 0:
        _log.info("the database was brought forward", schema=missing[-1].number, was=version)
    # So that the version stands in the file's header, not only in the WAL.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _apply(connection: sqlite3.Connection, steps: Sequence[Migration], progress: Progress) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for step in steps:
            for statement in statements(step.sql):
                progress.begin(f"bringing the database to schema {step.number} ({step.name})")
                connection.execute(statement)
                failpoint("migration-midway")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {steps[-1].number}")
        failpoint("migration-before-commit")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    failpoint("migration-after-commit")


def statements(sql: str) -> Iterator[str]:
    """The statements of a script, one by one (`executescript` would commit in between).

    Raises:
        ValueError: the script ends inside a statement.
    """
    collected = ""
    for line in sql.splitlines(keepends=True):
        collected += line
        if sqlite3.complete_statement(collected):
            yield collected
            collected = ""
    rest = "".join(line for line in collected.splitlines() if not line.lstrip().startswith("--"))
    if rest.strip():
        raise ValueError(f"unfinished statement: {rest.strip()[:60]}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
