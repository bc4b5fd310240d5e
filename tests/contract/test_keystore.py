"""The contract of ports.KeyStore, for files and for the OS keyring (with a backend in memory)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import pytest

from sheaf.keystore import open_keystore
from sheaf.ports import KeyStore


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring backend that lasts as long as the test."""

    priority = 5.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring leaves it untyped
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        """See keyring."""
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """See keyring."""
        self.entries[service, username] = password


@pytest.fixture(params=["file", "keyring"])
def keystore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    """A keystore of a new data directory."""
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    yield open_keystore(request.param, tmp_path / "data")
    keyring.set_keyring(before)


async def test_an_unknown_secret_is_none(keystore: KeyStore) -> None:
    assert await keystore.load("device") is None


@pytest.mark.parametrize("secret", [b"", b"\0\xff" * 16, bytes(range(256)) * 4])
async def test_a_saved_secret_is_read_back_byte_for_byte(keystore: KeyStore, secret: bytes) -> None:
    await keystore.save("device", secret)
    assert await keystore.load("device") == secret


async def test_a_secret_is_replaced_and_others_are_left_alone(keystore: KeyStore) -> None:
    await keystore.save("device", b"one")
    await keystore.save("user-2", b"other")
    await keystore.save("device", b"two")
    assert await keystore.load("device") == b"two"
    assert await keystore.load("user-2") == b"other"


@pytest.mark.parametrize("name", ["", "../device", "a/b", "Device", "-x", "x" * 65, "a.b"])
async def test_a_name_that_could_leave_the_keystore_is_a_bug(keystore: KeyStore, name: str) -> None:
    with pytest.raises(AssertionError):
        await keystore.load(name)
    with pytest.raises(AssertionError):
        await keystore.save(name, b"secret")
