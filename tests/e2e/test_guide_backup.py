"""The guide's backup, taken literally: made twice, restored over what is there, moved, and uninstalled.

Every line in docs/guide/backup.md is run here, on a real daemon; words are counted before and after.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.guide_text import commands_of_page
from tests.support.guide_walk import Machine, Walk, copy_checkout
from tests.support.repository import ROOT, committed_files

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PAGE: Final = ROOT / "docs/guide/backup.md"
EXAMPLE: Final = "sheaf-backup-20260314-091500"
"""The backup that the page restores."""
NO_SUCH_UNIT: Final = 5
MENTIONED: Final = {
    "sheaf doctor",
    "sheaf status",
    "sheaf up",
    "sheaf relay",
    "make clean",
    "make run",
    "mkdir -p ~/.local/share",
}
"""What running text names. The tests below run each where the page means it, or test_guide.py does."""


@pytest.fixture
def walk(checkout: Path, program: Path, tmp_path: Path) -> Iterator[Walk]:
    """Two new machines."""
    made = Walk(tmp_path / "walk", checkout=checkout, program=program)
    made.install()
    try:
        yield made
    finally:
        made.close()


def lines(section: str) -> list[str]:
    """Return the commands in the blocks of a section of the page."""
    text = PAGE.read_text()
    begin = text.index(f"\n## {section}\n") + 1
    end = text.find("\n## ", begin) % len(text)
    first, last = text.count("\n", 0, begin), text.count("\n", 0, end) + 1
    return [
        each.text for each in commands_of_page(PAGE, PAGE.name) if each.block and first < each.line <= last
    ]


def run_all(machine: Machine, commands: list[str], *, codes: Collection[int] = (0,)) -> None:
    """Run commands, each of which has to end with one of `codes`; `sheaf up` stays."""
    for text in commands:
        if text == "sheaf up":
            machine.up()
        else:
            outcome = machine.run(text)
            assert outcome.code in codes, f"{text}\n{outcome}"


def back_up(machine: Machine) -> Path:
    """Do what the page says about a backup; return the folder it made."""
    before = set(machine.home.glob("sheaf-backup-*"))
    run_all(machine, lines("Backup"), codes={0, NO_SUCH_UNIT} if machine.terminal is None else {0})
    (made,) = set(machine.home.glob("sheaf-backup-*")) - before
    return made


def restore(machine: Machine, backup: Path, *, codes: Collection[int] = (0,)) -> None:
    """Do what the page says about restoring `backup`."""
    run_all(machine, [text.replace(EXAMPLE, backup.name) for text in lines("Restoring")], codes=codes)


def install_service(machine: Machine) -> None:
    """As docs/guide/service.md says."""
    page = ROOT / "docs/guide/service.md"
    first = [each.text for each in commands_of_page(page, page.name) if each.block][:5]
    assert first[-1] == "systemctl --user enable --now sheaf"
    run_all(machine, first)


def begin_writing(machine: Machine, words: str) -> None:
    run_all(machine, ['sheaf space create "Field notes"', 'sheaf doc create "Field notes" Birds --type text'])
    write(machine, words)


def write(machine: Machine, words: str) -> None:
    run_all(machine, [f"echo {words} | sheaf doc append Birds"])


def words(machine: Machine) -> list[str]:
    """Every word in the document, as often as it is there."""
    return machine.run("sheaf doc show Birds").out.split()


def digest(folder: Path) -> str:
    """Over names, modes and contents of everything in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.lstat().st_mode:o}\0".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def test_two_backups_in_a_row_are_two_and_each_brings_back_its_own_words(walk: Walk) -> None:
    ann = walk.ann
    install_service(ann)
    begin_writing(ann, "one two three")
    (ann.data_dir / "relay.sqlite3-wal").write_text("a relay's store, older than what its devices know")
    first = back_up(ann)
    run_all(ann, ["systemctl --user start sheaf"])
    write(ann, "four five")
    second = back_up(ann)
    run_all(ann, ["systemctl --user start sheaf"])
    write(ann, "six")
    kept = {backup: digest(backup) for backup in (first, second)}
    assert [backup.stat().st_mode & 0o077 for backup in kept] == [0, 0]

    restore(ann, second)
    assert words(ann) == ["one", "two", "three", "four", "five"]
    assert not (ann.data_dir / "relay.sqlite3-wal").exists()
    ann.stop()
    restore(ann, first)
    assert words(ann) == ["one", "two", "three"]
    ann.stop()
    assert {backup: digest(backup) for backup in kept} == kept
    aside = sorted(ann.home.glob("sheaf-before-restore-*"))
    assert len(aside) == 2
    restore(ann, aside[0])
    assert words(ann) == ["one", "two", "three", "four", "five", "six"]


