"""The wheel is all a person needs: it holds the editor, built and started with no Node around."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.repository import ROOT


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
