"""A start that takes long goes on while it moves, and ends when it is told to; updates clean up (S11)."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.storage.damage import value_digest
from tests.support.daemon import wait_until
from tests.support.repository import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SCHEMA_2 = ROOT / "tests" / "vectors" / "database-schema-2.sql"
WAIT_S = 60.0
PROGRAM = """
import os, sys
import sheaf.starting, sheaf.storage.store as store
from sheaf.storage.migrate import Migration, known_migrations
os.umask(0)
rows = int(sys.argv.pop(1))
sheaf.starting.SAY_EVERY_S = 0.02
count = f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {rows})"
slow = f"CREATE TABLE counted (n INTEGER) STRICT;\\nINSERT INTO counted {count} SELECT count(*) FROM c;\\n"
known = known_migrations()
store.known_migrations = lambda: [*known, Migration(len(known) + 1, "slow", slow)] if rows else known
from sheaf.cli.main import main
main()
"""
"""`sheaf up` with one more migration, which counts to a number."""
FOR_EVER = 10**15


class Starting:
    """A starting daemon, and what it tells its service manager."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self.heard: list[str] = []
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "NOTIFY_SOCKET": str(folder / "notify"),
            "SHEAF_DATA_DIR": str(folder / "data"),
        }
        options = ["up", "--no-open", "--no-mdns", "--port", "0", "--lan", "127.0.0.1:0"]
        self._log = (folder / "log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rows), *options],
            env=environment,
            stdout=self._log,
            stderr=self._log,
        )

    def said(self, word: str) -> int:
        """How often the manager was told something with `word` so far."""
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return sum(word in message for message in self.heard)

    def log(self) -> str:
        """What it printed."""
        self._log.flush()
        return Path(self._log.name).read_text("utf-8")

    def until_said(self, word: str, times: int = 1) -> None:
        """Wait for it, and for the process to be alive meanwhile."""
        wait_until(lambda: self.said(word) >= times or self.process.poll() is not None, timeout_s=WAIT_S)
        assert self.said(word) >= times, self.log()

    def close(self) -> None:
        """End what may still run."""
        self.process.kill()
        self.process.wait(WAIT_S)
        Path(self._socket.getsockname()).unlink()
        self._socket.close()
        self._log.close()


@contextmanager
def starting(folder: Path, *, rows: int) -> Iterator[Starting]:
    """A daemon that was just started on `folder / "data"`."""
    daemon = Starting(folder, rows)
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory with a database of an older schema; envelope 2 of it is damaged."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    user, device = UserKeys.generate(os.urandom), DeviceKeys.generate(os.urandom)
    certificate = DeviceCertificate.issue(user, device, name="laptop", user_name="Ann", created_ms=1)
    (data / "keys").mkdir(mode=0o700)
    for name, key in (("user", user.seed), ("device", device.to_bytes())):
        (data / "keys" / name).write_bytes(key)
        (data / "keys" / name).chmod(0o600)
    with closing(sqlite3.connect(data / "sheaf.db")) as connection:
        connection.executescript(SCHEMA_2.read_text("utf-8"))
        for name, value in (("device_id", bytes(device.device_id)), ("certificate", certificate.raw)):
            digest = value_digest("settings", name, value)
            connection.execute("INSERT INTO settings VALUES (?, ?, ?)", (name, value, digest))
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    (data / "sheaf.db").chmod(0o600)
    return tmp_path


def repair(folder: Path) -> None:
    """Take the damaged envelope out."""
    with closing(sqlite3.connect(folder / "data" / "sheaf.db")) as connection:
        connection.execute("DELETE FROM envelope_documents WHERE seq = 2")
        connection.execute("DELETE FROM envelopes WHERE seq = 2")
        connection.execute("DELETE FROM quarantine WHERE seq = 2")
        connection.commit()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_in_a_long_migration_can_be_ended_and_leaves_the_old_database(
    folder: Path, number: signal.Signals
) -> None:
    database = folder / "data" / "sheaf.db"
    before = database.read_bytes()
    with starting(folder, rows=FOR_EVER) as daemon:
        daemon.until_said("schema 4 (slow)")
        daemon.process.send_signal(number)
        assert daemon.process.wait(WAIT_S) == 0, daemon.log()
        assert "the start was interrupted" in daemon.log()
        assert "Traceback" not in daemon.log()
        assert daemon.said("READY=1") == 0
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.glob("*.new")] == []


def test_a_long_migration_asks_for_more_time_again_and_again(folder: Path) -> None:
    with starting(folder, rows=2_000_000) as daemon:
        daemon.until_said("READY=1")
        assert daemon.said("EXTEND_TIMEOUT_USEC=60000000") > 3, daemon.heard
        assert daemon.said("STATUS=bringing the database to schema 4 (slow)") > 1, daemon.heard


def test_the_database_of_before_an_update_goes_once_the_new_one_has_proved_itself(folder: Path) -> None:
    repair(folder)
    data = folder / "data"
    with starting(folder, rows=FOR_EVER) as daemon:
        daemon.until_said("schema 4 (slow)")
        (copy,) = data.glob("before-schema-*")
        assert copy.stat().st_mode & 0o777 == 0o600
        daemon.process.kill()
        daemon.process.wait(WAIT_S)
    assert [*data.glob("before-schema-*")] == [copy], "an unfinished start needs it"
    with starting(folder, rows=0) as daemon:
        daemon.until_said("READY=1")
        wait_until(lambda: not [*data.glob("before-schema-*")], timeout_s=WAIT_S)
        modes = {path.name: path.stat().st_mode & 0o777 for path in data.rglob("*")}
        assert {name for name, mode in modes.items() if mode & 0o077} == set(), "whatever the umask is"


def test_the_database_of_before_an_update_stays_when_the_new_one_is_damaged(folder: Path) -> None:
    data = folder / "data"
    with starting(folder, rows=0) as daemon:
        daemon.until_said("READY=1")
        wait_until(lambda: "of before the update is kept" in daemon.log(), timeout_s=WAIT_S)
    assert [path.name for path in data.glob("before-schema-*")] == ["before-schema-0003.db"]
