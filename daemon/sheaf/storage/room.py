"""How much room the disk of a data directory has, and whether it takes a file (FAULTS S5).

SQLite tells "no room" from other failures by ENOSPC alone. A used-up quota, a disk that became
read-only and one that is broken all look the same to it, so a small file is written to find out.
Blocks, so it is called on the worker thread.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import DiskFull, file_failure, is_full
from sheaf.core.base.limits import KIB, MIB

FULL_BYTES: Final = 1 * MIB
"""With less than this left the disk counts as full, before a change is lost by it."""
ROOM_BYTES: Final = 4 * MIB
"""How much must be free before a disk that was full is written to again: more than one change takes."""
_TRIAL_NAME: Final = ".room"
_TRIAL_BYTES: Final = 64 * KIB


def free_bytes(folder: Path) -> int | None:
    """What this process may still write on the disk of `folder`; None when the system does not say."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    if disk.f_blocks == 0:
        return None
    blocks = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
    return blocks * disk.f_frsize


def look(folder: Path) -> int | None:
    """`free_bytes`.

    Raises:
        DiskFull: so little that the next change may find none.
    """
    free = free_bytes(folder)
    if free is not None and free < FULL_BYTES:
        raise full_disk(folder)
    return free


def require_room(folder: Path) -> None:
    """Find out whether a disk that refused may be written to again.

    Raises:
        StorageFailure: it may not; the text says why.
    """
    free = free_bytes(folder)
    if free is not None and free < ROOM_BYTES:
        raise full_disk(folder)
    try:
        try_writing(folder)
    except OSError as error:
        if is_full(error):
            raise full_disk(folder) from error
        raise file_failure(f"Nothing can be written to {folder}, so nothing is saved", error) from error


def try_writing(folder: Path) -> None:
    """Write a small file, as durably as a commit, and remove it.

    Raises:
        OSError: the disk does not take it; `errno` says why.
    """
    path = folder / _TRIAL_NAME
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        left = memoryview(bytes(_TRIAL_BYTES))
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def full_disk(folder: Path) -> DiskFull:
    """The failure to raise when the disk of `folder` is full."""
    return DiskFull(
        "The disk is full: nothing you write now is saved; what was saved is safe. "
        f"Make room on {_mount_of(folder)}; Sheaf goes on by itself."
    )


def _mount_of(folder: Path) -> Path:
    """Where the disk of `folder` is mounted."""
    path = folder.absolute()
    while path != path.parent and not path.is_mount():
        path = path.parent
    return path
