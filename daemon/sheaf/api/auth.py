"""Who is signed in at the local door: launch tokens, browser sessions, the scripts' bearer token.

A launch token (in the fragment of the link that `sheaf up` and `sheaf open` print) works once,
within five minutes, and is exchanged for a session cookie. A session ends after twelve hours
without use, thirty days after it began, or when it is revoked; an open sync socket counts as use
(docs/decisions/0031). Secrets are kept and looked up as SHA-256, so comparing them reveals nothing.
Knows no HTTP; expiry inside a running daemon is monotonic time, the wall clock only bridges restarts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sheaf.api.credentials import CredentialVault, StoredSession
from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.machine import Entropy, Seconds
from sheaf.ports import Clock

SECRET_BYTES: Final = 32
LAUNCH_TTL_S: Final = 300.0
LAUNCH_TOKENS_MAX: Final = 16
SESSION_IDLE_S: Final = 12 * 3600.0
SESSION_AGE_S: Final = 30 * 86_400.0
SESSIONS_MAX: Final = 64
_RENEWAL_STORED_S: Final = 900.0
"""How stale the stored expiry may be: an unclean end costs a session at most this much of its idle time."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A proof of sign-in, good until `is_valid` says otherwise. `digest` names its secret."""

    digest: bytes
    is_session: bool


@dataclass(slots=True)
class _Session:
    started_at: Seconds
    created_ms: int
    expires_at: Seconds
    stored_until: Seconds


class Authenticator:
    """Issues and checks the door's credentials."""

    def __init__(self, *, vault: CredentialVault, clock: Clock, entropy: Entropy) -> None:
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._launch: dict[bytes, Seconds] = {}
        self._sessions: dict[bytes, _Session] = {}
        self._bearer = b""
        self._watchers: dict[int, tuple[Grant, Callable[[], None]]] = {}
        self._next_watcher = 0

    def load(self) -> None:
        """Read the stored credentials; makes a bearer token if there is none.

        Raises:
            StorageFailure: the token cannot be written.
        """
        token = self._vault.load_token()
        self._bearer = _digest(token) if token else _digest(self.rotate_bearer())
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        for digest, stored in self._vault.load_sessions().items():
            idle_left = min(SESSION_IDLE_S, (stored.expires_ms - wall_ms) / 1000)
            age = max(0.0, (wall_ms - stored.created_ms) / 1000)
            if idle_left > 0 and age < SESSION_AGE_S:
                self._sessions[digest] = _Session(
                    now - age, stored.created_ms, now + idle_left, now + idle_left
                )

    # ------------------------------------------------------------------ launch

    def issue_launch_token(self) -> str:
        """A one-time token for a link; the oldest is forgotten when sixteen are waiting."""
        while len(self._launch) >= LAUNCH_TOKENS_MAX:
            del self._launch[next(iter(self._launch))]
        token = self._secret()
        self._launch[_digest(token)] = self._clock.now() + LAUNCH_TTL_S
        return token

    def redeem(self, launch_token: str) -> str | None:
        """Exchange a launch token for a session secret (the cookie's value); None if it is not good.

        A session that cannot be stored now holds in memory: who comes to a full disk may read.
        """
        good_until = self._launch.pop(_digest(launch_token), None)
        if good_until is None or self._clock.now() >= good_until:
            return None
        return self._start_session()

    # ------------------------------------------------------------------ checking

    def session(self, secret: str) -> Grant | None:
        """The grant for a cookie, renewed by this use; None when unknown or expired."""
        grant = Grant(_digest(secret), is_session=True)
        return grant if self.renew(grant) else None

    def bearer(self, token: str) -> Grant | None:
        """The grant for a bearer token; None when it is not the current one."""
        digest = _digest(token)
        return Grant(digest, is_session=False) if hmac.compare_digest(digest, self._bearer) else None

    def is_valid(self, grant: Grant) -> bool:
        """Whether `grant` still holds; does not renew it."""
        if not grant.is_session:
            return hmac.compare_digest(grant.digest, self._bearer)
        session = self._sessions.get(grant.digest)
        if session is None:
            return False
        now = self._clock.now()
        if now < session.expires_at and now - session.started_at < SESSION_AGE_S:
            return True
        self._end(grant.digest)
        with suppress(StorageFailure):  # expired is expired, stored or not
            self._store()
        return False

    def renew(self, grant: Grant) -> bool:
        """Count a use of `grant`; returns whether it still holds."""
        if not self.is_valid(grant):
            return False
        if grant.is_session:
            session = self._sessions[grant.digest]
            session.expires_at = self._clock.now() + SESSION_IDLE_S
            if session.expires_at - session.stored_until > _RENEWAL_STORED_S:
                with suppress(StorageFailure):  # the session holds in memory; the next use tries again
                    self._store()
        return True

    # ------------------------------------------------------------------ ending

    def revoke(self, grant: Grant) -> None:
        """End a session at once, its open sockets included.

        Raises:
            StorageFailure: it has ended, but a restarted daemon would know it again.
        """
        self._end(grant.digest)
        self._store()

    def revoke_all(self) -> None:
        """Sign every browser out."""
        for digest in tuple(self._sessions):
            self._end(digest)
        self._store()

    def rotate_bearer(self) -> str:
        """Replace the bearer token; scripts and sockets with the old one are cut off."""
        token = self._secret()
        self._vault.save_token(token)
        self._bearer = _digest(token)
        self._notify(lambda grant: not grant.is_session and grant.digest != self._bearer)
        return token

    def watch(self, grant: Grant, on_ended: Callable[[], None]) -> Callable[[], None]:
        """Call `on_ended` (which must only enqueue) when `grant` ends; returns how to stop watching."""
        number = self._next_watcher
        self._next_watcher += 1
        self._watchers[number] = (grant, on_ended)

        def unwatch() -> None:
            self._watchers.pop(number, None)

        return unwatch

    # ------------------------------------------------------------------ inside

    def _secret(self) -> str:
        return base64.urlsafe_b64encode(self._entropy(SECRET_BYTES)).rstrip(b"=").decode("ascii")

    def _start_session(self) -> str:
        now = self._clock.now()
        while len(self._sessions) >= SESSIONS_MAX:
            self._end(min(self._sessions, key=lambda digest: self._sessions[digest].expires_at))
        secret = self._secret()
        self._sessions[_digest(secret)] = _Session(now, self._clock.wall_ms(), now + SESSION_IDLE_S, now)
        with suppress(StorageFailure):  # the next use tries again
            self._store()
        return secret

    def _end(self, digest: bytes) -> None:
        if self._sessions.pop(digest, None) is not None:
            self._notify(lambda grant: grant.is_session and grant.digest == digest)

    def _notify(self, is_meant: Callable[[Grant], bool]) -> None:
        for number, (grant, on_ended) in tuple(self._watchers.items()):
            if is_meant(grant):
                self._watchers.pop(number, None)
                on_ended()

    def _store(self) -> None:
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        stored = {}
        for digest, session in self._sessions.items():
            stored[digest] = StoredSession(
                session.created_ms, wall_ms + round((session.expires_at - now) * 1000)
            )
        self._vault.save_sessions(stored)
        for session in self._sessions.values():
            session.stored_until = session.expires_at


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