def test_a_backup_and_a_restore_never_mix_with_a_folder_that_is_there(walk: Walk) -> None:
    ann = walk.ann
    ann.up()
    begin_writing(ann, "one two three")
    ann.stop()
    backup = back_up(ann)
    ann.up()
    write(ann, "four")
    ann.stop()
    before = digest(backup), digest(ann.data_dir)
    again = ann.run(lines("Backup")[-1])  # the variable still names the same folder
    copying = lines("Restoring")[2].replace(EXAMPLE, backup.name)
    over = ann.run(copying)  # the line before was left out
    assert [(outcome.code, "File exists" in outcome.err) for outcome in (again, over)] == [
        (1, True),
        (1, True),
    ]
    assert (digest(backup), digest(ann.data_dir)) == before


@pytest.mark.long
def test_a_restore_while_the_daemon_runs_loses_nothing(walk: Walk) -> None:
    ann = walk.ann
    ann.up()
    begin_writing(ann, "one two three")
    ann.stop()
    backup = back_up(ann)
    ann.up()
    write(ann, "four")
    steps = [text.replace(EXAMPLE, backup.name) for text in lines("Restoring")]
    run_all(ann, steps[:-1], codes={0, NO_SUCH_UNIT})
    refused = ann.run(steps[-1])
    assert (refused.code, f"ort {ann.port} " in refused.err) == (1, True), refused
    ann.stop()
    ann.up()
    assert words(ann) == ["one", "two", "three"]
    ann.stop()
    (aside,) = ann.home.glob("sheaf-before-restore-*")
    restore(ann, aside, codes={0, NO_SUCH_UNIT})
    assert words(ann) == ["one", "two", "three", "four"]


@pytest.mark.long
def test_moving_takes_the_device_along_and_leaves_none_behind(walk: Walk) -> None:
    ann, ben = walk.ann, walk.ben
    install_service(ann)
    begin_writing(ann, "one two three")
    device = ann.run("sheaf --json status").out
    back_up(ann)
    (carry, *leave) = lines("Moving to another machine")
    run_all(ann, [carry])
    (carried,) = ben.home.glob("sheaf-backup-*")
    run_all(ben, ["mkdir -p ~/.local/share"])
    restore(ben, carried, codes={0, 1, NO_SUCH_UNIT})  # there is no folder to move away, and no unit to stop
    run_all(ann, leave)
    assert words(ben) == ["one", "two", "three"]
    assert identity(ben.run("sheaf --json status").out) == identity(device)
    ann.up()
    assert identity(ann.run("sheaf --json status").out) != identity(device)


def identity(status: str) -> str:
    """The device's id in what `sheaf --json status` prints."""
    return str(json.loads(status)["device_id"])


def test_uninstalling_keeps_the_documents_until_they_are_deleted_by_name(walk: Walk) -> None:
    ann = walk.ann
    install_service(ann)
    begin_writing(ann, "one two three")
    assert re.search(r"^Storage  +everything is saved", ann.run("sheaf status").out, re.MULTILINE)
    *remove, delete = lines("Uninstalling")
    run_all(ann, remove)
    assert not ann.is_serving
    assert ann.run("sheaf --help").code == 127
    for text in remove:  # somebody who is not sure
        assert ann.run(text).code != 0
    install_service(ann)
    assert words(ann) == ["one", "two", "three"]
    backup = back_up(ann)
    kept = digest(backup)
    run_all(ann, [*remove, delete])
    assert not ann.data_dir.exists()
    assert digest(backup) == kept


def test_make_clean_removes_what_was_made_and_nothing_that_was_written(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    (checkout / ".venv").mkdir()
    subprocess.run(["make", "clean"], cwd=checkout, check=True, capture_output=True, timeout=60)
    gone = [path for path in committed_files() if not (checkout / path.relative_to(ROOT)).exists()]
    assert gone == []
    assert not (checkout / "daemon/sheaf/webui_dist").exists()
    assert not (checkout / ".venv").exists()


def test_no_line_of_the_page_is_left_out_here() -> None:
    tested = [
        *lines("Backup"),
        *lines("Restoring"),
        *lines("Moving to another machine"),
        *lines("Uninstalling"),
    ]
    assert {each.text for each in commands_of_page(PAGE, "backup.md")} - set(tested) <= MENTIONED
