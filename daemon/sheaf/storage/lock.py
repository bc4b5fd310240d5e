"""The exclusive lock of a data directory (PROTOCOL §10, FAULTS S9).

A `flock` on `<data_dir>/lock`: it belongs to the open file, not to a process number, so a
reused pid or another mount namespace does not confuse it, and the kernel drops it when the
holder dies. The file's text only serves the message. Never touches the database file.

A child made by bare `fork` would keep the lock alive; helpers are started by `exec`
(the descriptor is close-on-exec).
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from sheaf.core.base.errors import StorageFailure, UsageError, file_failure

with contextlib.suppress(ImportError):
    import fcntl  # not on Windows

LOCK_NAME: Final = "lock"
_NOTE_BYTES_MAX: Final = 256


class DataDirBusy(UsageError):
    """Another daemon uses this data directory. The command line exits with `exit_code`."""

    exit_code: ClassVar[int] = 75
    """EX_TEMPFAIL of sysexits.h."""


class DataDirLock:
    """The held lock; `release` it when the database is closed."""

    def __init__(self, *, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self.path = path

    @property
    def is_held(self) -> bool:
        """False after `release`."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the directory free. Idempotent. The file stays: removing it would race."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def require_locks() -> None:
    """Raise StorageFailure on a system without `flock`: two daemons might use the same data there."""
    if os.name == "nt":
        raise StorageFailure(
            "Sheaf's daemon does not run on Windows itself. Run it in WSL (Windows Subsystem for Linux)."
        )


def lock_data_dir(data_dir: Path, *, wall_ms: int) -> DataDirLock:
    """Take the lock of `data_dir` (made, mode 0700, if missing), or refuse at once.

    Args:
        wall_ms: now, milliseconds since 1970; told to whoever is refused later.

    Raises:
        DataDirBusy: another process (or store) holds it.
        StorageFailure: the directory cannot be made or the file not be opened, or there are no such locks.
    """
    require_locks()
    path = data_dir / LOCK_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_failure(f"The data directory {data_dir} cannot be used", error) from error
    try:
        _take(descriptor, data_dir)
        _write_note(descriptor, wall_ms)
    except BaseException:
        os.close(descriptor)
        raise
    return DataDirLock(descriptor=descriptor, path=path)


def _take(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        note = os.pread(descriptor, _NOTE_BYTES_MAX, 0).decode("utf-8", "replace").strip()
        holder = f" ({note})" if note else ""
        raise DataDirBusy(
            f"Another Sheaf{holder} is already using {data_dir}. "
            "Stop it first, or choose another directory with --data-dir."
        ) from error
    except OSError as error:
        raise file_failure(f"The data directory {data_dir} cannot be locked", error) from error


def _write_note(descriptor: int, wall_ms: int) -> None:
    """Say who holds the lock. A full disk must not keep the daemon from starting."""
    started = datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, started {started}\n".encode(), 0)
    except OSError:
        return
