"""Secrets in the keyring of the operating system, by the optional `keyring` package.

Secret Service, KWallet, macOS Keychain or Windows Credential Locker; which one is the
package's choice. It is imported when first used, because finding a backend takes a while
and fails without a session bus. Must not know what the secrets are for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
from functools import partial
from typing import Any, Final

from sheaf.core.base.errors import StorageFailure
from sheaf.keystore.file import secret_name
from sheaf.threads import in_daemon_thread

SERVICE: Final = "sheaf"
ANSWER_S_MAX: Final = 60.0
"""A locked keyring asks the user for a password meanwhile."""


class KeyringKeyStore:
    """ports.KeyStore in the OS keyring.

    Args:
        profile: tells the data directories of one user apart; part of every entry's name.
    """

    def __init__(self, *, profile: str) -> None:
        self._profile = profile

    async def load(self, name: str) -> bytes | None:
        """The secret called `name`, or None.

        Raises:
            StorageFailure: no keyring, locked, no answer, or the entry is not ours.
        """
        text = await self._ask("get_password", self._entry(name))
        if text is None:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StorageFailure(f"The keyring's entry {self._entry(name)} is not a Sheaf key.") from error

    async def save(self, name: str, secret: bytes) -> None:
        """Store `secret` under `name`.

        Raises:
            StorageFailure: no keyring, locked or no answer.
        """
        await self._ask("set_password", self._entry(name), base64.b64encode(secret).decode("ascii"))

    def _entry(self, name: str) -> str:
        return f"{self._profile}/{secret_name(name)}"

    async def _ask(self, call: str, *arguments: str) -> str | None:
        keyring = load_keyring()
        if keyring is None:
            raise StorageFailure(
                "The `keyring` package is not installed. If pipx installed Sheaf:"
                " `pipx inject sheafd keyring`; otherwise, with the pip of Sheaf's environment:"
                " `pip install keyring`."
            )
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                answer: str | None = await in_daemon_thread(
                    partial(getattr(keyring, call), SERVICE, *arguments), name="sheaf-keyring"
                )
                return answer
        except TimeoutError as error:
            raise StorageFailure("The system keyring does not answer. Unlock it and try again.") from error
        except Exception as error:  # backends raise what they like (D-Bus, ctypes…)
            raise StorageFailure(f"The system keyring refused: {error or type(error).__name__}") from error


def load_keyring() -> Any | None:  # the package is optional, so there is no type to name
    """The `keyring` module, or None when it is not installed."""
    try:
        return importlib.import_module("keyring")
    except ImportError:
        return None


def has_usable_keyring() -> bool:
    """Whether the package is there and found a backend that keeps secrets safely."""
    keyring = load_keyring()
    if keyring is None:
        return False
    try:
        return float(keyring.get_keyring().priority) >= 1
    except Exception:  # noqa: BLE001 - a backend that cannot even be asked is not usable
        return False
