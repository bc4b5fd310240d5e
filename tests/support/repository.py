"""The repository as the meta tests see it: its root and the files that are, or would be, committed."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def committed_files() -> tuple[Path, ...]:
    """Return every tracked file and every new one that git does not ignore, as absolute paths."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in set(listing.split("\0")) if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def committed_texts(*suffixes: str, under: str = "") -> list[tuple[str, str]]:
    """Return (path relative to the root, text) of committed UTF-8 files, by suffix and folder if given."""
    found = []
    for path in committed_files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(under) and (not suffixes or path.suffix in suffixes):
            try:
                found.append((name, path.read_text(encoding="utf-8")))
            except UnicodeDecodeError:
                continue
    return found
