"""A data directory that lost a part is refused with what to do; nothing in it is touched (PROTOCOL §10)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.world import Town, join, make_space, shared_document, text, until_equal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WAIT_S = 60.0
START = ["up", "--no-open", "--no-mdns", "--port", "0", "--lan", "127.0.0.1:0"]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directories `ann` and `bob` of two devices that were used and stopped."""
    folder = tmp_path_factory.mktemp("used")
    for name in ("ann", "bob"):
        daemon = Daemon(folder / name, arguments=("--no-mdns", "--lan", "127.0.0.1:0"))
        daemon.start()
        make_space(daemon)
        assert daemon.stop() == 0
    return folder


@pytest.fixture
def data(used: Path, tmp_path: Path) -> Path:
    """A copy of `ann`'s data directory."""
    shutil.copytree(used / "ann", tmp_path / "data")
    return tmp_path / "data"


def run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `sheaf` on a data directory, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "sheaf.cli.main", "--data-dir", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env={"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring", "PATH": "/usr/bin:/bin"},
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the note in the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def remove(database: Path) -> None:
    """No database at all."""
    database.unlink()


def empty(database: Path) -> None:
    """Cut to 0 bytes, as after a full disk or a bad copy."""
    database.write_bytes(b"")


def empty_beside_its_log(database: Path) -> None:
    """Cut to 0 bytes, beside a write-ahead log, which SQLite would delete."""
    database.write_bytes(b"")
    database.with_name("sheaf.db-wal").write_bytes(b"changes" * 1000)


def without_tables(database: Path) -> None:
    """Only its first page, as SQLite leaves it before anything else."""
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def only_from_before_an_update(database: Path) -> None:
    """Only the copy that a migration left, and no keys."""
    database.rename(database.with_name("before-schema-0003.db"))
    shutil.rmtree(database.parent / "keys")


def folder_instead(database: Path) -> None:
    """A folder of that name."""
    database.unlink()
    database.mkdir()


def newer_schema(database: Path) -> None:
    """Written by a later version."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")


def empty_key(database: Path) -> None:
    """A key file of 0 bytes."""
    (database.parent / "keys" / "device").write_bytes(b"")


def no_keys(database: Path) -> None:
    """The keys are gone."""
    shutil.rmtree(database.parent / "keys")


def nameless(database: Path) -> None:
    """The entry that names the device does not match its digest."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE settings SET value = zeroblob(32) WHERE name = 'device_id'")
        connection.commit()


@dataclass(frozen=True)
class Case:
    """What was done to the database, and what has to be said about it."""

    harm: Callable[[Path], None]
    happened: str
    to_do: str
    finding: str | None = "database"
    """What `sheaf doctor` calls it."""


BACKUP = "back from a backup"
CASES = [
    Case(remove, "holds the keys of a device, but its database sheaf.db is missing", BACKUP),
    Case(empty, "holds the keys of a device, but its database sheaf.db is empty", BACKUP),
    Case(empty_beside_its_log, "its database sheaf.db is empty", "sheaf up --new-database"),
    Case(without_tables, "its database sheaf.db has nothing in it", "sheaf up --new-database"),
    Case(only_from_before_an_update, "sheaf.db is missing", "0003.db is the database of before"),
    Case(folder_instead, "is no file but a folder", BACKUP),
    Case(newer_schema, "was written by a newer Sheaf", "Install the newer Sheaf again", finding=None),
    Case(empty_key, "the key `device` of this device is damaged: it has 0 bytes", BACKUP, finding="keys"),
    Case(no_keys, "the keys of this device are missing", "Put back the `keys` folder", finding="keys"),
    Case(nameless, "does not say any more whose it is", BACKUP, finding=None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.harm.__name__)
def test_a_start_on_what_is_left_is_refused_with_what_to_do(data: Path, case: Case) -> None:
    case.harm(data / "sheaf.db")
    before = contents(data)
    ended = run(data, *START)
    assert ended.returncode == 1, ended.stderr
    assert case.happened in ended.stderr
    assert case.to_do in ended.stderr
    assert "Traceback" not in ended.stderr
    assert contents(data) == before
    if case.finding is not None:
        doctor = run(data, "doctor", "--json")
        (finding,) = [each for each in json.loads(doctor.stdout) if each["name"] == case.finding]
        assert doctor.returncode == 1
        assert finding["verdict"] == "failure"
        assert contents(data) == before


def test_a_database_of_another_device_is_refused(data: Path, used: Path) -> None:
    shutil.copy(used / "bob" / "sheaf.db", data / "sheaf.db")
    before = contents(data)
    ended = run(data, *START)
    assert ended.returncode == 1
    assert "this database belongs to another device" in ended.stderr
    assert contents(data) == before


def test_a_device_can_begin_anew_on_purpose_and_keeps_its_keys_and_what_was_left(data: Path) -> None:
    empty_beside_its_log(data / "sheaf.db")
    before = contents(data)
    daemon = Daemon(data, arguments=("--no-mdns", "--lan", "127.0.0.1:0", "--new-database"))
    daemon.start()
    assert daemon.get("/spaces") == {"spaces": []}
    assert daemon.stop() == 0
    after = contents(data)
    assert after["sheaf.db-wal.lost-1"] == before["sheaf.db-wal"]
    assert {name: after[name] for name in before if name.startswith("keys")} == {
        name: content for name, content in before.items() if name.startswith("keys")
    }


def test_beginning_anew_keeps_the_database_of_before_an_update(data: Path) -> None:
    """It may be the only whole copy of the documents."""
    only_from_before_an_update(data / "sheaf.db")
    (old,) = data.glob("before-schema-*.db")
    content = old.read_bytes()
    daemon = Daemon(data, arguments=("--no-mdns", "--lan", "127.0.0.1:0", "--new-database"))
    daemon.start()
    assert daemon.stop() == 0
    (kept,) = data.glob("before-schema-*")
    assert kept.read_bytes() == content


def test_a_database_that_is_here_is_never_given_up(data: Path) -> None:
    before = contents(data)
    ended = run(data, *START, "--new-database")
    assert ended.returncode == 2
    assert "has lost no database, so nothing was changed" in ended.stderr
    assert contents(data) == before


def test_after_beginning_anew_an_invitation_brings_the_documents_back(here: Town) -> None:
    ann, bob = here.start("ann", "bob")
    document_id = shared_document(ann, bob)
    before = text(ann, document_id)
    assert bob.stop() == 0
    (bob.data_dir / "sheaf.db").unlink()
    bob.arguments = (*bob.arguments, "--new-database")
    bob.start()
    (space,) = ann.get("/spaces")["spaces"]
    join(ann, bob, space["space_id"])
    until_equal(ann, bob, document_id=document_id)
    assert text(bob, document_id) == before
    assert len(ann.get("/peers")["peers"]) == 1, "it is the same device as before"
