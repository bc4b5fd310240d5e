"""What `sheaf doctor` looks at. Every check reads only, and catches its own failure."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sheaf import __version__
from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import Session
from sheaf.cli.tables import human_bytes, plural

_FREE_BYTES_WARN: Final = 1_000_000_000
_FREE_BYTES_FAIL: Final = 100_000_000
_EARLIEST_S: Final = 1_735_689_600
"""2025-01-01: Sheaf is younger than any correct clock before."""
_CLOCK_SLACK_S: Final = 86_400
_MULTICAST_FLAG: Final = 0x1000
_DATABASE: Final = "sheaf.db"


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` says what to do, None when all is well."""

    name: str
    verdict: Verdict
    detail: str
    advice: str | None = None


Check = Callable[[Session], Iterator[Finding]]


def run_checks(session: Session) -> list[Finding]:
    """All checks in the order people care; a check that breaks is itself a finding."""
    findings: list[Finding] = []
    for check in (_version, _data_dir, _space_on_disk, _clock, _daemon, _database, _network, _editor):
        try:
            findings += check(session)
        except OSError as error:
            name = check.__name__.strip("_").replace("_", " ")
            findings.append(
                Finding(name, Verdict.WARNING, f"could not be checked: {error.strerror or error}")
            )
    return findings


def _version(_session: Session) -> Iterator[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("version", Verdict.OK, f"Sheaf {__version__} on Python {python}")


def _data_dir(session: Session) -> Iterator[Finding]:
    from sheaf.data_dir import WITHOUT_MODES_ADVICE, keeps_no_modes, without_modes

    path = session.data_dir
    if not path.exists():
        yield Finding("data", Verdict.OK, f"{path} does not exist yet; `sheaf up` makes it")
        return
    info = path.stat()
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "data", Verdict.FAILURE, f"{path} cannot be used", f"Own it and allow writing: chmod u+rwx {path}"
        )
    elif os.name != "nt" and info.st_uid != os.geteuid():
        yield Finding("data", Verdict.WARNING, f"{path} belongs to another user", "Run Sheaf as its owner.")
    elif keeps_no_modes(path):
        yield Finding("data", Verdict.WARNING, without_modes(path), WITHOUT_MODES_ADVICE)
        return  # what chmod could do for single files does not help here
    elif _is_open_to_others(info):
        yield Finding("data", Verdict.WARNING, f"others can look into {path}", f"chmod 700 {path}")
    else:
        yield Finding("data", Verdict.OK, f"{path} is yours alone")
    yield from _private_files(path)


def _private_files(path: Path) -> Iterator[Finding]:
    for file in (path / "api-token", path / "sessions.json", path / _DATABASE, *path.glob("before-schema-*")):
        if file.exists() and _is_open_to_others(file.stat()):
            yield Finding("data", Verdict.WARNING, f"others can read {file}", f"chmod 600 {file}")


def _is_open_to_others(info: os.stat_result) -> bool:
    """By mode bits, which say nothing on Windows."""
    return os.name != "nt" and bool(stat.S_IMODE(info.st_mode) & 0o077)


