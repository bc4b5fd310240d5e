"""The wheel is all a person needs: it holds the editor, built and started with no Node around."""

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.repository import ROOT

NOTICES = "sheaf/webui_dist/third-party-licenses.txt"

LICENSES = {"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "CC0-1.0", "Unlicense"}
"""What a package in the bundle may be licensed under: with its notice kept, these allow what we do.

A person judges anything else (copyleft, an "OR", nothing at all): add it here, or drop the package.
"""

WITHOUT_CODE = {"@tiptap/pm"}
"""Direct dependencies that only hand on other packages: nothing of their own reaches the bundle."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the notices file says about one package."""

    name: str
    version: str
    license: str
    text: str


def notices(text: str) -> dict[str, Notice]:
    """Return the packages of a notices file by name."""
    parts = re.split(r"^## (\S+) - (\S+)(?: \((.+)\))?$", text, flags=re.MULTILINE)[1:]
    found = [Notice(*(part or "" for part in parts[at : at + 4])) for at in range(0, len(parts), 4)]
    return {notice.name: notice for notice in found}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder` to its end and return what it said."""
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel on a machine whose own Node, if it had one, fails."""
    folder, commands = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("commands")
    for name in ("node", "npm", "npx"):
        (commands / name).write_text("#!/bin/sh\necho the Node of this machine was used >&2\nexit 1\n")
        (commands / name).chmod(0o755)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    result = run(command, ROOT, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(folder.glob("sheafd-*.whl"))


@pytest.fixture(scope="module")
def bundled(wheel: Path) -> dict[str, Notice]:
    """Return the notices in the wheel."""
    return notices(zipfile.ZipFile(wheel).read(NOTICES).decode())


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    """Return the names of the files in the wheel."""
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_holds_the_editor_and_everything_the_daemon_reads(contents: set[str]) -> None:
    assert {"sheaf/webui_dist/index.html", "sheaf/py.typed"} <= contents
    assert any(name.startswith("sheaf/webui_dist/assets/") and name.endswith(".js") for name in contents)
    migrations = (ROOT / "daemon/sheaf/storage/migrations").glob("*.sql")
    assert {f"sheaf/storage/migrations/{path.name}" for path in migrations} <= contents


def test_it_holds_every_module_and_nothing_besides(contents: set[str]) -> None:
    daemon = ROOT / "daemon"
    modules = {path.relative_to(daemon).as_posix() for path in (daemon / "sheaf").rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == modules
    assert {name.partition("/")[0].partition("-")[0] for name in contents} == {"sheaf", "sheafd"}
    assert not any("node_modules" in name or name.endswith(".pyc") for name in contents)


def test_every_bundled_package_has_its_licence_and_copyright_in_the_wheel(bundled: dict[str, Notice]) -> None:
    holder = re.compile(r"copyright (\(c\) )?\W*\d{4}|copyright \(c\) \w", re.IGNORECASE)
    bare = [name for name, each in bundled.items() if len(each.text) < 300 or not holder.search(each.text)]
    assert len(bundled) > 30
    assert bare == []


def test_no_package_in_the_bundle_has_a_licence_that_nobody_looked_at(bundled: dict[str, Notice]) -> None:
    assert {name: each.license for name, each in bundled.items() if each.license not in LICENSES} == {}


def test_the_notices_are_of_the_locked_versions_and_omit_no_dependency(
    bundled: dict[str, Notice],
) -> None:
    packages = json.loads((ROOT / "webui/package-lock.json").read_text())["packages"]
    locked = {name: packages[f"node_modules/{name}"]["version"] for name in bundled}
    assert {name: notice.version for name, notice in bundled.items()} == locked
    direct = set(json.loads((ROOT / "webui/package.json").read_text())["dependencies"])
    assert direct - set(bundled) == WITHOUT_CODE


def test_the_notices_name_who_wrote_the_helpers_that_the_build_adds(bundled: dict[str, Notice]) -> None:
    assert {"rolldown", "vite"} <= set(bundled)


def test_the_wheel_carries_its_own_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(
    ("heading", "found"),
    [
        ("## @a/b - 1.2.3 (MIT)", Notice("@a/b", "1.2.3", "MIT", "\n\nwords\n")),
        ("## c - 1.0.0-rc.1", Notice("c", "1.0.0-rc.1", "", "\n\nwords\n")),
    ],
)
def test_a_package_without_a_licence_is_read_as_such(heading: str, found: Notice) -> None:
    assert notices(f"# Licenses\n\n{heading}\n\nwords\n") == {found.name: found}


def test_its_command_starts_from_nothing_but_the_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys, sheaf, sheaf.cli.main; print(sheaf.__file__); "
        "sys.argv = ['sheaf', '--help']; sheaf.cli.main.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SHEAF_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-c", program]
    result = run(command, tmp_path, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith(str(tmp_path))
    assert "up" in result.stdout
    assert "invite" in result.stdout
