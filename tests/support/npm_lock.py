"""Write a package-lock.json that `npm ci` accepts: `python -m tests.support.npm_lock FOLDER`.

npm leaves an optional package out of the lock when the registry at hand does not offer it (a mirror
that holds only the binaries of the platforms it serves, say), and then refuses its own lock. The version
of such a package is known, because its parent pins it, and so is its platform, from its name: that is
all an entry needs.
"""

import json
import sys
from pathlib import Path
from typing import Any

from hatch_build import npm
from tests.support.repository import ROOT

SYSTEMS = frozenset({"android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "sunos", "win32"})
PROCESSORS = frozenset({"arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "wasm32", "x64"})
LIBRARIES = {"musl": "musl", "gnu": "glibc"}


def unlocked(packages: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the optional packages that the lock names but does not hold: name -> (version, parent's key)."""
    missing = {}
    for parent, entry in packages.items():
        for name, version in entry.get("optionalDependencies", {}).items():
            if f"node_modules/{name}" not in packages and f"{parent}/node_modules/{name}" not in packages:
                missing[name] = (version, parent)
    return missing


def completed(lock: dict[str, Any]) -> dict[str, Any]:
    """Return `lock` with an entry for every optional package that npm left out."""
    packages = dict(lock["packages"])
    for name, (version, parent) in unlocked(packages).items():
        is_dev = packages[parent].get("dev", False)
        packages[f"node_modules/{name}"] = platform_entry(name, version, is_dev=is_dev)
    return {**lock, "packages": dict(sorted(packages.items()))}


def platform_entry(name: str, version: str, *, is_dev: bool) -> dict[str, Any]:
    """Return the lock entry of a binary package such as `@vendor/tool-linux-arm64-musl`.

    Raises ValueError when the version is a range or the name tells no platform: then the lock has to wait
    for a registry that offers the package.
    """
    words = name.split("/")[-1].split("-")
    systems, processors = sorted(SYSTEMS & set(words)), sorted(PROCESSORS & set(words))
    if not (version[:1].isdigit() and systems and processors):
        raise ValueError(f"cannot lock {name}@{version}: the registry does not offer it")
    entry: dict[str, Any] = {"version": version, "cpu": processors, "optional": True, "os": systems}
    libraries = [LIBRARIES[word] for word in words if word in LIBRARIES]
    return {**entry, **({"libc": libraries} if libraries else {}), **({"dev": True} if is_dev else {})}


def without_guesses(lock: dict[str, Any]) -> dict[str, Any]:
    """Return `lock` without the entries that `completed` made: npm makes better ones if the registry can."""
    packages = {
        name: entry
        for name, entry in lock["packages"].items()
        if "integrity" in entry or not (entry.get("optional") and entry.get("os"))
    }
    return {**lock, "packages": packages}


def main(folder: Path) -> None:
    """Refresh `folder`/package-lock.json from its package.json and complete it."""
    path = folder / "package-lock.json"
    path.write_text(json.dumps(without_guesses(json.loads(path.read_text())), indent=2) + "\n")
    npm(folder, "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
    path.write_text(json.dumps(completed(json.loads(path.read_text())), indent=2) + "\n")


if __name__ == "__main__":
    main(ROOT / sys.argv[1])
