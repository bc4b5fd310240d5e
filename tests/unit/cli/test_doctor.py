"""`sheaf doctor`: finds what is wrong, says what to do, changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from sheaf.storage.read_only import check_read_only
from tests.unit.cli.conftest import Run, run_command


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    return path


def findings(data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    outcome = run_command(data_dir, "doctor", "--json")
    grouped: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(outcome.out):
        grouped.setdefault(finding["name"], []).append(finding)
    assert outcome.code == int(any(f["verdict"] == "failure" for group in grouped.values() for f in group))
    return grouped


def make_database(data_dir: Path) -> Path:
    path = data_dir / "sheaf.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,) for _ in range(200)])
    connection.commit()
    connection.close()
    path.chmod(0o600)
    return path


def test_a_fresh_machine_is_fine(tmp_path: Path) -> None:
    found = findings(tmp_path / "not-yet")
    assert found["data"][0]["verdict"] == "ok"
    assert found["daemon"][0]["advice"] == "Start it with `sheaf up`."
    assert not (tmp_path / "not-yet").exists()


def test_every_finding_that_is_not_ok_says_what_to_do(data_dir: Path) -> None:
    data_dir.chmod(0o755)
    for group in findings(data_dir).values():
        for finding in group:
            assert (finding["advice"] is None) == (finding["verdict"] == "ok"), finding


def test_open_doors_are_found(data_dir: Path) -> None:
    data_dir.chmod(0o755)
    (data_dir / "api-token").write_text("x")
    (data_dir / "api-token").chmod(0o644)
    details = [finding["advice"] for finding in findings(data_dir)["data"]]
    assert details == [f"chmod 700 {data_dir}", f"chmod 600 {data_dir / 'api-token'}"]


def test_a_sound_database_stays_byte_for_byte_as_it_is(data_dir: Path) -> None:
    path = make_database(data_dir)
    before, names = path.read_bytes(), sorted(os.listdir(data_dir))
    assert findings(data_dir)["database"][0]["verdict"] == "ok"
    assert path.read_bytes() == before
    assert sorted(os.listdir(data_dir)) == names


def test_a_database_with_a_log_left_by_a_crash_is_read_and_kept(data_dir: Path) -> None:
    source = data_dir / "sheaf.db"
    connection = sqlite3.connect(source)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.commit()
    crashed = data_dir / "crashed"
    crashed.mkdir()
    for name in ("sheaf.db", "sheaf.db-wal"):
        shutil.copy(data_dir / name, crashed / name)
    connection.close()
    log = (crashed / "sheaf.db-wal").read_bytes()
    assert log
    assert check_read_only(crashed) == []
    assert (crashed / "sheaf.db-wal").read_bytes() == log


def test_a_damaged_database_is_a_failure(data_dir: Path) -> None:
    path = make_database(data_dir)
    damaged = bytearray(path.read_bytes())
    damaged[8192:20_000] = b"\xa5" * (20_000 - 8192)
    path.write_bytes(damaged)
    assert findings(data_dir)["database"][0]["verdict"] == "failure"
    path.write_bytes(b"this is no database" * 100)
    assert findings(data_dir)["database"][0]["verdict"] == "failure"


@pytest.mark.parametrize(("free", "verdict"), [(10**7, "failure"), (5 * 10**8, "warning"), (10**11, "ok")])
def test_a_full_disk_is_found(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("sheaf.cli.checks.shutil.disk_usage", lambda _path: usage(10**12, 0, free))
    assert findings(data_dir)["disk"][0]["verdict"] == verdict


def test_a_wrong_clock_is_found(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_database(data_dir)
    monkeypatch.setattr("sheaf.cli.checks.time.time", lambda: 3600.0)
    assert findings(data_dir)["clock"][0]["verdict"] == "warning"
    monkeypatch.setattr("sheaf.cli.checks.time.time", lambda: path.stat().st_mtime - 10 * 86_400)
    assert "the data is from later" in findings(data_dir)["clock"][0]["detail"]


def test_no_network_is_found(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sheaf.discovery.network.read_addresses", lambda: ())
    assert findings(data_dir)["network"][0]["verdict"] == "warning"


async def test_a_running_daemon_is_asked(sheaf: Run) -> None:
    outcome = await sheaf("doctor")
    assert "ok    daemon: version 0.1.0" in outcome.out
    assert "ok    lan: listening on 0.0.0.0:51234, mDNS on" in outcome.out
    assert "1 device connected" in outcome.out
