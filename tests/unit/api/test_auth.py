"""Launch links, sessions and bearer tokens, on a clock moved by hand."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sheaf.api.auth import (
    LAUNCH_TOKENS_MAX,
    LAUNCH_TTL_S,
    SESSION_AGE_S,
    SESSION_IDLE_S,
    SESSIONS_MAX,
    Authenticator,
    Grant,
)
from sheaf.api.credentials import CredentialVault
from sheaf.core.base.errors import StorageFailure
from tests.support.local_door import ManualClock, RunningDoor


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def started(data_dir: Path, clock: ManualClock) -> Authenticator:
    auth = Authenticator(vault=CredentialVault(data_dir), clock=clock, entropy=os.urandom)
    auth.load()
    return auth


@pytest.fixture
def auth(tmp_path: Path, clock: ManualClock) -> Authenticator:
    return started(tmp_path, clock)


def signed_in(auth: Authenticator) -> tuple[str, Grant]:
    secret = auth.redeem(auth.issue_launch_token())
    assert secret is not None
    grant = auth.session(secret)
    assert grant is not None
    return secret, grant


def test_a_launch_token_works_once(auth: Authenticator) -> None:
    token = auth.issue_launch_token()
    assert len(token) >= 43
    assert auth.redeem(token) is not None
    assert auth.redeem(token) is None
    assert auth.redeem("") is None
    assert auth.redeem("\udcff") is None


def test_a_launch_token_is_good_for_five_minutes(auth: Authenticator, clock: ManualClock) -> None:
    token, late = auth.issue_launch_token(), auth.issue_launch_token()
    clock.advance(LAUNCH_TTL_S - 1)
    assert auth.redeem(token) is not None
    clock.advance(1)
    assert auth.redeem(late) is None


def test_waiting_launch_tokens_are_bounded(auth: Authenticator) -> None:
    tokens = [auth.issue_launch_token() for _ in range(LAUNCH_TOKENS_MAX + 1)]
    assert auth.redeem(tokens[0]) is None
    assert auth.redeem(tokens[1]) is not None


def test_a_session_is_renewed_by_use_and_ends_without(auth: Authenticator, clock: ManualClock) -> None:
    secret, _ = signed_in(auth)
    for _ in range(5):
        clock.advance(SESSION_IDLE_S - 1)
        assert auth.session(secret) is not None
    clock.advance(SESSION_IDLE_S)
    assert auth.session(secret) is None


def test_a_session_ends_after_thirty_days_of_use(auth: Authenticator, clock: ManualClock) -> None:
    secret, grant = signed_in(auth)
    hours = 0.0
    while auth.renew(grant):
        clock.advance(6 * 3600)
        hours += 6
        assert hours < 10_000
    assert hours * 3600 == SESSION_AGE_S
    assert auth.session(secret) is None


def test_a_wrong_or_empty_secret_is_nobody(auth: Authenticator) -> None:
    signed_in(auth)
    assert auth.session("") is None
    assert auth.session("x" * 43) is None
    assert auth.bearer("") is None


def test_a_restart_signs_nobody_out(tmp_path: Path, clock: ManualClock, auth: Authenticator) -> None:
    secret, _ = signed_in(auth)
    clock.now_s = 3.0
    clock.wall += 60_000
    restarted = started(tmp_path, clock)
    assert restarted.session(secret) is not None


def test_renewals_reach_the_disk_before_they_matter(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    secret, _ = signed_in(auth)
    for _ in range(48):
        clock.advance(1800)
        assert auth.session(secret) is not None
    clock.advance(SESSION_IDLE_S - 1000)
    assert started(tmp_path, clock).session(secret) is not None


def test_a_session_that_expired_while_the_daemon_was_off_stays_expired(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    secret, _ = signed_in(auth)
    clock.advance(SESSION_IDLE_S + 1)
    assert started(tmp_path, clock).session(secret) is None


def test_a_wall_clock_turned_back_extends_no_session(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    secret, _ = signed_in(auth)
    clock.wall -= 365 * 86_400_000
    restarted = started(tmp_path, clock)
    clock.now_s += SESSION_IDLE_S
    assert restarted.session(secret) is None


def test_a_wall_clock_jump_signs_nobody_out_of_a_running_daemon(
    auth: Authenticator, clock: ManualClock
) -> None:
    secret, _ = signed_in(auth)
    clock.wall += 10 * 365 * 86_400_000
    assert auth.session(secret) is not None


def test_a_revoked_session_is_told_and_does_not_come_back(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    secret, grant = signed_in(auth)
    other, other_grant = signed_in(auth)
    ended: list[str] = []
    auth.watch(grant, lambda: ended.append("one"))
    auth.watch(other_grant, lambda: ended.append("two"))
    auth.revoke(grant)
    assert ended == ["one"]
    assert auth.session(secret) is None
    assert auth.session(other) is not None
    assert started(tmp_path, clock).session(secret) is None
    auth.revoke_all()
    assert ended == ["one", "two"]


def test_who_stopped_watching_is_not_told(auth: Authenticator) -> None:
    _, grant = signed_in(auth)
    ended: list[str] = []
    auth.watch(grant, lambda: ended.append("one"))()
    auth.revoke(grant)
    assert ended == []


def test_a_new_bearer_token_cuts_off_the_old(tmp_path: Path, clock: ManualClock, auth: Authenticator) -> None:
    old = (tmp_path / "api-token").read_text().strip()
    grant = auth.bearer(old)
    assert grant is not None
    ended: list[str] = []
    auth.watch(grant, lambda: ended.append("bearer"))
    fresh = auth.rotate_bearer()
    assert ended == ["bearer"]
    assert not auth.is_valid(grant)
    assert auth.bearer(old) is None
    assert auth.bearer(fresh) is not None
    assert started(tmp_path, clock).bearer(fresh) is not None


def test_the_bearer_token_survives_a_restart_unless_others_could_read_it(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    path = tmp_path / "api-token"
    token = path.read_text().strip()
    assert started(tmp_path, clock).bearer(token) is not None
    path.chmod(0o644)
    assert started(tmp_path, clock).bearer(token) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credential_files_are_private_and_hold_no_session_secret(tmp_path: Path, auth: Authenticator) -> None:
    secret, _ = signed_in(auth)
    for name in ("api-token", "sessions.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert secret not in (tmp_path / "sessions.json").read_text()


@pytest.mark.parametrize("name", ["api-token", "sessions.json"])
def test_credentials_that_cannot_be_read_now_are_not_replaced(
    tmp_path: Path, clock: ManualClock, auth: Authenticator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(auth)
    before = (tmp_path / name).read_bytes()
    read_text = Path.read_text

    def broken(path: Path, *arguments: str, **options: str) -> str:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", broken)
    again = Authenticator(vault=CredentialVault(tmp_path), clock=clock, entropy=os.urandom)
    with pytest.raises(StorageFailure, match=name):
        again.load()
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"sessions":[{}]}', '{"sessions":[{"sha256":"zz"}]}', "\xff", "[" * 100_000],
)
def test_a_damaged_sessions_file_signs_out_and_nothing_worse(
    tmp_path: Path, clock: ManualClock, auth: Authenticator, text: str
) -> None:
    secret, _ = signed_in(auth)
    (tmp_path / "sessions.json").write_text(text, encoding="latin-1")
    restarted = started(tmp_path, clock)
    assert restarted.session(secret) is None
    signed_in(restarted)


def test_sessions_are_bounded_and_the_least_used_goes_first(auth: Authenticator, clock: ManualClock) -> None:
    first, _ = signed_in(auth)
    clock.advance(1)
    second, _ = signed_in(auth)
    clock.advance(1)
    auth.session(first)
    for _ in range(SESSIONS_MAX - 1):
        clock.advance(1)
        signed_in(auth)
    assert auth.session(first) is not None
    assert auth.session(second) is None


def test_a_disk_that_refuses_is_said_so(tmp_path: Path, clock: ManualClock, auth: Authenticator) -> None:
    _, grant = signed_in(auth)
    (tmp_path / "sessions.json").unlink()
    (tmp_path / "sessions.json").mkdir()
    with pytest.raises(StorageFailure, match=r"sessions\.json"):
        auth.revoke(grant)
    assert not auth.is_valid(grant)


def test_who_signs_in_on_a_full_disk_is_let_in_to_read(
    tmp_path: Path, clock: ManualClock, auth: Authenticator
) -> None:
    (tmp_path / "sessions.json").mkdir()
    secret = auth.redeem(auth.issue_launch_token())
    assert secret is not None
    assert auth.session(secret) is not None
    (tmp_path / "sessions.json").rmdir()
    clock.advance(1000)
    assert auth.session(secret) is not None  # and so it is stored
    assert (tmp_path / "sessions.json").is_file()


# --------------------------------------------------------------------------- over HTTP


async def test_the_launch_link_becomes_a_strict_cookie(door: RunningDoor) -> None:
    async with door.client(is_signed_in=False) as client:
        token = door.app.context.launch_link().partition("#token=")[2]
        headers = {"Origin": door.origin}
        answer = await client.post("/api/v1/session", json={"token": token}, headers=headers)
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 204
        assert cookie.startswith(f"sheaf_session_{door.port}=")
        for attribute in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert attribute in cookie
        assert "Domain" not in cookie
        assert (await client.get("/api/v1/status")).status_code == 200
        again = await client.post("/api/v1/session", json={"token": token}, headers=headers)
        assert (again.status_code, "set-cookie" in again.headers) == (401, False)
        assert (await client.delete("/api/v1/session", headers=headers)).status_code == 204
        assert (await client.get("/api/v1/status")).status_code == 401


async def test_signing_in_needs_the_own_origin(door: RunningDoor) -> None:
    async with door.client(is_signed_in=False) as client:
        token = door.auth.issue_launch_token()
        assert (await client.post("/api/v1/session", json={"token": token})).status_code == 403
        assert door.auth.redeem(token) is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/nonsense"),
        ("GET", "/api/"),
        ("POST", "/api/v1/spaces"),
        ("PUT", "/api/v1/documents/d_x/content"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/api/v1/events"),
        ("POST", "/api/v1/launch"),
        ("GET", "/metrics"),
    ],
)
async def test_strangers_learn_nothing_but_401(door: RunningDoor, method: str, path: str) -> None:
    async with door.client(is_signed_in=False) as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Cookie": f"sheaf_session_{door.port}=wrong"},
        ):
            answer = await client.request(method, path, headers={"Origin": door.origin, **headers})
            assert answer.status_code == 401
            assert answer.json()["title"] == "Not signed in"


async def test_an_idle_session_gets_401(door: RunningDoor) -> None:
    headers = await door.sign_in()
    async with door.client(is_signed_in=False) as client:
        assert (await client.get("/api/v1/status", headers=headers)).status_code == 200
        door.clock.advance(SESSION_IDLE_S)
        assert (await client.get("/api/v1/status", headers=headers)).status_code == 401


async def test_scripts_get_links_and_new_tokens(door: RunningDoor) -> None:
    async with door.client() as client:
        link = (await client.post("/api/v1/launch")).json()["link"]
        assert link.startswith(f"http://127.0.0.1:{door.port}/#token=")
        assert door.auth.redeem(link.partition("#token=")[2]) is not None
        fresh = (await client.post("/api/v1/token")).json()["token"]
        assert (await client.get("/api/v1/status")).status_code == 401
        answer = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {fresh}"})
        assert answer.status_code == 200


async def test_a_wrong_token_is_not_rescued_by_a_cookie(door: RunningDoor) -> None:
    headers = await door.sign_in()
    async with door.client(is_signed_in=False) as client:
        answer = await client.get("/api/v1/status", headers=headers | {"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