def _space_on_disk(session: Session) -> Iterator[Finding]:
    existing = next(path for path in (session.data_dir, *session.data_dir.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{human_bytes(free)} free"
    if free < _FREE_BYTES_FAIL:
        yield Finding("disk", Verdict.FAILURE, detail, "Make room: edits cannot be saved on a full disk.")
    elif free < _FREE_BYTES_WARN:
        yield Finding("disk", Verdict.WARNING, detail, "Make room soon.")
    else:
        yield Finding("disk", Verdict.OK, detail)


def _clock(session: Session) -> Iterator[Finding]:
    """Clocks decide nothing in Sheaf, but invitations expire by them and people read them."""
    now = time.time()
    stamps = [file.stat().st_mtime for file in (session.data_dir / _DATABASE,) if file.exists()]
    today = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < _EARLIEST_S:
        yield Finding("clock", Verdict.WARNING, f"it says {today}", "Set it: invitations expire by it.")
    elif any(stamp > now + _CLOCK_SLACK_S for stamp in stamps):
        yield Finding(
            "clock", Verdict.WARNING, f"it says {today}, but the data is from later", "Set the clock."
        )
    else:
        yield Finding("clock", Verdict.OK, today)


def _daemon(session: Session) -> Iterator[Finding]:
    try:
        status = session.client.get("/status")
    except CommandFailed as failure:
        if failure.exit_code is not ExitCode.NO_DAEMON:
            yield Finding(
                "daemon", Verdict.FAILURE, str(failure), "Is this the data directory of your daemon?"
            )
        else:
            yield Finding("daemon", Verdict.WARNING, "it is not running", "Start it with `sheaf up`.")
            yield from _port()
        return
    yield Finding("daemon", Verdict.OK, f"version {status['version']} at http://127.0.0.1:{status['port']}/")
    if status["version"] != __version__:
        yield Finding(
            "daemon",
            Verdict.WARNING,
            f"this command is version {__version__}",
            "Restart it to bring both to one version.",
        )
    storage = status["storage"]
    if storage["state"] == "low":
        yield Finding("storage", Verdict.WARNING, "everything is saved", storage["detail"])
    elif storage["state"] != "ok":
        yield Finding(
            "storage", Verdict.FAILURE, storage["detail"], "Keep the editor open until it is solved."
        )
    for clone in status["clones"]:
        yield Finding("identity", Verdict.FAILURE, clone["what"], clone["do"])
    live = sum(peer["state"] == "live" for peer in status["peers"])
    yield Finding("peers", Verdict.OK, f"{plural(live, 'device')} connected, {len(status['peers'])} known")
    mdns, listening = status["lan"]["mdns"], status["lan"]["listening"]
    if listening is None:
        yield Finding("lan", Verdict.WARNING, "the LAN listener is off", "Choose another --lan HOST:PORT.")
    else:
        yield Finding("lan", Verdict.OK, f"listening on {listening}, mDNS {mdns}")


def _port() -> Iterator[Finding]:
    from sheaf.config import DEFAULT_PORT

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            yield Finding(
                "port",
                Verdict.WARNING,
                f"port {DEFAULT_PORT} is taken",
                "Start with `sheaf up --port 0` or another port.",
            )


def _database(session: Session) -> Iterator[Finding]:
    try:
        session.client.get("/spaces")
    except CommandFailed:
        yield from _database_at_rest(session.data_dir)
    else:
        yield Finding("database", Verdict.OK, "in use by the daemon; stop it for a full check")


def _database_at_rest(data_dir: Path) -> Iterator[Finding]:
    from sheaf.core.base.errors import StorageFailure
    from sheaf.keystore.choice import has_keys
    from sheaf.storage.lost import lost_database, what_to_do
    from sheaf.storage.read_only import check_read_only

    try:
        happened = lost_database(data_dir, has_keys=has_keys(data_dir))
    except StorageFailure as failure:
        yield Finding("database", Verdict.FAILURE, str(failure), "Put it back from a backup.")
        return
    if happened is not None:
        yield Finding("database", Verdict.FAILURE, happened, what_to_do(data_dir))
    elif (data_dir / _DATABASE).exists():
        yield from _keys(data_dir, is_here=has_keys(data_dir))
        problems = check_read_only(data_dir)
        if problems:
            detail = f"{plural(len(problems), 'problem')}: {problems[0]}"
            yield Finding(
                "database", Verdict.FAILURE, detail, "Restore a backup, or join again from another device."
            )
        else:
            yield Finding("database", Verdict.OK, "the file is sound")


def _keys(data_dir: Path, *, is_here: bool) -> Iterator[Finding]:
    """The keys that belong to a database; what is in a keyring is not asked for."""
    advice = "Put the `keys` folder back from a backup."
    if not is_here:
        yield Finding("keys", Verdict.FAILURE, f"{data_dir} has a database and no keys", advice)
    for file in sorted(data_dir.glob("keys/*")):
        if file.stat().st_size == 0:
            yield Finding("keys", Verdict.FAILURE, f"{file} is empty", advice)


def _network(_session: Session) -> Iterator[Finding]:
    from sheaf.discovery.network import InterfacePolicy, link_addresses, usable_addresses

    policy = InterfacePolicy()
    addresses = usable_addresses(policy) or link_addresses(policy)
    if not addresses:
        yield Finding(
            "network",
            Verdict.WARNING,
            "no interface is up",
            "Connect to a network; until then only this machine is reached.",
        )
        return
    yield Finding("network", Verdict.OK, ", ".join(addresses))
    flags = Path("/sys/class/net")
    if flags.is_dir() and not any(_has_multicast(interface) for interface in flags.iterdir()):
        yield Finding(
            "multicast",
            Verdict.WARNING,
            "no interface allows multicast",
            "Name the others: sheaf up --peer HOST:PORT.",
        )


def _has_multicast(interface: Path) -> bool:
    try:
        flags = int((interface / "flags").read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return False
    return interface.name != "lo" and bool(flags & 1) and bool(flags & _MULTICAST_FLAG)


def _editor(_session: Session) -> Iterator[Finding]:
    from sheaf.config import Settings

    bundle = Settings().bundle_dir
    if (bundle / "index.html").is_file():
        yield Finding("editor", Verdict.OK, "the web editor is built")
    else:
        advice = "Run `make run` in the source tree, or install the wheel."
        yield Finding("editor", Verdict.WARNING, f"there is no web editor in {bundle}", advice)
