"""An npm lock is installed as it is, whatever a registry offers by then: on a registry that the test makes.

The lock of this small project is like ours: it names no registry (no `resolved`), and the binaries of
platforms that its maker's registry did not offer have no digest (docs/decisions/0002-lock-files.md).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hatch_build import install_packages
from tests.support.npm_lock import completed
from tests.support.repository import ROOT, committed_files

LOCKS = [path for path in committed_files() if path.name == "package-lock.json"]


def packed(manifest: dict[str, Any]) -> bytes:
    """Return the package of a manifest, as a registry keeps it."""
    text = json.dumps(manifest).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def integrity(package: bytes) -> str:
    """Return what a lock says about a package's bytes."""
    return "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()


@dataclass
class Registry:
    """What is offered, and which paths were asked for."""

    url: str = ""
    packages: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def offer(self, name: str, version: str, **more: Any) -> str:
        """Publish a release, the newest of its package; return its integrity."""
        manifest = {"name": name, "version": version, **more}
        self.manifests[name, version], self.packages[name, version] = manifest, packed(manifest)
        return integrity(self.packages[name, version])

    def answer(self, path: str) -> bytes | None:
        """Return what stands at `path`: a package's list of releases, or the bytes of one."""
        self.asked.append(path)
        name, _, file = path.strip("/").replace("%2f", "/").partition("/-/")
        if file:
            return self.packages.get((name, file.removesuffix(".tgz")))
        versions = {
            version: {
                **manifest,
                "dist": {
                    "tarball": f"{self.url}/{name}/-/{version}.tgz",
                    "integrity": integrity(self.packages[name, version]),
                },
            }
            for (owner, version), manifest in self.manifests.items()
            if owner == name
        }
        if not versions:
            return None
        newest = {"latest": list(versions)[-1]}
        return json.dumps({"name": name, "dist-tags": newest, "versions": versions}).encode()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry on loopback, which npm asks with a cache and settings of its own."""
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.answer(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"{}")

        def log_message(self, format: str, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    for name, value in {
        "registry": made.url,
        "cache": str(tmp_path / "cache"),
        "userconfig": str(tmp_path / "nobodys"),
        "fetch_retries": "0",
        "noproxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def project(registry: Registry, tmp_path: Path) -> Path:
    """A project with ranges in its package.json, locked when 1.0.0 was the newest of everything."""
    binaries = {"tool-linux-x64": "1.0.0", "tool-linux-arm64": "1.0.0", "tool-win32-x64": "1.0.0"}
    here = {"os": ["linux"], "cpu": ["x64", "arm64"]}
    digests = {
        "top": registry.offer("top", "1.0.0", dependencies={"below": "^1.0.0"}),
        "below": registry.offer("below", "1.0.0"),
        "tool": registry.offer("tool", "1.0.0", optionalDependencies=binaries),
        "tool-linux-x64": registry.offer("tool-linux-x64", "1.0.0", **here),
        "tool-linux-arm64": registry.offer("tool-linux-arm64", "1.0.0", **here),
    }
    packages: dict[str, Any] = {
        f"node_modules/{name}": {
            **{key: value for key, value in registry.manifests[name, "1.0.0"].items() if key != "name"},
            "integrity": digest,
            **({"optional": True} if "-" in name else {}),
        }
        for name, digest in digests.items()
    }
    wanted = {"dependencies": {"top": "^1.0.0", "tool": "^1.0.0"}}
    packages[""] = {"name": "project", "version": "1.0.0", **wanted}
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": "project", "version": "1.0.0", **wanted}))
    lock = {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "packages": packages}
    (folder / "package-lock.json").write_text(json.dumps(completed(lock)))
    shutil.copy2(ROOT / "webui/.npmrc", folder)
    return folder


def a_year_later(registry: Registry) -> None:
    """Release something newer of everything, within every range."""
    for (name, _), manifest in list(registry.manifests.items()):
        registry.offer(
            name, "1.9.0", **{key: manifest[key] for key in manifest if key not in ("name", "version")}
        )


def installed(folder: Path) -> dict[str, str]:
    """Return the versions in `folder`/node_modules."""
    manifests = [json.loads(path.read_text()) for path in folder.glob("node_modules/*/package.json")]
    return {manifest["name"]: manifest["version"] for manifest in manifests}


def test_a_registry_with_newer_releases_changes_nothing(registry: Registry, project: Path) -> None:
    a_year_later(registry)
    lock = (project / "package-lock.json").read_bytes()
    install_packages(project)
    found = installed(project)
    assert {"top", "below", "tool"} <= set(found)
    assert set(found.values()) == {"1.0.0"}
    assert [path for path in registry.asked if "1.9.0" in path] == []
    assert (project / "package-lock.json").read_bytes() == lock


def test_binaries_of_other_platforms_are_neither_looked_up_nor_missed(
    registry: Registry, project: Path
) -> None:
    assert (
        "integrity"
        not in json.loads((project / "package-lock.json").read_text())["packages"][
            "node_modules/tool-win32-x64"
        ]
    )
    install_packages(project)
    assert "tool-win32-x64" not in installed(project)
    assert [path for path in registry.asked if "win32" in path] == []


def test_a_binary_that_was_locked_without_a_digest_keeps_its_version(
    registry: Registry, project: Path
) -> None:
    lock = json.loads((project / "package-lock.json").read_text())
    for name in ("tool-linux-x64", "tool-linux-arm64"):
        del lock["packages"][f"node_modules/{name}"]["integrity"]
    (project / "package-lock.json").write_text(json.dumps(lock))
    a_year_later(registry)
    install_packages(project)
    assert set(installed(project).values()) == {"1.0.0"}
    assert [path for path in registry.asked if path.startswith("/tool-linux") and path.endswith(".tgz")]


def test_a_package_that_was_replaced_under_its_version_is_refused(registry: Registry, project: Path) -> None:
    registry.offer("below", "1.0.0", description="another")
    with pytest.raises(subprocess.CalledProcessError):
        install_packages(project)
    assert not (project / "node_modules/.lock-hash").exists()


def test_what_was_fetched_once_is_installed_again_without_a_registry(
    registry: Registry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_packages(project)
    before = installed(project)
    shutil.rmtree(project / "node_modules")
    registry.manifests.clear()
    registry.packages.clear()
    registry.asked.clear()
    monkeypatch.setenv("npm_config_offline", "true")
    install_packages(project)
    assert (installed(project), registry.asked) == (before, [])


def test_a_lock_that_does_not_fit_its_project_is_refused_and_not_mended(
    registry: Registry, project: Path
) -> None:
    manifest = json.loads((project / "package.json").read_text())
    manifest["dependencies"]["top"] = "^2.0.0"
    (project / "package.json").write_text(json.dumps(manifest))
    registry.offer("top", "2.0.0")
    with pytest.raises(subprocess.CalledProcessError):
        install_packages(project)
    assert [path for path in registry.asked if path.endswith(".tgz")] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_every_locked_package_has_a_digest(path: Path) -> None:
    """Also the binaries of platforms that nobody here has: what has none is installed unchecked there."""
    packages = json.loads(path.read_text())["packages"]
    bare = [
        name
        for name, entry in packages.items()
        if name.startswith("node_modules/") and "integrity" not in entry and not entry.get("link")
    ]
    assert bare == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_a_project_asks_for_exact_versions_only(path: Path) -> None:
    """So that `make lock` takes nothing newer by itself either."""
    manifest = json.loads((path.parent / "package.json").read_text())
    wanted = {**manifest.get("dependencies", {}), **manifest.get("devDependencies", {})}
    assert [name for name, version in wanted.items() if version[:1] in "^~*<>="] == []
