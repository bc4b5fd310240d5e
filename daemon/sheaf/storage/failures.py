"""What a database error means for a person, and whether the connection survives it.

Every `sqlite3.Error` of the adapter passes through here on its way out, so that callers
see `StorageFailure` only (ports, rule 1). Knows error codes, nothing of tables.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sheaf.core.base.errors import StorageFailure

_PRIMARY: Final = 0xFF
_FSYNC_CODES: Final = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})

_SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "The disk is full, so this was not saved. Free some space; the next change "
    "is tried again.",
    sqlite3.SQLITE_READONLY: "Sheaf's data can be read but not written, so this was not saved. Check the "
    "permissions of the data directory and whether its disk is mounted read-only.",
    sqlite3.SQLITE_IOERR: "The disk reported an error, so this was not saved. Check the disk, then restart "
    "Sheaf.",
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


def storage_failure(error: sqlite3.Error | UnicodeDecodeError) -> StorageFailure:
    """The failure to raise instead of `error`: a sentence for people, the code for experts."""
    code = _code(error)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    sentence = _SENTENCES.get(code & _PRIMARY, "The database refused, so this was not done.")
    return StorageFailure(f"{sentence} [{name}: {error}]")


def is_fatal(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """True when no later commit on this connection may be trusted (FAULTS S6).

    After a failed fsync the kernel may have dropped the dirty pages and report success
    the next time; writing into a malformed file spreads the damage.
    """
    code = _code(error)
    return code in _FSYNC_CODES or code & _PRIMARY in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", None) or 0)
