"""Secrets in files of mode 0600 in a directory of mode 0700 (PROTOCOL §2).

The fallback for machines without an OS keyring, and the default for servers. A file that
others can read is refused rather than repaired: the secret in it has to count as known.
Must not know what the secrets are for.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import StorageFailure, file_failure
from sheaf.core.base.limits import KIB
from sheaf.data_dir import WITHOUT_MODES_ADVICE, keeps_no_modes, without_modes

SECRET_BYTES_MAX: Final = 64 * KIB
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class FileKeyStore:
    """ports.KeyStore in `directory`, one file per secret."""

    def __init__(self, *, directory: Path, accept_shared: bool = False) -> None:
        """`accept_shared`: where the file system keeps no permissions, others may read along."""
        self._directory = directory
        self._accept_shared = accept_shared

    async def load(self, name: str) -> bytes | None:
        """The secret called `name` (a-z, 0-9 and hyphens), or None.

        Raises:
            StorageFailure: unreadable, or readable by others.
        """
        return await asyncio.to_thread(self._load, secret_name(name))

    async def save(self, name: str, secret: bytes) -> None:
        """Store `secret` (at most 64 KiB) under `name`: whole and durable, or not at all.

        Raises:
            StorageFailure: the disk refused; an earlier secret is still there.
        """
        assert len(secret) <= SECRET_BYTES_MAX, "a secret is a key, not a document"
        await asyncio.to_thread(self._save, secret_name(name), secret)

    def _load(self, name: str) -> bytes | None:
        path = self._directory / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failure(path, "read", error) from error
        with open(descriptor, "rb") as file:
            refuse_shared(path, os.fstat(descriptor).st_mode, accept=self._accept_shared)
            try:
                return file.read(SECRET_BYTES_MAX + 1)
            except OSError as error:
                raise _failure(path, "read", error) from error

    def _save(self, name: str, secret: bytes) -> None:
        """Write beside, sync, rename, sync the directory."""
        path = self._directory / name
        beside = self._directory / f".{name}.new"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_shared(self._directory, self._directory.stat().st_mode, accept=self._accept_shared)
            _write(beside, secret)
            beside.replace(path)
            _sync_directory(self._directory)
        except OSError as error:
            raise _failure(path, "written", error) from error


def secret_name(name: str) -> str:
    """`name`, checked: it becomes part of a path."""
    assert _NAME.fullmatch(name), f"not a name for a secret: {name!r}"
    return name


def refuse_shared(path: Path, mode: int, *, accept: bool) -> None:
    """Refuse a file or directory that anybody but its owner can read or change.

    Args:
        accept: not where the file system keeps no permissions; elsewhere it changes nothing.

    Raises:
        StorageFailure: it is; the text has the command that mends it.
    """
    if stat.S_IMODE(mode) & 0o077 == 0:
        return
    if keeps_no_modes(path.parent):
        if accept:
            return
        raise StorageFailure(f"{without_modes(path.parent)} {WITHOUT_MODES_ADVICE}")
    wanted = "700" if stat.S_ISDIR(mode) else "600"
    raise StorageFailure(
        f"{path} holds a secret key and can be read by other users of this computer. "
        f"Run: chmod {wanted} '{path}' - and if somebody else may have read it, make a new device identity."
    )


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # left by a crash, perhaps with another mode
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(path: Path, verb: str, error: OSError) -> StorageFailure:
    return file_failure(f"The key file {path} cannot be {verb}", error)
