"""A data directory where every file shows 0777 and chmod fails, as on exFAT and SMB (decision 0065)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SITE = """
import os

def _shown(look):
    def shown(*arguments, **options):
        found = look(*arguments, **options)
        return os.stat_result((found.st_mode | 0o777, *found[1:]), {
            name: getattr(found, name) for name in dir(found) if name.startswith("st_")
        })
    return shown

def _refuse(*arguments, **options):
    raise PermissionError(1, "Operation not permitted")

os.stat, os.fstat, os.lstat = _shown(os.stat), _shown(os.fstat), _shown(os.lstat)
os.chmod = os.fchmod = _refuse
"""
"""Python runs this before anything else: the kernel of a test machine need not know such file systems."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of processes for which no file system keeps permissions."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE, "utf-8")
    return {
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def sheaf(data: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "sheaf.cli.main", "--data-dir", str(data), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def about_data(data: Path, environment: dict[str, str]) -> list[Any]:
    """What `sheaf doctor` says of the data directory."""
    found = json.loads(sheaf(data, environment, "doctor", "--json").stdout)
    return [finding for finding in found if finding["name"] == "data"]


def test_it_is_refused_with_advice_that_helps_and_accepted_when_told_to(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    data = tmp_path / "data"
    refused = sheaf(data, environment, "up", "--no-open", "--no-mdns", "--port", "0")
    assert refused.returncode == 1
    assert "keeps no permissions" in refused.stderr
    assert "Run: chmod" not in refused.stderr
    assert [path.name for path in data.iterdir()] == ["lock"], "no key was written where others can read it"

    arguments = ("--no-mdns", "--lan", "127.0.0.1:0", "--accept-shared-files")
    daemon = Daemon(data, arguments=arguments, environment=environment)
    for _ in range(2):  # a second start reads the keys that the first one wrote
        daemon.start()
        assert daemon.get("/spaces") == {"spaces": []}
        assert daemon.stop() == 0
    assert "others can read the data" in daemon.log()

    (finding,) = about_data(data, environment)
    assert finding["verdict"] == "warning"
    assert "keeps no permissions" in finding["detail"]
    assert "chmod 700" not in finding["advice"]
