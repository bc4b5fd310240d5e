"""What holds for every file of the repository: nothing of one machine in it, small files, owned tasks."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT, committed_files, committed_texts

FILE_LINES_MAX = 450
GENERATED = {"webui/src/api/schema.ts"}

# Written in pieces, so that this file does not hold what it looks for.
_REGISTRIES = "py.pi python.hosted npm.js yarn.pkg crates node.source jsr un.pkg js.delivr go.lang"
REGISTRY_HOST = re.compile(
    rf"(?:{_REGISTRIES.replace('.', '').replace(' ', '|')})" + r"\.(?:org|com|io|net)\b|\bdeb\.debian\b"
)
MACHINE_PATH = re.compile(
    r"(?<![\w.~$})/-])/(?:work|root|opt/wheels|opt/pypi[\w-]*)(?=[/\s\"'`]|$)", re.MULTILINE
)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
LOOPS = {"asyncio", "loop", "_loop", "event_loop"}


def python_trees(under: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield (path, syntax tree) of the committed Python files below `under`."""
    for name, text in committed_texts(".py", under=under):
        yield name, ast.parse(text, filename=name)


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call with the dotted text of what it calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def is_ownerless_task(called: str) -> bool:
    """Tell whether a call starts a task on the loop itself instead of in a TaskGroup."""
    owner, _, name = called.rpartition(".")
    if name == "ensure_future":
        return True
    starts_from_loop = not owner or owner.rpartition(".")[2] in LOOPS or owner.endswith("_loop()")
    return name == "create_task" and starts_from_loop


def reasonless_skips(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of skips and expected failures that do not say why."""
    for call, called in calls(tree):
        if re.fullmatch(r"(pytest\.)?(skip|mark\.skip|mark\.skipif|mark\.xfail|importorskip)", called):
            reasons = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
            if called.endswith("skip") and "importor" not in called:
                reasons += call.args
            if not any(ast.unparse(reason) not in {"''", "None"} for reason in reasons):
                yield call.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if ast.unparse(decorator) in {"pytest.mark.skip", "pytest.mark.xfail"}:
                    yield decorator.lineno


def test_no_registry_host_is_named() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in committed_texts()
        for match in REGISTRY_HOST.finditer(text)
    ]
    assert found == []


def test_no_path_of_one_machine_is_named() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in committed_texts()
        for match in MACHINE_PATH.finditer(text)
    ]
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in committed_texts(".py", ".ts", ".tsx", ".css", ".sql", ".sh")
        for number, line in enumerate(text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_nothing_in_the_daemon_raises_not_implemented() -> None:
    found = [
        name for name, text in committed_texts(".py", under="daemon/") if "NotImplemented" + "Error" in text
    ]
    assert found == []


def test_no_source_file_is_longer_than_it_may_be() -> None:
    lengths = {name: text.count("\n") for name, text in committed_texts(".py", ".ts", ".tsx", ".mjs")}
    too_long = {n: lines for n, lines in lengths.items() if lines > FILE_LINES_MAX and n not in GENERATED}
    assert too_long == {}


def test_every_module_of_the_daemon_says_what_it_is() -> None:
    silent = [name for name, tree in python_trees("daemon/") if not ast.get_docstring(tree)]
    assert silent == []


def test_every_task_in_the_daemon_has_an_owner() -> None:
    """The one place that may talk to the loop is the task set, which owns what it starts."""
    found = [
        f"{name}:{call.lineno}: {called}"
        for name, tree in python_trees("daemon/")
        if name != "daemon/sheaf/task_set.py"
        for call, called in calls(tree)
        if is_ownerless_task(called)
    ]
    assert found == []


def test_every_skip_gives_a_reason() -> None:
    found = [f"{name}:{line}" for name, tree in python_trees("tests/") for line in reasonless_skips(tree)]
    assert found == []


def test_no_generated_folder_is_committed() -> None:
    generated = {"node_modules", "webui_dist", "__pycache__", "dist", ".venv"}
    found = [p for p in committed_files() if generated & set(p.relative_to(ROOT).parts)]
    assert found == []


@pytest.mark.parametrize("path", [p for p in committed_files() if p.name == "package-lock.json"], ids=str)
def test_an_npm_lock_names_no_registry(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    # A link resolves to a folder of this repository.
    assert [name for name, entry in packages.items() if "resolved" in entry and not entry.get("link")] == []


@pytest.mark.parametrize(
    ("source", "is_caught"),
    [
        ("asyncio.create_task(work())", True),
        ("asyncio.get_running_loop().create_task(work())", True),
        ("self._loop.create_task(work())", True),
        ("create_task(work())", True),
        ("asyncio.ensure_future(work())", True),
        ("group.create_task(work())", False),
        ("self._tasks.create_task(work())", False),
    ],
)
def test_the_task_rule_tells_owned_from_ownerless(source: str, is_caught: bool) -> None:
    assert any(is_ownerless_task(called) for _, called in calls(ast.parse(source))) is is_caught


@pytest.mark.parametrize(
    ("source", "is_caught"),
    [
        ("pytest.skip()", True),
        ("pytest.skip('')", True),
        ("pytest.skip('no IPv6 here')", False),
        ("@pytest.mark.skip\ndef test_it(): ...", True),
        ("@pytest.mark.skipif(True)\ndef test_it(): ...", True),
        ("@pytest.mark.skipif(True, reason='why')\ndef test_it(): ...", False),
        ("@pytest.mark.xfail(strict=True)\ndef test_it(): ...", True),
        ("pytest.importorskip('nats')", True),
    ],
)
def test_the_skip_rule_wants_a_reason(source: str, is_caught: bool) -> None:
    assert bool(list(reasonless_skips(ast.parse(source)))) is is_caught


@pytest.mark.parametrize(
    "text", ["registry.npm" + "js.org", "https://py" + "pi.org/simple", "files.python" + "hosted.org"]
)
def test_the_host_rule_knows_the_usual_hosts(text: str) -> None:
    assert REGISTRY_HOST.search(text)


@pytest.mark.parametrize(
    ("text", "is_caught"),
    [
        ("see /wo" + "rk/main/x", True),
        ("HOME=/ro" + "ot\n", True),
        ("docs/work/plan", False),
        ("$HOME/work/x", False),
    ],
)
def test_the_path_rule_wants_an_absolute_path(text: str, is_caught: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is is_caught
