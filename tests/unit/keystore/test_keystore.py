"""What the keystores add to their contract: file modes, refusals, and a choice that stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from sheaf.core.base.errors import StorageFailure
from sheaf.keystore import FileKeyStore, open_keystore
from sheaf.keystore.os_keyring import KeyringKeyStore
from tests.contract.test_keystore import MemoryKeyring


@pytest.fixture
def memory_keyring() -> Iterator[MemoryKeyring]:
    """A usable keyring."""
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def no_keyring() -> Iterator[None]:
    """What `keyring` finds on a machine without a session bus."""
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]  # keyring leaves it untyped
    yield
    keyring.set_keyring(before)


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_keys_are_readable_by_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await FileKeyStore(directory=tmp_path / "keys").save("device", b"secret")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "keys") == 0o700
    assert mode_of(tmp_path / "keys" / "device") == 0o600
    assert os.listdir(tmp_path / "keys") == ["device"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
async def test_a_key_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    store = FileKeyStore(directory=tmp_path / "keys")
    await store.save("device", b"secret")
    path = tmp_path / "keys" / "device"
    path.chmod(mode)
    with pytest.raises(StorageFailure, match=f"chmod 600 '{path}'"):
        await store.load("device")
    path.chmod(0o600)
    assert await store.load("device") == b"secret"


async def test_a_key_directory_others_can_enter_is_refused_for_writing(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(StorageFailure, match="chmod 700"):
        await FileKeyStore(directory=tmp_path / "keys").save("device", b"secret")


async def test_what_a_crashed_save_left_is_not_taken_for_the_key(tmp_path: Path) -> None:
    store = FileKeyStore(directory=tmp_path / "keys")
    await store.save("device", b"whole")
    left = tmp_path / "keys" / ".device.new"
    left.write_bytes(b"ha")
    left.chmod(0o666)
    assert await store.load("device") == b"whole"
    await store.save("device", b"new")
    assert await store.load("device") == b"new"
    assert mode_of(tmp_path / "keys" / "device") == 0o600


async def test_a_link_in_place_of_a_key_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (tmp_path / "keys" / "device").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailure, match="cannot be read"):
        await FileKeyStore(directory=tmp_path / "keys").load("device")


async def test_a_directory_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailure, match="cannot be written"):
        await FileKeyStore(directory=tmp_path / "file" / "keys").save("device", b"secret")


# ------------------------------------------------------------------ the choice


@pytest.mark.usefixtures("no_keyring")
async def test_auto_falls_back_to_files_and_stays_with_them(tmp_path: Path) -> None:
    await open_keystore("auto", tmp_path).save("device", b"secret")
    keyring.set_keyring(MemoryKeyring())
    assert await open_keystore("auto", tmp_path).load("device") == b"secret"
    with pytest.raises(StorageFailure, match="kept in the file, not in the keyring"):
        open_keystore("keyring", tmp_path)


async def test_auto_takes_a_usable_keyring_and_stays_with_it(
    tmp_path: Path, memory_keyring: MemoryKeyring
) -> None:
    await open_keystore("auto", tmp_path).save("device", b"secret")
    assert len(memory_keyring.entries) == 1
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]  # keyring leaves it untyped
    with pytest.raises(StorageFailure, match="system keyring refused"):
        await open_keystore("auto", tmp_path).load("device")
    with pytest.raises(StorageFailure, match="kept in the keyring, not in the file"):
        open_keystore("file", tmp_path)


async def test_two_data_directories_do_not_share_keyring_entries(
    tmp_path: Path, memory_keyring: MemoryKeyring
) -> None:
    for name in ("a", "b"):
        await open_keystore("keyring", tmp_path / name).save("device", name.encode())
    (tmp_path / "a").rename(tmp_path / "moved")
    assert await open_keystore("keyring", tmp_path / "moved").load("device") == b"a"
    assert len(memory_keyring.entries) == 2


async def test_a_keyring_entry_that_is_not_ours_is_refused(memory_keyring: MemoryKeyring) -> None:
    memory_keyring.set_password("sheaf", "profile/device", "not base64!")
    with pytest.raises(StorageFailure, match="not a Sheaf key"):
        await KeyringKeyStore(profile="profile").load("device")


async def test_without_the_package_the_refusal_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(StorageFailure, match="pip install keyring"):
        await open_keystore("keyring", tmp_path / "a").load("device")
    assert isinstance(open_keystore("auto", tmp_path / "b"), FileKeyStore)


SILENT_KEYRING = """
import asyncio, sys, threading, types
from sheaf.keystore import os_keyring
never = threading.Event()
os_keyring.load_keyring = lambda: types.SimpleNamespace(get_password=lambda *entry: never.wait())
os_keyring.ANSWER_S_MAX = 0.1
asyncio.run(os_keyring.KeyringKeyStore(profile="profile").load("device"))
"""


def test_a_keyring_that_never_answers_does_not_keep_the_program_from_ending() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SILENT_KEYRING], capture_output=True, text=True, timeout=60, check=False
    )
    assert "The system keyring does not answer. Unlock it and try again." in ended.stderr


@pytest.fixture
def without_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system on which every file shows 0777."""
    monkeypatch.setattr("sheaf.keystore.file.keeps_no_modes", lambda folder: True)


@pytest.mark.usefixtures("without_modes")
async def test_where_no_modes_are_kept_the_advice_is_not_chmod(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o777)
    (tmp_path / "keys").chmod(0o777)
    with pytest.raises(StorageFailure, match=r"keeps no permissions.*another disk.*--accept-shared-files"):
        await FileKeyStore(directory=tmp_path / "keys").save("device", b"secret")
    accepting = FileKeyStore(directory=tmp_path / "keys", accept_shared=True)
    await accepting.save("device", b"secret")
    (tmp_path / "keys" / "device").chmod(0o777)
    assert await accepting.load("device") == b"secret"


async def test_a_shared_key_is_refused_where_modes_are_kept_whatever_was_accepted(tmp_path: Path) -> None:
    store = FileKeyStore(directory=tmp_path / "keys", accept_shared=True)
    await store.save("device", b"secret")
    (tmp_path / "keys" / "device").chmod(0o640)
    with pytest.raises(StorageFailure, match="chmod 600"):
        await store.load("device")
