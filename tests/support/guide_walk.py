"""Two machines on which the guide is walked: a home each, the installed wheel, real daemons on loopback.

A command of the guide runs in `sh`, as a person would type it, in a checkout. What differs from a
person's machine is in three places: `Walk.places` (addresses and folders that a machine has once),
tests/e2e/test_guide.py (what stands for a ticket or a name), and pretend_programs.py (systemd, pipx, ssh).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from sheaf.data_dir import read_daemon_file
from tests.support import pretend_programs
from tests.support.daemon import START_DEADLINE_S, wait_until
from tests.support.repository import ROOT, committed_files
from tests.support.world import free_ports

COMMAND_S_MAX = 60


def copy_checkout(folder: Path) -> Path:
    """Copy what is committed into `folder`, with the editor that is built already; return `folder`."""
    for path in committed_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    bundle = "daemon/sheaf/webui_dist"
    shutil.copytree(ROOT / bundle, folder / bundle)
    return folder


def install_wheel(checkout: Path, environment: Path) -> Path:
    """Build the checkout's wheel, leave it in `dist`, install it; return the command `sheaf`.

    What it depends on comes from the environment of the tests, since nothing is fetched here.
    """
    uv = [sys.executable, "-m", "uv", "--quiet", "--offline", "--no-config"]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(checkout / "dist")]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True, timeout=COMMAND_S_MAX)
    (wheel,) = (checkout / "dist").glob("*.whl")
    subprocess.run(
        [*uv, "venv", "--python", sys.executable, str(environment)], check=True, timeout=COMMAND_S_MAX
    )
    python = environment / "bin/python"
    install = [*uv, "pip", "install", "--python", str(python), "--no-deps", "--compile-bytecode", str(wheel)]
    subprocess.run(install, check=True, timeout=COMMAND_S_MAX)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin/sheaf"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}{self.err}"


class Machine:
    """A person's machine: a home, a shell that keeps its variables, at most one `sheaf up` in a terminal."""

    def __init__(self, name: str, folder: Path, walk: Walk) -> None:
        self.name = name
        self.home = folder / name
        self.walk = walk
        self.port, self.lan_port = free_ports(2)
        self.other: Machine = self
        self.terminal: subprocess.Popen[bytes] | None = None
        self.background: list[subprocess.Popen[bytes]] = []
        self._pretend = folder / f"{name}-pretend"
        self._pretend.mkdir(parents=True)
        self.home.mkdir()

    @property
    def data_dir(self) -> Path:
        """Where Sheaf keeps its data without being told."""
        return self.home / ".local/share/sheaf"

    @property
    def is_serving(self) -> bool:
        """Whether a daemon runs on the data of this machine."""
        announced = read_daemon_file(self.data_dir)
        return announced is not None and Path(f"/proc/{announced.pid}").exists()

    @property
    def environment(self) -> dict[str, str]:
        """What a shell on this machine has. Nothing of the surroundings of the tests gets in."""
        path = [
            self.walk.programs,
            self.home / ".local/bin",
            "/usr/local/bin",
            "/usr/bin",
            "/bin",
            "/usr/sbin",
        ]
        return {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(map(str, path)),
            "LANG": "C.UTF-8",
            "DISPLAY": ":7411",
            "BROWSER": f"{self.walk.programs}/browser %s",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            # Both machines share one loopback, so ports differ, and each is told of the other.
            "SHEAF_PORT": str(self.port),
            "SHEAF_LAN": f"127.0.0.1:{self.lan_port}",
            "SHEAF_PEERS": f"127.0.0.1:{self.other.lan_port}",
            "SHEAF_MDNS": "false",
            "SHEAF_USER_NAME": self.name,
            "SHEAF_DEVICE_NAME": f"{self.name}'s laptop",
            "PRETEND": str(self._pretend),
            "PRETEND_PROGRAM": str(self.walk.program),
            "PRETEND_UNITS": str(self.walk.folder / "units"),
            "PRETEND_MOVED": json.dumps(self.walk.places),
        }

    def run(self, text: str, *, stdin: str = "") -> Outcome:
        """Type a command and wait until it has ended. Variables stay for the next one."""
        memory = self._pretend / "variables"
        script = (
            f'set -a; [ -e "{memory}" ] && . "{memory}"; {text}\n_code=$?; export -p >"{memory}"; exit $_code'
        )
        other = {
            key: self.other.environment[key]
            for key in self.other.environment
            if key.startswith(("SHEAF", "HOME"))
        }
        done = subprocess.run(
            ["sh", "-c", script],
            input=stdin,
            cwd=self.walk.checkout,
            env=self.environment | {"PRETEND_OTHER": json.dumps(other)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=COMMAND_S_MAX,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def spawn(self, text: str, log: str) -> subprocess.Popen[bytes]:
        """Type a command that stays; what it says goes to the file `log`."""
        memory = self._pretend / "variables"
        with (self._pretend / log).open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", f'set -a; [ -e "{memory}" ] && . "{memory}"; exec {text}'],
                cwd=self.walk.checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.background.append(process)
        return process

    def said(self, log: str) -> str:
        """What a command that stays has said so far."""
        return (self._pretend / log).read_text()

    def told(self) -> list[list[str]]:
        """What the pretended programs were told, in order."""
        path = self._pretend / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def lose_database(self) -> None:
        """What has to happen before `sheaf up --new-database` does anything."""
        self.stop()
        for file in self.data_dir.glob("sheaf.db*"):
            file.unlink()

    def up(self, text: str = "sheaf up") -> str:
        """`sheaf up` in a terminal, and Ctrl-C for the one that ran there; returns what it said."""
        self.stop()
        self.terminal = self.spawn(text, "up.log")
        wait_until(self._is_up, timeout_s=START_DEADLINE_S, what=f"{text} serves")
        if self.terminal.poll() is not None:
            code, self.terminal = self.terminal.returncode, None
            raise AssertionError(f"{text} ended with {code}:\n{self.said('up.log')}")
        return self.said("up.log")

    def _is_up(self) -> bool:
        assert self.terminal is not None
        announced = read_daemon_file(self.data_dir)
        is_ours = announced is not None and announced.pid == self.terminal.pid
        return self.terminal.poll() is not None or (is_ours and "Ctrl-C stops" in self.said("up.log"))

    def stop(self) -> None:
        """Ctrl-C in the terminal, and the service stopped."""
        if (self.home / ".config/systemd/user/sheaf.service").exists():
            self.run("systemctl --user stop sheaf")
        if self.terminal is not None:
            self.terminal.send_signal(signal.SIGINT)
            assert self.terminal.wait(START_DEADLINE_S) in (0, 130), self.said("up.log")
            self.terminal = None

    def close(self) -> None:
        """End whatever still runs here."""
        for process in self.background:
            if process.poll() is None:
                process.kill()
                process.wait()
        for path in self._pretend.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)


class Walk:
    """Two machines, `ann` and `ben`, a checkout and an installation that both use."""

    def __init__(self, folder: Path, *, checkout: Path, program: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.checkout, self.program = folder, checkout, program
        self.programs = folder / "programs"
        pretend_programs.install(self.programs)
        (folder / "units").mkdir()
        self.relay_port, self.nats_port = free_ports(2)
        self.ann, self.ben = Machine("ann", folder, self), Machine("ben", folder, self)
        self.ann.other, self.ben.other = self.ben, self.ann

    def install(self) -> None:
        """Install Sheaf on both, as `pipx install .` does: for pages that begin with Sheaf being there."""
        for machine in (self.ann, self.ben):
            command = machine.home / ".local/bin/sheaf"
            command.parent.mkdir(parents=True)
            command.symlink_to(self.program)

    @property
    def places(self) -> dict[str, str]:
        """Where things are here that every machine of its own has in the same place."""
        return {
            "0.0.0.0:7412": f"127.0.0.1:{self.relay_port}",
            "127.0.0.1:7412": f"127.0.0.1:{self.relay_port}",
            "127.0.0.1:4222": f"127.0.0.1:{self.nats_port}",
            "/opt/sheaf": str(self.folder / "opt-sheaf"),
            "/etc/systemd/system/": f"{self.folder}/units/",
            "/var/lib/sheaf-relay": str(self.folder / "ann-pretend/state/sheaf-relay"),
            "/var/lib/nats": str(self.folder / "nats"),
        }

    def here(self, text: str) -> str:
        """`text`, with the places of this machine."""
        for old, new in self.places.items():
            text = text.replace(old, new)
        return text

    def close(self) -> None:
        """End whatever still runs on the machines."""
        for machine in (self.ann, self.ben):
            machine.close()
