"""The guide is walked by a program: every command in README, guide and units runs, on real daemons.

A command that cannot run as it stands (it holds somebody's ticket, or an address) has a line in a table,
here or in tests/support/guide_reader.py. One that fails, or holds a placeholder that no table knows, fails
the test: nothing is skipped. The commands about backups have a walk of their own, test_guide_backup.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.support.guide_reader import Reader
from tests.support.guide_text import Command, alternatives, commands_of_comments, commands_of_page
from tests.support.guide_walk import Outcome, Walk
from tests.support.repository import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

OWN_WALK: Final = {"docs/guide/backup.md"}
PAGES: Final = [
    "README.md",
    *sorted(f"docs/guide/{path.name}" for path in (ROOT / "docs/guide").glob("*.md")),
]
WITH_COMMENTS: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("systemd", "docs/operating")
    for path in (ROOT / folder).iterdir()
    if commands_of_comments(path, path.name)
)
LATER: Final = {
    f"docs/guide/{name}.md" for name in ("README", "command-line", "networks", "relay", "troubleshooting")
}
"""Pages whose commands are of the kinds that the other pages hold: CI walks them, and `make long`."""

BARE: Final = {"README.md", "docs/guide/README.md", "docs/guide/service.md", "systemd/sheaf.service"}
"""Where installing is the first thing a person does. Elsewhere Sheaf is there."""

TWICE: Final = {"docs/guide/service.md", "systemd/sheaf.service", "systemd/sheaf-relay.service"}
"""What a person does again after an update, or because something seems wrong."""

ARGUMENTS: Final = {
    "sheaf space create": '"A new space"',
    "sheaf space show": "SPACE",
    "sheaf space rename": '"A new space" "An old space"',
    "sheaf space leave": '--yes "An old space"',
    "sheaf doc create": "SPACE Wrens",
    "sheaf doc list": "SPACE",
    "sheaf doc show": "DOCUMENT",
    "sheaf doc write": "DOCUMENT",
    "sheaf doc append": "DOCUMENT",
    "sheaf doc trash": "Wrens",
    "sheaf doc delivery": "DOCUMENT",
    "sheaf invite": "SPACE",
}
"""What a command needs that a page only names."""

INSTEAD: Final = {
    "sheaf space leave NAME": "sheaf space create Old && echo y | sheaf space leave Old",
    "sheaf doc write DOCUMENT < file": 'echo "a wren" >~/file && sheaf doc write DOCUMENT <~/file',
    "make run": "make run VENV={made}",
    "make test": "make --dry-run test VENV={made}",
    "make wheel": "make --dry-run wheel VENV={made}",
    "nats-server -c nats.conf": "nats-server -c docs/operating/nats.conf",
    "sheaf --install-completion": "bash -c 'sheaf --install-completion; exit $?'",
}
"""What runs in place of a command that would reach beyond the test."""

CODES: Final = {
    "sheaf doctor": {0, 1},
    "sheaf doctor network": {0, 1},
}
"""Exit codes, where a page allows others than 0: the walk's machines know no multicast."""

PROMISES: Final = {
    r"sheaf up$": r"http://127\.0\.0\.1:\d+/\S*token",
    r"make run$": r"http://127\.0\.0\.1:\d+/\S*token",
    r"make test$": r"not netns and not long",
    r"make wheel$": r"uv build",
    r"sheaf invite (\w+|\".*\")( --(role|uses|expires|host) .*)?$": r"^sheaf1[\w@:.,]+$",
    r"sheaf invite NAME --qr": r"[█▀▄]",
    r"sheaf invite .* --code": r"^\d+-[a-z]+-[a-z]+$",
    r"sheaf doc show Birds": r"^- a wren$",
    r"sheaf --json status": r"^\{",
    r"sheaf status": r"^Data +/.*\n(.*\n)*Storage .*\n(.*\n)*Network ",
    r"sheaf token": r"^\S{20,}$",
    r"sheaf open": r"^http://127\.0\.0\.1:\d+/",
    r"sheaf relay --listen 0": r"^ +ws://\S+:\d+$",
    r"sheaf doctor network": r"^INTERFACE +USED(.*\n)*Multicast",
    r"curl .*/status": r'"user_name"',
    r"curl .*/metrics": r"^# TYPE sheaf",
    r"journalctl": r"\"event\": \"started\"",
}
"""What a command prints, where a page says so."""

PRINTS_DATA: Final = re.compile(
    r"sheaf (status|peers|open|space (list|show)|doc (list|show|delivery)|invite|invitations|members|token"
    r"|doctor|doctor network)( SPACE| DOCUMENT)?"
)
"""Commands of the overview that print data, so `--json` may stand behind them."""


