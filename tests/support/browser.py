"""Finding a Chromium for the tests, and the flags it runs with. It never gives up quietly.

Order: $E2E_CHROMIUM, an installed browser, one that Playwright downloaded before, then installing one:
Debian's package when we are root there, Playwright's own download otherwise.
`python -m tests.support.browser` prints what the tests would use.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

INSTALLED = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
INSTALL_TIMEOUT_S = 600


class NoChromiumError(RuntimeError):
    """No browser was found and none could be installed; the message says what was tried."""


def launch_options() -> dict[str, Any]:
    """Return keyword arguments for Playwright's `chromium.launch()`."""
    return {"executable_path": str(chromium()), "args": list(FLAGS), "headless": True}


@cache
def chromium() -> Path:
    """Return the executable of a Chromium, installing one if need be.

    Raises NoChromiumError, naming every attempt; a test that needs a browser must let that fail it.
    """
    named = os.environ.get("E2E_CHROMIUM")
    if named:
        return _executable(named, "E2E_CHROMIUM")
    found = installed() or _installed_now()
    if found is None:
        raise NoChromiumError(
            "The browser tests need a Chromium; none was found and none could be installed. "
            f"Set E2E_CHROMIUM to one, or install one of {', '.join(INSTALLED)}, "
            "or run: python -m playwright install --only-shell chromium"
        )
    return found


def installed() -> Path | None:
    """Return a Chromium that is already on this machine, or None."""
    for name in INSTALLED:
        path = shutil.which(name)
        if path:
            return Path(path)
    return next(_downloaded_by_playwright(), None)


def _executable(value: str, source: str) -> Path:
    path = shutil.which(value)
    if path is None:
        raise NoChromiumError(f"{source} names {value!r}, which is not an executable file")
    return Path(path)


def _downloaded_by_playwright() -> Iterator[Path]:
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright"
    for pattern in ("chromium_headless_shell-*/*/*headless*shell", "chromium-*/*/chrome"):
        newest_first = sorted(Path(folder).glob(pattern), reverse=True)
        yield from (path for path in newest_first if os.access(path, os.X_OK))


def _installed_now() -> Path | None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _run("apt-get", "-qq", "-o", "Acquire::Retries=3", "update")
        _run("apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium-headless-shell")
    if installed() is None:
        _run(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
    return installed()


def _run(*command: str) -> None:
    """Run one attempt; its failure is not the end, but it is shown."""
    print(f"no Chromium yet, trying: {' '.join(command)}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command,
            env=environment,
            check=True,
            timeout=INSTALL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
    except (OSError, subprocess.SubprocessError) as failure:
        print(f"that did not work: {failure}", file=sys.stderr)


if __name__ == "__main__":
    print(chromium())
