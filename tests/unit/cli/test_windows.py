"""Windows is not supported, but nothing breaks there by being looked at: imports work, and reading reads."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import _environment
from tests.support.fake_node import FakeNode
from tests.support.repository import ROOT
from tests.unit.cli.conftest import Run

READING = (
    "--version",
    "--help",
    "status",
    "status --json",
    "peers",
    "space list",
    "doc list",
    "doc show List",
    "members Home",
    "invitations Home",
    "token",
    "doctor",
    "doctor network",
)


async def on_windows(data_dir: Path, *commands: str) -> dict[str, Any]:
    """What `tests.support.pretend_windows` found."""

    def run() -> dict[str, Any]:
        result = subprocess.run(
            [sys.executable, "-m", "tests.support.pretend_windows", str(data_dir), *commands],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=ROOT,
            env=_environment({}),
        )
        assert result.returncode == 0, result.stderr
        return dict(json.loads(result.stdout))

    return await asyncio.to_thread(run)


@pytest.mark.usefixtures("door")
async def test_every_module_loads_and_reading_commands_read_and_end_nothing(
    sheaf: Run, node: FakeNode, tmp_path: Path
) -> None:
    await sheaf("space", "create", "Home")
    await sheaf("doc", "create", "Home", "List", "--type", "text")
    found = await on_windows(tmp_path, *READING)
    assert found["failed"] == {}
    assert found["killed"] == [], f"process {os.getpid()} would be gone"
    wrong = {command: each["error"] for command, each in found["outcomes"].items() if each["error"]}
    assert wrong == {}
    assert "Home" in found["outcomes"]["status"]["out"]
    assert "chmod" not in found["outcomes"]["doctor"]["out"]


async def test_the_daemon_refuses_to_start_and_says_where_it_runs(tmp_path: Path) -> None:
    found = await on_windows(tmp_path / "data", "up --no-open --port 0")
    assert "Run it in WSL" in found["outcomes"]["up --no-open --port 0"]["error"]
    assert not (tmp_path / "data").exists()
