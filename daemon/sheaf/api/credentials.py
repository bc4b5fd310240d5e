"""The files with the door's credentials: the scripts' token and the sessions' fingerprints.

Both live in the data directory with mode 0600 and are replaced atomically. `api-token`
holds the bearer token itself, because the command line reads it there; `sessions.json`
holds only hashes and expiry times. Must not know HTTP.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import file_failure

TOKEN_FILE: Final = "api-token"
SESSIONS_FILE: Final = "sessions.json"
_TOKEN_CHARS_MIN: Final = 32
_SESSIONS_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session at rest: wall-clock milliseconds, because it outlives the process."""

    created_ms: int
    expires_ms: int


class CredentialVault:
    """Reads and writes the credential files of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def load_token(self) -> str | None:
        """The bearer token, or None when there is none or others could have read it.

        Raises:
            StorageFailure: there is one and it cannot be read now; a new one would lock scripts out.
        """
        path = self._data_dir / TOKEN_FILE
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                return None
            token = path.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise file_failure(f"Cannot read {path}", error) from error
        return token if len(token) >= _TOKEN_CHARS_MIN else None

    def save_token(self, token: str) -> None:
        """Replace the bearer token. Raises StorageFailure when the disk refuses."""
        self._replace(TOKEN_FILE, token + "\n")

    def load_sessions(self) -> dict[bytes, StoredSession]:
        """Sessions by the SHA-256 of their cookie; a damaged file means nobody is signed in.

        Raises:
            StorageFailure: they cannot be read now; to store none would sign everybody out.
        """
        path = self._data_dir / SESSIONS_FILE
        try:
            if path.stat().st_size > _SESSIONS_BYTES_MAX:
                return {}
            entries = json.loads(path.read_text(encoding="ascii"))["sessions"]
            return {
                bytes.fromhex(entry["sha256"]): StoredSession(
                    int(entry["created_ms"]), int(entry["expires_ms"])
                )
                for entry in entries
            }
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        except OSError as error:
            raise file_failure(f"Cannot read {path}", error) from error

    def save_sessions(self, sessions: Mapping[bytes, StoredSession]) -> None:
        """Replace the stored sessions. Raises StorageFailure when the disk refuses."""
        entries = [
            {"sha256": digest.hex(), "created_ms": session.created_ms, "expires_ms": session.expires_ms}
            for digest, session in sessions.items()
        ]
        self._replace(SESSIONS_FILE, json.dumps({"sessions": entries}, indent=1) + "\n")

    def _replace(self, name: str, text: str) -> None:
        path = self._data_dir / name
        fresh = self._data_dir / f".{name}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            fresh.replace(path)
        except OSError as error:
            raise file_failure(f"Cannot write {path}", error) from error