@pytest.fixture(scope="module")
def done() -> set[str]:
    """Return the commands that ran on some page: where another only mentions one, it is not run again."""
    return set()


@pytest.fixture
def reader(checkout: Path, program: Path, done: set[str], tmp_path: Path) -> Iterator[Reader]:
    """Somebody with two new machines."""
    walk = Walk(tmp_path / "walk", checkout=checkout, program=program)
    try:
        yield Reader(walk, instead=INSTEAD, arguments=ARGUMENTS, done=done)
    finally:
        walk.close()


AFTER_JOINING: Final = r"^(ann|ben) .* live +(webrtc|tunnel) "


def check(command: Command, outcome: Outcome) -> None:
    """Hold what a command did against what the page says."""
    assert outcome.code in CODES.get(command.text, {0}), f"{command}\n{outcome}"
    if command.text == "sheaf peers" and command.block:
        assert re.search(AFTER_JOINING, outcome.out, re.MULTILINE), f"{command}\n{outcome}"
    for pattern, promise in PROMISES.items():
        if re.match(pattern, command.text) and outcome.out:
            assert re.search(promise, outcome.out, re.MULTILINE), f"{command}\n{outcome}"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(page, marks=[pytest.mark.long] if page in LATER else [])
        for page in PAGES
        if page not in OWN_WALK
    ],
)
def test_every_command_of_a_page_does_what_the_page_says(document: str, reader: Reader) -> None:
    commands = commands_of_page(ROOT / document, document)
    assert commands
    if document not in BARE:
        reader.walk.install()
    for command in commands * (2 if document in TWICE else 1):
        others = list(more(command))
        if not others or command.block:
            check(command, reader.do(command))
        for other in others:
            outcome = reader.do(other)
            assert outcome.code == 0, f"{other}\n{outcome}"
            if other.text.endswith("json"):
                json.loads(outcome.out)
    if document == "README.md":
        assert ["browser", f"file://{reader.walk.ann.data_dir}/sheaf-sign-in.html"] in reader.walk.ann.told()


def more(command: Command) -> Iterator[Command]:
    """Yield what a page says besides: other formats of a command, and `--json` for all that print data.

    (The other pages run most of those without it.)
    """
    for names in re.findall(r"(?<=--format )\w+(?:, \w+)+", command.remark):
        for name in names.split(", "):
            yield replace(command, text=f"{command.text} --format {name}")
    if command.document.endswith("command-line.md") and PRINTS_DATA.fullmatch(command.text):
        needed = ARGUMENTS.get(command.text, "")
        yield replace(command, text=f"{command.text} {needed} --json")


@pytest.mark.parametrize("document", WITH_COMMENTS)
def test_every_command_in_the_comments_of_a_file_runs(document: str, reader: Reader) -> None:
    commands = commands_of_comments(ROOT / document, document)
    if document not in BARE:
        reader.walk.install()
    for command in commands * (2 if document in TWICE else 1):
        check(command, reader.do(command))


# ------------------------------------------------------------------ the program that walks


def test_a_command_with_an_unknown_placeholder_fails_the_walk(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="MOUNTAIN"):
        reader.do(Command("page.md", 1, "sheaf invite MOUNTAIN"))


def test_a_command_that_is_wrong_fails_the_walk(reader: Reader) -> None:
    reader.walk.install()
    for text in (
        "sheaf unvite",
        "systemctl --user stop sheaf",
        "pipx install sheafd",
        "no-such-program at-all",
    ):
        command = Command("page.md", 1, text)
        with pytest.raises(AssertionError, match=re.escape(text)):
            check(command, reader.do(command))


def test_every_line_of_a_block_and_every_command_in_a_line_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `sheaf\nstatus`, not `a b`.\n\n1. One\n\n   ```sh\n   one  # prints\n   two\n   ```\n"
    )
    found = commands_of_page(page, "page.md")
    assert [(each.line, each.text, each.remark) for each in found] == [
        (1, "sheaf status", ""),
        (7, "one", "prints"),
        (8, "two", ""),
    ]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("sheaf space list/show", ["sheaf space list", "sheaf space show"]),
        ("sheaf space relays SPACE [URL…]", ["sheaf space relays SPACE", "sheaf space relays SPACE URL…"]),
        ("cp a/b c", ["cp a/b c"]),
    ],
)
def test_a_row_that_stands_for_several_commands_is_all_of_them(words: str, meant: list[str]) -> None:
    assert alternatives(words) == meant
