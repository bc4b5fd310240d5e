"""A real nats-server with JetStream in a folder of its own, to be killed and wiped.

It takes a free port at its first start and keeps it. Where no nats-server is installed, tests that
need one are skipped with the reason; `.ci/run` installs it and allows no skips.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.daemon import wait_until

NATS_SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin")
START_DEADLINE_S = 20.0

needs_nats = pytest.mark.skipif(
    NATS_SERVER is None, reason="no nats-server here (Debian: apt-get install nats-server)"
)


class NatsServer:
    """One nats-server on loopback, of a network namespace if `prefix` leads into one.

    `arguments` are more options of nats-server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        has_jetstream: bool = True,
        prefix: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._arguments = tuple(arguments)
        self._prefix = tuple(prefix)
        self._has_jetstream = has_jetstream
        self._store = folder / "jetstream"
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens (or listened, while it is down)."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process. It must run."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> NatsServer:
        """Start it, on the port it had before, and wait until it takes connections."""
        assert NATS_SERVER is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        command = [*self._prefix, NATS_SERVER, "-a", "127.0.0.1", "-p", str(self._port)]
        command += ["-js", "-sd", str(self._store)] if self._has_jetstream else []
        command += self._arguments
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--ports_file_dir", str(self._folder)], stdin=subprocess.DEVNULL, stderr=log
            )
        wait_until(self._is_listening, timeout_s=START_DEADLINE_S, what="nats-server takes connections")
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose everything it stored. It must not run."""
        shutil.rmtree(self._store)

    def keep(self, name: str) -> None:
        """Copy what it stored aside, under a name, to `bring_back` later. It must not run."""
        shutil.copytree(self._store, self._folder / name)

    def bring_back(self, name: str) -> None:
        """Put an earlier copy into place, as a restored backup does. It must not run."""
        self.wipe()
        shutil.copytree(self._folder / name, self._store)

    def _is_listening(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"nats-server ended:\n{(self._folder / 'nats.log').read_text()[-3000:]}")
        for found in self._folder.glob("*.ports"):
            with contextlib.suppress(ValueError, LookupError):
                self._port = int(json.loads(found.read_text())["nats"][0].rpartition(":")[2])
                return True
        return False


@contextlib.contextmanager
def nats_server(
    folder: Path,
    *,
    arguments: Sequence[str] = (),
    has_jetstream: bool = True,
    prefix: Sequence[str] = (),
) -> Iterator[NatsServer]:
    """Run a nats-server for as long as the block lasts."""
    server = NatsServer(folder, arguments=arguments, has_jetstream=has_jetstream, prefix=prefix).start()
    try:
        yield server
    finally:
        server.kill()
