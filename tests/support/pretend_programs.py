"""Programs of a person's machine that a test cannot run: each checks its words and does what they ask for.

`python pretend_programs.py NAME WORD...` stands for NAME. It knows exactly the words that the real program
takes where the guide uses them, and refuses all others, so a slip in the guide fails. What it was told is
kept in `$PRETEND/told`, one JSON list a line. It runs in a process of its own, on the standard library alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

HOME, PRETEND = (Path(os.environ.get(name, "")) for name in ("HOME", "PRETEND"))
PROGRAM = Path(os.environ.get("PRETEND_PROGRAM", ""))
"""The `sheaf` of an environment that the wheel was installed into."""
DEADLINE_S = 30.0


class Refused(Exception):
    """What the real program would say instead of doing it."""


def systemctl(words: list[str]) -> int:
    """systemd for one machine: a unit has to be installed, and is really started and stopped."""
    is_user = words[:1] == ["--user"]
    match words[is_user:]:
        case ["daemon-reload"]:
            pass
        case ["edit", name]:
            _unit(name, is_user=is_user)
        case ["enable" | "disable" as verb, "--now", name]:
            _unit(name, is_user=is_user)
            _start(name, is_user=is_user) if verb == "enable" else _stop(name)
        case ["enable" | "disable", name]:
            _unit(name, is_user=is_user)
        case ["start", name]:
            _start(name, is_user=is_user)
        case ["stop", name]:
            _unit(name, is_user=is_user)
            _stop(name)
        case ["restart", name]:
            _unit(name, is_user=is_user)
            _stop(name)
            _start(name, is_user=is_user)
        case ["status", name]:
            _unit(name, is_user=is_user)
            return 0 if _running(name) else 3
        case ["reload", name]:
            _unit(name, is_user=is_user)
            os.kill(_running(name) or _refuse(f"{name} is not running"), signal.SIGHUP)
        case _:
            _refuse(f"systemctl does not know {words}")
    return 0


def loginctl(words: list[str]) -> int:
    """Only what lets a user's services run after logging out."""
    return 0 if words == ["enable-linger"] else _refuse(f"loginctl does not know {words}")


def journalctl(words: list[str]) -> int:
    """The log of a service, all of it or by priority."""
    match words[words[:1] == ["--user"] :]:
        case ["-u", name] | ["-u", name, "-p", "warning"]:
            print((PRETEND / f"{name}.log").read_text())
            return 0
    return _refuse(f"journalctl does not know {words}")


def pipx(words: list[str]) -> int:
    """One package, from a folder or a wheel. Without --force, what is there stays."""
    command = HOME / ".local/bin/sheaf"
    match words:
        case ["install", "--force", source]:
            _check_source(source)
            command.unlink(missing_ok=True)
        case ["install", source]:
            _check_source(source)
        case ["uninstall", "sheafd"] if command.is_symlink():
            command.unlink()
            return 0
        case ["ensurepath"]:
            return 0
        case _:
            _refuse(f"pipx does not know {words}")
    command.parent.mkdir(parents=True, exist_ok=True)
    if not command.exists():
        command.symlink_to(PROGRAM)
    return 0


def python3(words: list[str]) -> int:
    """`-m venv FOLDER`, with a pip that installs the checkout; everything else is Python's own."""
    if words[:2] != ["-m", "venv"]:
        os.execv(sys.executable, [sys.executable, *words])
    commands = Path(words[2]) / "bin"
    commands.mkdir(parents=True, exist_ok=True)
    pip = commands / "pip"
    pip.write_text(
        f'#!/bin/sh\nPRETEND_VENV="{words[2]}" exec "{sys.executable}" -IS "{__file__}" pip "$@"\n'
    )
    pip.chmod(0o755)
    return 0


def pip(words: list[str]) -> int:
    """`install FOLDER` into the environment whose pip it is."""
    match words:
        case ["install", source]:
            _check_source(source)
            command = Path(os.environ["PRETEND_VENV"], "bin/sheaf")
            command.unlink(missing_ok=True)
            command.symlink_to(PROGRAM)
            return 0
    return _refuse(f"pip does not know {words}")


def ssh(words: list[str]) -> int:
    """The other machine, at which the rest of the line is run."""
    other = json.loads(os.environ["PRETEND_OTHER"])
    return subprocess.run(["sh", "-c", " ".join(words[1:])], env=os.environ | other).returncode


def scp(words: list[str]) -> int:
    """A folder into the other machine's home, as `scp -rp FOLDER HOST:` puts it there."""
    match words:
        case ["-rp", source, target] if target.endswith(":"):
            other = Path(json.loads(os.environ["PRETEND_OTHER"])["HOME"])
            subprocess.run(["cp", "-a", source, str(other)], check=True)
            return 0
    return _refuse(f"scp does not know {words}")


