"""Documentation leads somewhere: its links to files that are there, its commands to targets that exist."""

import ast
import re
from typing import Any

import pytest
from typer.main import get_command

from sheaf.cli.main import app
from sheaf.cli.variables import DAEMON, RELAY
from tests.support.repository import ROOT, committed_files, committed_texts

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FROM_A_REGISTRY = re.compile(
    r"\b(?:install|download|add)(?:s|ed|ing)?(?:\s+-\S+)*\s+[`'\"]*sheafd?\b(?![-/.:])"
)
FOREIGN_OPTIONS = {"force", "now", "user"}
"""Of pipx and systemctl."""
NO_SETTINGS = {
    "SHEAF_NATS_PASSWORD": "docs/operating/nats.conf reads it",
    "SHEAF_RELAY_OPTIONS": "systemd/sheaf-relay.service reads it",
    "SHEAF_NAMEPLATES": "a stream in NATS",
}
GUIDE = ["README.md", *sorted(f"docs/guide/{path.name}" for path in (ROOT / "docs/guide").glob("*.md"))]
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


@pytest.mark.parametrize(
    ("text", "is_caught"),
    [
        ("pipx install sheafd", True),
        ("pip install 'sheafd[nats]'", True),
        ('pip install -U --user "sheafd==1"', True),
        ("uv tool install sheaf", True),
        ("pipx install .", False),
        ("pipx install dist/sheafd-*.whl", False),
        ("pipx inject sheafd nats-py", False),
        ("pipx uninstall sheafd", False),
    ],
)
def test_a_promise_of_a_registry_is_recognised(text: str, is_caught: bool) -> None:
    assert bool(FROM_A_REGISTRY.search(text)) == is_caught


def test_no_text_promises_an_installation_from_a_registry() -> None:
    """Sheaf is in none, so what such a command would fetch is a stranger's."""
    found = [
        f"{name}: {match.group()}"
        for name, text in committed_texts()
        if name not in {"CHANGELOG.md", "tests/meta/test_documentation.py", "tests/e2e/test_guide.py"}
        for match in FROM_A_REGISTRY.finditer(text)
    ]
    assert found == []


def options_of(command: Any) -> set[str]:  # typer names no public type for it
    """Return the long options of a command and of all below it, without their dashes."""
    found = {"help"}
    for parameter in command.params:
        found |= {name.removeprefix("--") for name in (*parameter.opts, *parameter.secondary_opts)}
    for child in getattr(command, "commands", {}).values():
        found |= options_of(child)
    return found


@pytest.mark.parametrize("document", GUIDE)
def test_every_option_that_the_guide_names_exists(document: str) -> None:
    named = set(re.findall(r"`--([a-z][a-z-]+)", (ROOT / document).read_text()))
    assert named <= options_of(get_command(app)) | FOREIGN_OPTIONS


@pytest.mark.parametrize("document", GUIDE)
def test_every_variable_that_the_guide_names_is_a_setting(document: str) -> None:
    named = set(re.findall(r"\bSHEAF_[A-Z_]*[A-Z]\b", (ROOT / document).read_text()))
    assert named <= DAEMON | RELAY | set(NO_SETTINGS)


def templates() -> list[str]:
    """Return every text in daemon and editor in one line each, with `…` for what is filled in."""
    found = []
    for _, text in committed_texts(".py", under="daemon/"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                pieces = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
                found.append("".join(map(str, pieces)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for _, text in committed_texts(".ts", ".tsx", under="webui/src/"):
        found.append(re.sub(r"\$\{[^}]*\}", "…", text))
    return [" ".join(each.split()).lower() for each in found]


def test_every_message_that_troubleshooting_explains_is_one_that_is_shown() -> None:
    page = (ROOT / "docs/guide/troubleshooting.md").read_text()
    headings = [
        " ".join(each.split()) for each in re.findall(r"^\*\*(.+?)\*\*", page, re.MULTILINE | re.DOTALL)
    ]
    quoted = [quote for heading in headings for quote in re.findall(r'"([^"]+)"', heading)]
    shown = templates()
    unknown = []
    for quote in quoted:
        parts = re.split(r"…|\d[\d.]*(?: changes)?|Ann's laptop", quote)
        pattern = re.compile(".*".join(re.escape(part.strip(" .").lower()) for part in parts))
        if not any(pattern.search(each) for each in shown):
            unknown.append(quote)
    assert len(quoted) >= 10
    assert unknown == []
