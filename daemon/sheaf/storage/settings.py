"""Named values of the daemon itself. Runs on the worker thread."""

from __future__ import annotations

from collections.abc import Mapping

from sheaf.storage.damage import DamagedRow, value_digest
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
    if stored is None:
        return None
    value, digest = stored
    if isinstance(value, bytes) and value_digest("settings", name, value) == digest:
        return value
    session.damage.note(DamagedRow("settings", name))
    return None
