"""The import floors catch what they say they catch: a copy of the package gets one violation of each kind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LINTER = Path(sys.executable).parent / "lint-imports"

# What is planted: (name of the contract in pyproject.toml, module that breaks it, what that module imports).
VIOLATIONS = [
    ("A floor imports only floors below", "sheaf.core.base", "sheaf.node"),
    ("A floor imports only floors below", "sheaf.storage", "sheaf.node"),
    ("A floor imports only floors below", "sheaf.node", "sheaf.transport"),
    ("A floor imports only floors below", "sheaf.api", "sheaf.relay"),
    ("A floor imports only floors below", "sheaf.signaling", "sheaf.cli"),
    ("A floor imports only floors below", "sheaf.content", "sheaf.core"),
    ("A floor imports only floors below", "sheaf.node", "sheaf.clock"),
    ("A floor imports only floors below", "sheaf.node", "sheaf.worker"),
    ("A floor imports only floors below", "sheaf.content_work", "sheaf.node"),
    ("Inside core", "sheaf.core.base", "sheaf.core.wire"),
    ("Inside core", "sheaf.core.crypto", "sheaf.core.crdt"),
    ("Inside core", "sheaf.core.space", "sheaf.core.protocol"),
    *[
        ("Core does no I/O", "sheaf.core.protocol", module)
        for module in ("asyncio", "socket", "ssl", "time", "random", "secrets", "os", "pathlib", "logging")
    ],
    ("Content is as pure as core", "sheaf.content", "pathlib"),
    ("Only storage and the relay's own store", "sheaf.node", "aiosqlite"),
    ("Only storage and the relay's own store", "sheaf.api", "sqlite3"),
    ("Only transport talks WebRTC", "sheaf.signaling", "aiortc"),
    ("Only discovery talks mDNS", "sheaf.transport", "zeroconf"),
    ("Only the local door and the relay serve HTTP", "sheaf.node", "fastapi"),
    ("Only the relay's NATS modules", "sheaf.relay", "nats"),
    ("Only core.crdt hands bytes", "sheaf.storage", "pycrdt"),
    ("The relay cannot read what it carries", "sheaf.relay", "sheaf.core.crdt"),
    ("The relay cannot read what it carries", "sheaf.relay", "sheaf.core.crypto.sealing"),
    ("The relay cannot read what it carries", "sheaf.relay", "sheaf.core.crypto.key_schedule"),
    ("The relay cannot read what it carries", "sheaf.relay", "sheaf.storage"),
]
PERMITTED = [
    ("sheaf.storage", "aiosqlite"),
    ("sheaf.transport", "aiortc"),
    ("sheaf.discovery", "zeroconf"),
    ("sheaf.relay", "fastapi"),
    ("sheaf.core.crdt", "pycrdt"),
    ("sheaf.node", "sheaf.core.space"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter with this repository's contracts over the package `sheaf` in `folder`."""
    command = [str(LINTER), "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
    wide = {**os.environ, "COLUMNS": "400"}  # complaints are wrapped to the terminal's width
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, timeout=60)


def plant(folder: Path, importer: str, imported: str) -> str:
    """Add a module to the package `importer` that imports `imported`; return the new module's dotted name."""
    name = f"planted_{imported.replace('.', '_')}"
    module = folder.joinpath(*importer.split("."), f"{name}.py")
    module.write_text(f"import {imported}\n")
    return f"{importer}.{name}"


def copied_package(folder: Path) -> Path:
    """Copy the package into `folder`, without what is built or cached."""
    ignored = shutil.ignore_patterns("__pycache__", "webui_dist*")
    shutil.copytree(ROOT / "daemon" / "sheaf", folder / "sheaf", ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def broken_contracts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the linter's complaints about a copy that holds every violation at once."""
    folder = copied_package(tmp_path_factory.mktemp("violations"))
    for _, importer, imported in VIOLATIONS:
        plant(folder, importer, imported)
    result = lint(folder)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout.partition("Broken contracts")[2]


def section(complaints: str, contract: str) -> str:
    """Return the part of the complaints that is about one contract (headed by its name and dashes)."""
    parts = re.split(r"^(.+)\n-{4,}\n", complaints, flags=re.MULTILINE)
    return next(
        (text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name.startswith(contract)), ""
    )


@pytest.mark.parametrize(("contract", "importer", "imported"), VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract(
    broken_contracts: str, contract: str, importer: str, imported: str
) -> None:
    planted = f"{importer}.planted_{imported.replace('.', '_')} -> {imported}"
    assert re.search(re.escape(planted) + r"\b", section(broken_contracts, contract)), broken_contracts


def test_the_package_and_the_permitted_imports_break_nothing(tmp_path: Path) -> None:
    folder = copied_package(tmp_path)
    for importer, imported in PERMITTED:
        plant(folder, importer, imported)
    result = lint(folder)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_new_top_level_module_needs_a_floor(tmp_path: Path) -> None:
    folder = copied_package(tmp_path)
    (folder / "sheaf" / "stray.py").write_text('"""Nobody said which floor this is on."""\n')
    result = lint(folder)
    assert result.returncode == 1
    assert "stray" in result.stdout
