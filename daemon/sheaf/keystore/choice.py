"""Which keystore a data directory uses.

Once made, the choice stays with the directory: a daemon that finds no session bus today
must not conclude that it has no identity and make a new one.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Literal

from sheaf.core.base.errors import StorageFailure, file_failure
from sheaf.keystore.file import FileKeyStore
from sheaf.keystore.os_keyring import KeyringKeyStore, has_usable_keyring
from sheaf.ports import KeyStore

Kind = Literal["file", "keyring", "auto"]
KEYS_DIR: Final = "keys"
PROFILE_FILE: Final = "keyring-profile"
"""Its presence says that the secrets are in the keyring, and under which name."""


def open_keystore(kind: Kind, data_dir: Path, *, accept_shared: bool = False) -> KeyStore:
    """The keystore of `data_dir`.

    `auto` takes what the directory has used so far; a new one gets the keyring if a usable
    one is there, else files. The keyring itself is not asked yet.

    Args:
        accept_shared: see `FileKeyStore`.

    Raises:
        StorageFailure: the other kind was asked for than the directory's secrets are in, or
            the directory cannot be used.
    """
    used = _used(data_dir)
    if kind != "auto" and used is not None and kind != used:
        raise StorageFailure(
            f"The device key of {data_dir} is kept in the {used}, not in the {kind}. "
            f"Start with the {used}, or use a new data directory."
        )
    chosen = used or (kind if kind != "auto" else ("keyring" if has_usable_keyring() else "file"))
    if chosen == "file":
        return FileKeyStore(directory=data_dir / KEYS_DIR, accept_shared=accept_shared)
    try:
        return KeyringKeyStore(profile=_profile(data_dir))
    except OSError as error:
        raise file_failure(f"The data directory {data_dir} cannot be used", error) from error


def has_keys(data_dir: Path) -> bool:
    """Whether a device's keys were ever kept for `data_dir`; the keyring is not asked."""
    return _used(data_dir) is not None


def _used(data_dir: Path) -> Literal["file", "keyring"] | None:
    if (data_dir / PROFILE_FILE).exists():
        return "keyring"
    keys = data_dir / KEYS_DIR
    return "file" if keys.is_dir() and any(keys.iterdir()) else None


def _profile(data_dir: Path) -> str:
    """A random name kept in the directory, so that moving it does not lose the key."""
    path = data_dir / PROFILE_FILE
    if not path.exists():
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(secrets.token_hex(8))
        beside.replace(path)
    return path.read_text().strip()
