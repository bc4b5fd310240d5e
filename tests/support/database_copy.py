"""Looks into a copy of a daemon's database, without SQL locks and without trusting our own storage code."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database_copy(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy that passed SQLite's own check. The daemon must not be running."""
    with tempfile.TemporaryDirectory() as folder:
        for part in data_dir.glob("sheaf.db*"):
            shutil.copy(part, folder)
        connection = sqlite3.connect(Path(folder, "sheaf.db"))
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            yield connection
        finally:
            connection.close()
