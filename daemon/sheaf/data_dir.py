"""Where a daemon keeps its data, and how the command line finds a running one.

Only the standard library and platformdirs: every `sheaf` command starts here, so it must
start quickly. `daemon.json` is written after the local door listens and emptied at a
clean end; after a crash it is stale, which the reader notices because nobody answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

DATA_DIR_VARIABLE: Final = "SHEAF_DATA_DIR"
DAEMON_FILE: Final = "daemon.json"
_DAEMON_FILE_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class DaemonFile:
    """What a running daemon says about itself to commands of the same user."""

    port: int
    pid: int
    version: str


def default_data_dir() -> Path:
    """`$SHEAF_DATA_DIR`, or `sheaf` in the user's data directory; need not exist."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("sheaf", appauthor=False)


def keeps_no_modes(folder: Path) -> bool:
    """Whether the file system of `folder` ignores permissions (exFAT, SMB …), so that others read along.

    Found out with a file that is made for its owner only and removed at once. False where none can
    be made, and on Windows, where permissions are no modes.
    """
    if os.name == "nt":
        return False
    probe = folder / f".modes-{os.getpid()}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077 != 0
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def without_modes(folder: Path) -> str:
    """What that means, and what to do: a sentence or two."""
    return (
        f"{folder} is on a file system that keeps no permissions (exFAT, SMB …): other users of this "
        "computer can read keys and documents there, and chmod changes nothing."
    )


WITHOUT_MODES_ADVICE: Final = (
    "Choose a data directory on another disk with --data-dir, or mount this one for yourself alone "
    "(umask=077; for SMB file_mode=0600,dir_mode=0700). If nobody else uses this computer: "
    "--accept-shared-files."
)


def write_daemon_file(data_dir: Path, daemon: DaemonFile) -> None:
    """Announce a listening daemon; replaced atomically, readable by this user only.

    On a full disk the file of an earlier daemon is written over instead: that needs no room.

    Raises:
        OSError: neither is possible.
    """
    text = json.dumps(asdict(daemon)) + "\n"
    fresh = data_dir / f".{DAEMON_FILE}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(data_dir / DAEMON_FILE)
    except OSError:
        _write_over(data_dir / DAEMON_FILE, text)


def _write_over(path: Path, text: str) -> None:
    """Replace a file's text in place, padded to its size so that no block is given back."""
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.write(text.encode().ljust(size))
        file.truncate()


def read_daemon_file(data_dir: Path) -> DaemonFile | None:
    """The announced daemon, or None when there is none or the file makes no sense."""
    path = data_dir / DAEMON_FILE
    try:
        if path.stat().st_size > _DAEMON_FILE_BYTES_MAX:
            return None
        fields = json.loads(path.read_text(encoding="utf-8"))
        return DaemonFile(port=int(fields["port"]), pid=int(fields["pid"]), version=str(fields["version"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remove_daemon_file(data_dir: Path, pid: int) -> None:
    """Withdraw the announcement of process `pid`; one of a successor is left alone.

    The file stays, saying nothing: the next daemon may start on a full disk, and need its place.
    """
    announced = read_daemon_file(data_dir)
    if announced is not None and announced.pid == pid:
        with contextlib.suppress(OSError):
            _write_over(data_dir / DAEMON_FILE, "{}\n")
