"""Locks, the build hook and the Makefile agree with each other and name no registry."""

import ast
import importlib.metadata
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hatch_build
from tests.support.npm_lock import completed, platform_entry, unlocked, without_guesses
from tests.support.repository import ROOT, committed_texts

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, BUILD = PYPROJECT["project"], PYPROJECT["dependency-groups"]["build"]
RUN, DEV, BUILDING, RELAY = LOCKS = [
    ROOT / "requirements" / f"{name}.txt" for name in ("run", "dev", "build", "relay")
]


def normalized(name: str) -> str:
    """Return a distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, str]:
    """Return name -> version with marker, for every line of a lock that pins something."""
    pins = re.findall(r"^([\w.-]+)(==[^\\\n]+?)\s*\\$", path.read_text(), flags=re.MULTILINE)
    return {f"{normalized(name)} {version.partition(';')[2]}": version for name, version in pins}


def names(requirements: list[str]) -> set[str]:
    """Return the distributions a list of requirements asks for."""
    return {normalized(re.split(r"[\s<>=!~;\[]", requirement)[0]) for requirement in requirements}


def locked_names(path: Path) -> set[str]:
    """Return the distributions a lock pins."""
    return {key.split()[0] for key in locked(path)}


def third_party_imports() -> Iterator[tuple[str, str]]:
    """Yield (file, top-level module) for every import in the daemon that is neither ours nor Python's."""
    for name, text in committed_texts(".py", under="daemon/"):
        for node in ast.walk(ast.parse(text)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for module in {module.partition(".")[0] for module in modules}:
                if module != "sheaf" and module not in sys.stdlib_module_names:
                    yield name, module


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(path: Path) -> None:
    pin, digest = r"[\w.-]+==[\w.+!]+( ; [^\\]+)? \\", r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    odd = [line for line in path.read_text().splitlines() if not re.fullmatch(f"{pin}|{digest}", line)]
    assert odd == []


def test_the_locks_hold_everything_the_project_asks_for() -> None:
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) <= locked_names(RUN)
    assert names([*extras["dev"], *extras["keyring"], *extras["nats"], *BUILD]) <= locked_names(DEV)
    assert names([*PROJECT["dependencies"], *extras["nats"], *BUILD]) <= locked_names(RELAY)
    assert names([*BUILD, *PYPROJECT["build-system"]["requires"]]) <= locked_names(BUILDING)


@pytest.mark.parametrize("path", [RUN, BUILDING, RELAY], ids=lambda path: path.name)
def test_what_is_tested_is_what_is_run(path: Path) -> None:
    pins, dev = locked(path), locked(DEV)
    assert {key: dev.get(key) for key in pins} == pins


def test_the_daemon_imports_only_what_the_project_declares() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = names([*PROJECT["dependencies"], *extras["keyring"], *extras["nats"]])
    homes = importlib.metadata.packages_distributions()
    undeclared = {
        f"{name}: {module}"
        for name, module in third_party_imports()
        if not declared & {normalized(home) for home in homes.get(module, [module])}
    }
    assert undeclared == set()


def test_every_dependency_has_its_reason_written_down() -> None:
    decisions = "".join(text.lower() for _, text in committed_texts(".md", under="docs/decisions/"))
    asked_for = [
        *PROJECT["dependencies"],
        *BUILD,
        *itertools.chain(*PROJECT["optional-dependencies"].values()),
    ]
    assert sorted(name for name in names(asked_for) if name not in decisions) == []


def test_the_build_and_the_tests_use_one_node() -> None:
    assert hatch_build.NODE_REQUIREMENT in BUILD


def test_the_installed_command_is_called_sheaf() -> None:
    assert (PROJECT["name"], PROJECT["scripts"]) == ("sheafd", {"sheaf": "sheaf.cli.main:main"})


def test_the_editor_is_stale_once_any_source_changed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "src" / "main.ts").write_text("one")
    first = hatch_build.sources_hash(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "noise.js").write_text("not a source")
    assert hatch_build.sources_hash(tmp_path) == first
    (tmp_path / "src" / "main.ts").write_text("two")
    second = hatch_build.sources_hash(tmp_path)
    (tmp_path / "src" / "main.ts").rename(tmp_path / "src" / "other.ts")
    third = hatch_build.sources_hash(tmp_path)
    (tmp_path / "vite.config.ts").write_text("one more file in the bundle")
    fourth = hatch_build.sources_hash(tmp_path)
    (tmp_path / "package-lock.json").write_text("other packages in the bundle")
    assert len({first, second, third, fourth, hatch_build.sources_hash(tmp_path)}) == 5


def test_a_checkout_without_the_editor_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"package\.json is missing"):
        hatch_build.sources_hash(tmp_path)


def test_the_npm_lock_gets_an_entry_for_each_platform_the_registry_left_out() -> None:
    parent = {"version": "1.2.3", "dev": True, "optionalDependencies": {"@v/t-linux-arm64-musl": "1.2.3"}}
    lock = {"packages": {"node_modules/t": parent}}
    assert unlocked(lock["packages"]) == {"@v/t-linux-arm64-musl": ("1.2.3", "node_modules/t")}
    entry = completed(lock)["packages"]["node_modules/@v/t-linux-arm64-musl"]
    assert entry == {
        "version": "1.2.3",
        "cpu": ["arm64"],
        "optional": True,
        "os": ["linux"],
        "libc": ["musl"],
        "dev": True,
    }
    assert unlocked(completed(lock)["packages"]) == {}


def test_such_an_entry_makes_room_for_the_registrys_own() -> None:
    """It has no digest, so it is not kept once a registry offers the package."""
    whole = {"version": "1.2.3", "optional": True, "os": ["linux"], "cpu": ["x64"], "integrity": "sha512-…"}
    names = {"@v/t-linux-x64": "1.2.3", "@v/t-linux-arm64": "1.2.3"}
    parent = {"version": "1.2.3", "integrity": "sha512-…", "optionalDependencies": names}
    lock = {"packages": {"node_modules/t": parent, "node_modules/@v/t-linux-x64": whole}}
    assert without_guesses(completed(lock)) == lock


@pytest.mark.parametrize(("name", "version"), [("@v/t-linux-x64", "^1.2.3"), ("@v/helper", "1.2.3")])
def test_an_entry_that_would_be_a_guess_is_refused(name: str, version: str) -> None:
    with pytest.raises(ValueError, match="cannot lock"):
        platform_entry(name, version, is_dev=False)
