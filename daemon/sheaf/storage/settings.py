"""Named values of the daemon itself. Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Mapping

from sheaf.storage.damage import UNREADABLE, DamagedRow, value_digest
from sheaf.storage.session import Session


def put_settings(session: Session, settings: Mapping[str, bytes]) -> None:
    """Insert or replace settings."""
    session.execute_many(
        "INSERT OR REPLACE INTO settings (name, value, digest) VALUES (?, ?, ?)",
        ((name, value, value_digest("settings", name, value)) for name, value in settings.items()),
    )


def setting(session: Session, name: str) -> bytes | None:
    """The value of a setting, or None when unset or damaged."""
    stored = session.row("SELECT value, digest FROM settings WHERE name = ?", (name,))
    return None if stored is None else _sound(session, name, *stored)


def check_all(session: Session) -> None:
    """Verify every setting. A damaged name cannot be asked for, so none is."""
    for name, value, digest in session.rows("SELECT name, value, digest FROM settings"):
        _sound(session, name, value, digest)


def _sound(session: Session, name: object, value: object, digest: object) -> bytes | None:
    try:
        if isinstance(value, bytes) and value_digest("settings", name, value) == digest:
            return value
    except UNREADABLE:
        pass
    session.damage.note(DamagedRow("settings", str(name)))
    return None
