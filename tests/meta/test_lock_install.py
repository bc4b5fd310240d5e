"""The Makefile installs exactly what the locks name, also once the index offers newer releases.

The Makefile's own recipes run in a folder with a small project and locks of its own, against an index on
loopback: with the pip that this Python bundles, and with the oldest pip that our oldest Python bundles.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_index import Index, Release, serve_index
from tests.support.repository import ROOT

BACKEND = """
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "project-1.0-py3-none-any.whl", "project-1.0.dist-info"
    members = {
        "built_by.txt": "VERSION",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        for member, text in members.items():
            wheel.writestr(member, text)
    return name
"""

# What the lock was made from: `tool` asks for an extra of `cover`, as pytest-cov does of coverage.
TOOL = Release("tool", "1.0", requires=["cover[toml]>=1"])
COVER = Release("cover", "1.0", extras=["toml"], requires=['parser>=1; extra == "toml"'])
PARSER = Release("parser", "1.0")
BUILDER = Release("backend", "1.0", module=BACKEND.replace("VERSION", "1.0"))
LOCKED = [TOOL, COVER, PARSER, BUILDER]
# What the index has got since then.
NEWER = [
    Release("tool", "1.1", requires=["cover[toml]>=2"]),
    Release("cover", "2.0", extras=["toml"]),
    Release("parser", "9.0"),
    Release("backend", "2.0", module=BACKEND.replace("VERSION", "2.0")),
]


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    """An index that offers what is locked and a newer release of each."""
    with serve_index([*LOCKED, *NEWER]) as running:
        yield running


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, index: Index) -> Path:
    """A project with our Makefile, locks of its own, and an environment with the pip in question."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "webui").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "hatch_build.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["backend>=1"]\nbuild-backend = "backend"\n'
        '[project]\nname = "project"\nversion = "1.0"\n'
    )
    programs = [TOOL, COVER, PARSER]
    (tmp_path / "requirements/run.txt").write_text("".join(release.pin() for release in programs))
    (tmp_path / "requirements/build.txt").write_text(BUILDER.pin())
    (tmp_path / "requirements/dev.txt").write_text("".join(release.pin() for release in LOCKED))
    (tmp_path / "requirements/oldest-pip.txt").write_text(PARSER.pin())
    make(tmp_path, index, ".venv/.venv-stamp")
    if request.param == "oldest":
        use_oldest_pip(tmp_path)
    index.fetched.clear()
    return tmp_path


def environment(index: Index) -> dict[str, str]:
    """Return an environment in which pip knows `index` and nothing else."""
    cleared = {
        key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "MAKE", "MFLAGS"))
    }
    return {**cleared, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url, "PIP_NO_CACHE_DIR": "1"}


def make(folder: Path, index: Index, *targets: str) -> None:
    """Run `make` in `folder` and fail with what it said if it fails."""
    result = subprocess.run(
        ["make", "VENV=.venv", *targets],
        cwd=folder,
        env=environment(index),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def use_oldest_pip(folder: Path) -> None:
    """Put the oldest pip into `folder`'s environment; `make dev` has fetched its wheel."""
    wheel = next((Path(sys.prefix, "oldest-pip")).glob("pip-*.whl"))
    python = str(folder / ".venv/bin/python")
    command = [python, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, timeout=100)


def installed(folder: Path) -> dict[str, str]:
    """Return name -> version of what is in `folder`'s environment, but for pip and setuptools."""
    infos = (folder / ".venv").glob("lib/python*/site-packages/*.dist-info")
    pairs = [info.name.removesuffix(".dist-info").split("-") for info in infos]
    return {name: version for name, version in pairs if name not in {"pip", "setuptools"}}


@pytest.mark.parametrize(
    ("project", "stamp"), [("bundled", ".run-stamp"), ("oldest", ".dev-stamp")], indirect=["project"]
)
def test_a_newer_release_in_the_index_changes_nothing(project: Path, index: Index, stamp: str) -> None:
    make(project, index, f".venv/{stamp}", ".venv/.project-stamp")
    locked = {release.name: release.version for release in LOCKED}
    assert installed(project) == {**locked, "project": "1.0"}
    assert set(index.fetched) == {release.filename for release in LOCKED}
    built_by = next((project / ".venv").glob("lib/python*/site-packages/built_by.txt"))
    assert built_by.read_text() == "1.0", "built by what is locked, not by the newest of the day"


@pytest.mark.parametrize("project", ["bundled"], indirect=True)
def test_an_incomplete_lock_is_noticed(project: Path, index: Index) -> None:
    (project / "requirements/run.txt").write_text(TOOL.pin())
    with pytest.raises(AssertionError, match="requires cover, which is not installed"):
        make(project, index, ".venv/.run-stamp", ".venv/.project-stamp")