def curl(words: list[str]) -> int:
    """One request with one header, since not every machine has curl."""
    match words:
        case ["-H", header, url]:
            name, _, value = header.partition(": ")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            request = urllib.request.Request(url, headers={name: value})
            with opener.open(request, timeout=DEADLINE_S) as answer:
                print(answer.read().decode())
            return 0
    return _refuse(f"curl does not know {words}")


def podman(words: list[str]) -> int:
    """An image from a file that is there. Running it is the walk's: it runs the image's program."""
    match words:
        case ["build", "-t", _name, "-f", file, "."] if Path(file).is_file():
            return 0
    return _refuse(f"podman does not know {words}")


def git(words: list[str]) -> int:
    """Nothing new has been written meanwhile."""
    return 0 if words == ["pull"] else _refuse(f"git does not know {words}")


def browser(words: list[str]) -> int:
    """Where `sheaf up` and `sheaf open` send a person."""
    return 0 if len(words) == 1 else _refuse(f"a browser gets one address, not {words}")


def _check_source(source: str) -> None:
    """A package comes from this checkout, with an extra it has, or from a wheel file."""
    path, _, extras = source.partition("[")
    if path.endswith(".whl"):
        Path(path).is_file() or _refuse(f"there is no wheel {path}")
        return
    project = Path(path, "pyproject.toml")
    if ("/" not in path and path != ".") or not project.is_file():
        _refuse(f"{source} is no folder to install from, and in no registry")
    for extra in filter(None, extras.rstrip("]").split(",")):
        re.search(rf"^{extra} = \[", project.read_text(), re.MULTILINE) or _refuse(
            f"there is no extra {extra}"
        )


def _unit(name: str, *, is_user: bool) -> Path:
    folder = HOME / ".config/systemd/user" if is_user else Path(os.environ["PRETEND_UNITS"])
    path = folder / f"{name}.service"
    if not path.is_file():
        _refuse(f"Unit {name}.service not found.")
    return path


def _start(name: str, *, is_user: bool) -> None:
    """Run the unit's own command line, and wait until it tells systemd that it serves."""
    if _running(name):
        return
    variables, words = _command_line(_unit(name, is_user=is_user).read_text())
    log, address = PRETEND / f"{name}.log", PRETEND / f"{name}.notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, log.open("ab") as output:
        notices.bind(str(address))
        notices.setblocking(False)
        environment = os.environ | variables | {"NOTIFY_SOCKET": str(address)}
        process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        (PRETEND / f"{name}.pid").write_text(str(process.pid))
        _await(lambda: _says_ready(notices) or process.poll() is not None, f"{name} is ready")
    if process.poll() is not None:
        _refuse(f"{name} ended with {process.returncode}:\n{log.read_text()[-2000:]}")


def _says_ready(notices: socket.socket) -> bool:
    """Whether READY=1 has come, as sd_notify(3) sends it."""
    try:
        return "READY=1" in notices.recv(4096).decode().splitlines()
    except BlockingIOError:
        return False


def _command_line(unit: str) -> tuple[dict[str, str], list[str]]:
    """Return variables and words of ExecStart, as systemd.service(5) makes them."""
    variables = {}
    for assignment in re.findall(r"^Environment=(.+)$", unit, re.MULTILINE):
        name, _, value = shlex.split(assignment)[0].partition("=")
        variables[name] = _specifiers(value)
    (line,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    words: list[str] = []
    for word in shlex.split(_specifiers(line)):
        if re.fullmatch(r"\$\w+", word):
            words += shlex.split(variables.get(word[1:], ""))
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda match: variables[match.group(1)], word))
    return variables, words


def _specifiers(text: str) -> str:
    """What stands for places of this machine: systemd's own %h and %S, and those that the walk moved."""
    moved = {"%h": str(HOME), "%S": str(PRETEND / "state"), **json.loads(os.environ["PRETEND_MOVED"])}
    (PRETEND / "state/sheaf-relay").mkdir(parents=True, exist_ok=True)
    for old, new in moved.items():
        text = text.replace(old, new)
    return text


def _running(name: str) -> int | None:
    try:
        pid = int((PRETEND / f"{name}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if state != "Z" else None


def _stop(name: str) -> None:
    pid = _running(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        _await(lambda: _running(name) is None, f"{name} stops")


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            _refuse(f"within {DEADLINE_S:.0f} s it did not come true: {what}")
        time.sleep(0.02)


def _refuse(why: str) -> NoReturn:
    raise Refused(why)


PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    each.__name__: each
    for each in (systemctl, loginctl, journalctl, pipx, python3, pip, ssh, scp, curl, podman, git, browser)
}


def install(folder: Path) -> None:
    """Put a command for each of them into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in PROGRAMS:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" {name} "$@"\n')
        command.chmod(0o755)


def main() -> int:
    """Do it, or say what the real program would."""
    name, *words = sys.argv[1:]
    with (PRETEND / "told").open("a") as told:
        told.write(json.dumps([name, *words]) + "\n")
    try:
        return PROGRAMS[name](words)
    except Refused as why:
        print(f"{name}: {why}", file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(main())
