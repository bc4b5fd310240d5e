"""What docstrings, comments and documents name is there: files, modules, documents, decisions, faults."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath

import pytest

from tests.support.references import DECISION, DOCUMENT, DOTTED, FAULTS, FILE, MODULE, prose
from tests.support.repository import ROOT, committed_files, committed_texts

PROSE = tuple(prose())
NAMES = frozenset(path.relative_to(ROOT).as_posix() for path in committed_files())
PLACES = NAMES | {
    parent.as_posix() for name in NAMES for parent in PurePosixPath(name).parents if parent.as_posix() != "."
}
STEMS = PLACES | {posixpath.splitext(name)[0] for name in NAMES}
ENDS = frozenset(
    "/".join(parts[start:])
    for place in STEMS | PLACES
    for parts in [place.split("/")]
    for start in range(len(parts))
)
ELSEWHERE = {
    "Node.js": "a program",
    "npm-cli.js": "a part of npm",
    "resolv.conf": "the system's",
    "sqlite.org/fileformat2.html": "on the web",
    "sqlite.org/c3ref/progress_handler.html": "on the web",
    "migrations/NNNN-name.sql": "a pattern",
    "sheaf.db": "a file that a daemon makes",
    "webui/node_modules": "made by npm",
}


def is_there(name: str, where: str) -> bool:
    """Whether `name`, written in the file `where`, is a place here: seen from there, or the end of one."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(where), name))
    return name in ELSEWHERE or beside in PLACES or posixpath.normpath(name) in ENDS


def named(pattern: re.Pattern[str]) -> set[tuple[str, str]]:
    """(where, what) of every match."""
    return {(where, found) for where, text in PROSE for found in pattern.findall(text)}


def test_enough_is_looked_at() -> None:
    assert len(named(FILE)) > 200
    assert len(named(MODULE)) > 40


@pytest.mark.parametrize("pattern", [FILE, MODULE], ids=["files", "modules"])
def test_every_path_that_is_named_is_there(pattern: re.Pattern[str]) -> None:
    missing = {(where, name) for where, name in named(pattern) if not is_there(name, where)}
    assert missing == set()


def test_every_module_that_is_named_with_dots_is_there() -> None:
    missing = {(where, name) for where, name in named(DOTTED) if not is_there(name.replace(".", "/"), where)}
    assert {(where, name) for where, name in missing if name not in ELSEWHERE} == set()


def test_every_document_that_is_named_in_capitals_is_there() -> None:
    missing = {(where, name) for where, name in named(DOCUMENT) if f"docs/{name}.md" not in NAMES}
    assert missing == set()


def test_every_section_of_the_protocol_that_is_named_is_there() -> None:
    headings = re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", (ROOT / "docs/PROTOCOL.md").read_text(), re.MULTILINE)
    named_sections = {
        (where, section)
        for where, sections in named(re.compile(r"PROTOCOL ((?:§[\d.]*\d(?:, )?)+)"))
        for section in re.findall(r"[\d.]*\d", sections)
    }
    assert len(named_sections) > 50
    assert {(where, section) for where, section in named_sections if section not in headings} == set()


def test_every_decision_that_is_named_is_there() -> None:
    numbers = {name.rpartition("/")[2][:4] for name in NAMES if name.startswith("docs/decisions/")}
    assert {(where, number) for where, number in named(DECISION) if number not in numbers} == set()


def test_every_fault_that_is_named_is_in_the_list_and_every_one_listed_is_named_by_a_test() -> None:
    listed = set(re.findall(r"^\| ([SNA]\d+) \|", (ROOT / "docs" / "FAULTS.md").read_text(), re.MULTILINE))
    in_prose = {(where, row) for where, rows in named(FAULTS) for row in re.findall(r"[SNA]\d+", rows)}
    assert {(where, row) for where, row in in_prose if row not in listed} == set()
    assert listed - {row for _, row in in_prose} == set()


# ------------------------------------------------------------------ what tests read

BESIDE = re.compile(r"\b(?:ROOT|REPOSITORY|REPO)\.parent\b")
CLIMB = re.compile(r"""["'`]((?:\.\./)+[\w.@/-]*)["'`]""")
PARENTS = re.compile(r"Path\(__file__\)(?:\.resolve\(\))?\.parents\[(\d+)\]")


def test_no_test_reads_beside_the_repository() -> None:
    """A test of what is only on somebody's machine skips, or checks something else, everywhere else."""
    found = []
    for name, text in committed_texts(".py", ".ts", ".tsx", ".mjs"):
        depth = name.count("/")
        climbs = [
            path
            for path in CLIMB.findall(text)
            if posixpath.normpath(posixpath.join(posixpath.dirname(name), path))[:2] == ".."
        ]
        above = [number for number in PARENTS.findall(text) if int(number) > depth]
        found += [(name, what) for what in [*BESIDE.findall(text), *climbs, *above]]
    allowed = {("tests/meta/test_references.py", "ROOT.parent")}
    assert set(found) <= allowed
