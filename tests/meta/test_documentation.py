"""Documentation leads somewhere: its links to files that are there, its commands to targets that exist."""

import re

import pytest

from tests.support.repository import ROOT, committed_files, committed_texts

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PAGES = [name for name, _ in committed_texts(".md")]


def targets_of(makefile: str) -> set[str]:
    """Return the targets a Makefile explains in its help."""
    return set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize("document", PAGES)
def test_every_relative_link_leads_to_a_committed_file(document: str) -> None:
    committed = set(committed_files())
    folders = {parent for path in committed for parent in path.parents}
    links = [link for link in LINK.findall((ROOT / document).read_text()) if "://" not in link]
    goals = {link: ((ROOT / document).parent / link).resolve() for link in links}
    assert [link for link, goal in goals.items() if goal not in committed | folders] == []


@pytest.mark.parametrize("document", PAGES)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    named = set(re.findall(r"`make ([a-z0-9-]+)", (ROOT / document).read_text()))
    assert named <= targets_of((ROOT / "Makefile").read_text())


def test_decisions_are_numbered_once() -> None:
    numbers = [name.split("/")[-1][:4] for name in PAGES if name.startswith("docs/decisions/0")]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("document", [name for name in PAGES if name.startswith("docs/decisions/0")])
def test_a_decision_says_its_number_and_status(document: str) -> None:
    text = (ROOT / document).read_text()
    assert text.startswith(f"# {document.split('/')[-1][:4]}")
    assert "tatus" in text


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_test_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/THREAT_MODEL.md").read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").glob("*/**/test_*.py"))
    assert len(named) > 50
    assert named <= set(re.findall(r"def (test_\w+)\(", tests))


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    decisions = [name.split("/")[-1] for name in PAGES if name.startswith("docs/decisions/0")]
    assert [name for name in decisions if f"]({name})" not in index] == []
