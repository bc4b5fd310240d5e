"""What a database error means for a person, and whether the connection survives it.

Every `sqlite3.Error` of the adapter passes through here on its way out, so that callers
see `StorageFailure` only (ports, rule 1). Knows error codes, nothing of tables.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import StorageFailure, is_full
from sheaf.storage.room import full_disk, try_writing

_PRIMARY: Final = 0xFF
_FSYNC_CODES: Final = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_WRITE_CODES: Final = _FSYNC_CODES | {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_CLOSE,
    sqlite3.SQLITE_CANTOPEN,
}
_DISK_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)

_SENTENCES: Final = {
    sqlite3.SQLITE_READONLY: "Sheaf's data can be read but not written, so this was not saved. Check the "
    "permissions of the data directory and whether its disk is mounted read-only.",
    sqlite3.SQLITE_IOERR: "The disk reported an error, so this was not saved. Check the disk; Sheaf tries it "
    "again by itself.",
    sqlite3.SQLITE_CORRUPT: "Part of Sheaf's database is damaged. Run `sheaf doctor`; what other devices "
    "have can be fetched from them.",
    sqlite3.SQLITE_NOTADB: "The file sheaf.db is not a Sheaf database. Move it away or choose another data "
    "directory with --data-dir.",
    sqlite3.SQLITE_BUSY: "Another program holds Sheaf's database. Close it and try again.",
    sqlite3.SQLITE_LOCKED: "Sheaf's database is locked. Close other programs that use it and try again.",
    sqlite3.SQLITE_CANTOPEN: "Sheaf's database cannot be opened. Check the data directory's permissions.",
    sqlite3.SQLITE_PERM: "Sheaf may not open its database. Check the permissions of the data directory.",
    sqlite3.SQLITE_NOMEM: "There is not enough memory, so this was not done. Close something and try again.",
}


DATABASE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What the sqlite3 module raises; the second when its own message quotes damaged text."""


def storage_failure(error: sqlite3.Error | UnicodeDecodeError, folder: Path) -> StorageFailure:
    """The failure to raise instead of `error`: a sentence for people, the code for experts.

    A full disk needs no code: the sentence says everything, and people meet it in the editor.

    Args:
        folder: the data directory; its disk is asked when SQLite does not tell why it could not write.
    """
    code = _code(error)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if code & _PRIMARY == sqlite3.SQLITE_FULL or (code in _WRITE_CODES and _is_full(folder)):
        return full_disk(folder)
    sentence = _SENTENCES.get(code & _PRIMARY, "The database refused, so this was not done.")
    return StorageFailure(f"{sentence} [{name}: {error}]")


def is_the_disks(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """True when the disk or the file refuses, and would refuse any other change too."""
    return _code(error) & _PRIMARY in _DISK_CODES or is_fatal(error)


def _is_full(folder: Path) -> bool:
    """SQLite takes ENOSPC alone for a full disk; a used-up quota is one too."""
    try:
        try_writing(folder)
    except OSError as error:
        return is_full(error)
    return False


def is_fatal(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """True when no later commit on this connection may be trusted (FAULTS S6).

    After a failed fsync the kernel may have dropped the dirty pages and report success
    the next time; writing into a malformed file spreads the damage.
    """
    return _code(error) in _FSYNC_CODES or is_malformed(error)


def is_malformed(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """True when the file itself is damaged: a new connection helps as little as the old one."""
    return _code(error) & _PRIMARY in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", None) or 0)
