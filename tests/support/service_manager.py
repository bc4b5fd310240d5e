"""A small service manager: runs a daemon by the rules of systemd/sheaf.service.

It applies what systemd.service(5) says of Type=notify, TimeoutStartSec with EXTEND_TIMEOUT_USEC,
WatchdogSec, Restart=on-failure, RestartSec, RestartPreventExitStatus and the start limit. The rules are
read from the unit, so a test fails when they change for the worse. Real time, one thread.
"""

from __future__ import annotations

import configparser
import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import ROOT

_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Rules:
    """What the unit says, in seconds."""

    watchdog_s: float
    start_s: float
    restart_s: float
    not_restarted: frozenset[int]
    limit_interval_s: float
    limit_burst: int

    @classmethod
    def of_the_unit(cls) -> Rules:
        """Read systemd/sheaf.service."""
        unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
        unit.read_string((ROOT / "systemd" / "sheaf.service").read_text())
        service, start = unit["Service"], unit["Unit"]
        assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
        return cls(
            watchdog_s=float(service["WatchdogSec"]),
            start_s=float(service["TimeoutStartSec"]),
            restart_s=float(service["RestartSec"]),
            not_restarted=frozenset(int(code) for code in service["RestartPreventExitStatus"].split()),
            limit_interval_s=float(start.get("StartLimitIntervalSec", "10")),
            limit_burst=int(start.get("StartLimitBurst", "5")),
        )


class ServiceManager:
    """Keeps one service running; `stop` ends it. What happened is in `ends` and `state`.

    Args:
        spawn: starts the process, given what systemd would add to its environment.
    """

    def __init__(
        self, socket_path: Path, spawn: Callable[[dict[str, str]], subprocess.Popen[bytes]], rules: Rules
    ) -> None:
        self.state = "inactive"
        self.status = ""
        """The last STATUS= line."""
        self.ends: list[str] = []
        """Why each process that ended did so: an exit code, or `watchdog` or `timeout`."""
        self.pings = 0
        self._spawn = spawn
        self._rules = rules
        self._path = socket_path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(socket_path))
        self._socket.settimeout(_TICK_S)
        self._is_stopping = threading.Event()
        self._starts: list[float] = []
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="service manager", daemon=True)

    def start(self) -> ServiceManager:
        """`systemctl start`, without waiting."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """`systemctl stop`."""
        self._is_stopping.set()
        self._thread.join(30)
        self._socket.close()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            if self._is_over_the_limit():
                self.state = "failed"
                return
            end = self._serve_once()
            if self._is_stopping.is_set() or end == "0":
                break
            self.ends.append(end)
            if end.isdigit() and int(end) in self._rules.not_restarted:
                self.state = "failed"
                return
            self.state = "auto-restart"
            self._is_stopping.wait(self._rules.restart_s)
        self.state = "inactive"

    def _is_over_the_limit(self) -> bool:
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at < self._rules.limit_interval_s]
        if self._rules.limit_interval_s and len(self._starts) >= self._rules.limit_burst:
            return True
        self._starts.append(now)
        return False

    def _serve_once(self) -> str:
        """One process from its start to its end; why it ended."""
        self.state = "activating"
        process = self._spawn(
            {
                "NOTIFY_SOCKET": str(self._path),
                "WATCHDOG_USEC": str(round(self._rules.watchdog_s * 1_000_000)),
            }
        )
        self._deadline = time.monotonic() + self._rules.start_s
        while process.poll() is None:
            if self._is_stopping.is_set():
                process.terminate()
                process.wait(20)
                return "0"
            for line in self._heard():
                self._told(line)
            if time.monotonic() > self._deadline:
                end = "timeout" if self.state == "activating" else "watchdog"
                process.send_signal(signal.SIGABRT)
                process.wait(20)
                return end
        return str(process.returncode)

    def _heard(self) -> Iterator[str]:
        with contextlib.suppress(TimeoutError):
            yield from self._socket.recv(4096).decode().splitlines()

    def _told(self, line: str) -> None:
        name, _, value = line.partition("=")
        if name == "STATUS":
            self.status = value
        elif name == "READY":
            self.state = "active"
            self._deadline = time.monotonic() + self._rules.watchdog_s
        elif name == "WATCHDOG":
            self.pings += 1
            self._deadline = time.monotonic() + self._rules.watchdog_s
        elif name == "EXTEND_TIMEOUT_USEC" and self.state == "activating":
            self._deadline = max(self._deadline, time.monotonic() + int(value) / 1_000_000)
