"""Opening the browser without showing the one-time token to every user of the machine.

A link on a command line can be read in the process list, so the browser gets a private
file that leads to it. Browsers in a snap cannot read hidden folders; there the file lies
in the home directory. The token in it is dead after one use or five minutes.
"""

from __future__ import annotations

import contextlib
import html
import os
import sys
from pathlib import Path
from typing import Final

_FILE_NAME: Final = "sheaf-sign-in.html"
_PAGE: Final = """<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={link}"><title>Sheaf</title><a href="{link}">Open Sheaf</a>
"""


def has_display() -> bool:
    """Whether a graphical browser can be expected; a text browser would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(link: str, data_dir: Path) -> bool:
    """Open `link`; False when there is no browser to open (the link was printed anyway)."""
    if not has_display():
        return False
    import webbrowser

    folder = Path.home() if Path("/snap").is_dir() else data_dir
    try:
        page = write_page(folder / _FILE_NAME, link)
        return webbrowser.open(page.as_uri())
    except (OSError, webbrowser.Error):
        return False


def write_page(path: Path, link: str) -> Path:
    """The private page that leads to `link`."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(_PAGE.format(link=html.escape(link)))
    return path
