"""Runs `sheaf` commands in a process that looks like Windows, as far as Python code can see.

What Sheaf builds on is loaded first, as it is on this system. Then everything of Sheaf is loaded anew where
the modules and names that Windows lacks are missing. `os.kill` ends the process it is given there, so here it
is noted instead. Prints JSON: what failed to import, whom `os.kill` would have ended, and what commands did.

Run it as `python -m tests.support.pretend_windows DATA_DIR COMMAND…`, each command one argument.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import pkgutil
import shlex
import signal
import socket
import sys
from typing import Any, Final

MISSING_MODULES: Final = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
MISSING_NAMES: Final[tuple[tuple[Any, str], ...]] = (
    (
        os,
        "chown fchmod fork geteuid getgid getuid getpgid killpg mkfifo pread pwrite setsid sysconf uname",
    ),
    (os, "O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK"),
    (signal, "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 pthread_sigmask setitimer"),
    (socket, "AF_NETLINK AF_PACKET AF_UNIX SOCK_CLOEXEC SOCK_NONBLOCK SO_REUSEPORT sethostname"),
)

LOADED_LATER: Final = ("ifaddr", "keyring.core", "platformdirs", "rich.console", "rich.progress", "segno")
"""What Sheaf imports inside functions, and what looks at the system's name when it is imported."""


def module_names() -> list[str]:
    """Every module of the package."""
    package = importlib.import_module("sheaf")
    return ["sheaf", *(each.name for each in pkgutil.walk_packages(package.__path__, "sheaf."))]


def pretend(killed: list[int]) -> None:
    """Make this process look like Windows; there is no way back."""
    for name in MISSING_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python marks what is not to be had
    for owner, names in MISSING_NAMES:
        for name in names.split():
            if hasattr(owner, name):
                delattr(owner, name)

    def kill(pid: int, _number: int) -> None:
        killed.append(pid)

    os.kill = kill
    for module in (pathlib, sys.modules.get("pathlib._local")):
        if module is not None:
            module.WindowsPath = pathlib.PosixPath  # type: ignore[attr-defined]  # what Path() makes there
    os.name, sys.platform = "nt", "win32"


def load_all(names: list[str]) -> dict[str, str]:
    """Import every module anew; what failed, and why."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sheaf"]:
        del sys.modules[name]
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def outcome(data_dir: str, command: str) -> dict[str, Any]:
    """One command, as its console script runs it."""
    from typer.testing import CliRunner

    app = importlib.import_module("sheaf.cli.main").app
    result = CliRunner().invoke(app, ["--data-dir", data_dir, *shlex.split(command)])
    error = result.exception
    is_wrong = error is not None and not isinstance(error, SystemExit)
    return {"out": result.stdout, "error": f"{type(error).__name__}: {error}" if is_wrong else None}


def main(data_dir: str, commands: list[str]) -> None:
    """See the module."""
    names = module_names()
    for name in (*names, *LOADED_LATER):
        importlib.import_module(name)
    killed: list[int] = []
    pretend(killed)
    failed = load_all(names)
    outcomes = {} if failed else {command: outcome(data_dir, command) for command in commands}
    sys.__stdout__.write(json.dumps({"failed": failed, "killed": killed, "outcomes": outcomes}))  # type: ignore[union-attr]  # there is one


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
