"""Real daemons as child processes, and a small client of their local door.

A `Daemon` is started with `sheaf up` in a data directory of its own, on a free port (which it
keeps when it is started again, as an installed one does); tests talk to it as scripts do: over
HTTP with the token it wrote, and over `/sync` WebSockets. It may live in a network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pycrdt

from tests.support.tab import Tab, open_tab

START_DEADLINE_S = 30.0


class Daemon:
    """One running (or stopped) daemon.

    `prefix` runs it elsewhere, e.g. `ip netns exec a`; sockets to it are made inside `enter()`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        port: int = 0,
        enter: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.data_dir = data_dir
        self.arguments = tuple(arguments)
        self.prefix = tuple(prefix)
        self.environment = environment or {}
        self.port = port
        self.enter = enter
        self.process: subprocess.Popen[bytes] | None = None
        self.started_after_s = 0.0
        """From the last spawn to the first answer of its API."""
        self._spawned_at = 0.0
        self._client: httpx.Client | None = None
        self.log_path = data_dir.parent / f"{data_dir.name}.log"

    # ------------------------------------------------------------------ process

    def start(self) -> Daemon:
        """Start and wait until the door answers."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self, additions: dict[str, str] | None = None, *, tidies_up: bool = True) -> None:
        """Start without waiting.

        Args:
            additions: to the environment, for this start.
            tidies_up: remove `daemon.json`, so that `wait_ready` cannot take an old one for the new.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if tidies_up:
            (self.data_dir / "daemon.json").unlink(missing_ok=True)
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "sheaf.cli.main",
            "up",
            "--data-dir",
            str(self.data_dir),
            "--port",
            str(self.port),
            "--no-open",
            "--log-format",
            "json",
            "--log-level",
            "debug",
            *self.arguments,
        ]
        self._forget_client()
        self._spawned_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=_environment(self.environment | (additions or {})),
            )

    def wait_ready(self) -> None:
        """Wait until `daemon.json` names the port and the API answers there."""
        code = self.ready_or_ended()
        if code is not None:
            raise AssertionError(f"the daemon ended with {code}:\n{self.log()}")

    def ready_or_ended(self) -> int | None:
        """Wait until it serves (None) or has ended (its exit code)."""
        assert self.process is not None
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return self.process.returncode
            if self._announced() == self.process.pid:
                self.get("/spaces")
                self.started_after_s = time.monotonic() - self._spawned_at
                return None
            time.sleep(0.005)
        raise AssertionError(f"the daemon did not become ready:\n{self.log()}")

    def _announced(self) -> int | None:
        """Whose `daemon.json` is there; takes the port from it."""
        try:
            info = json.loads((self.data_dir / "daemon.json").read_text())
            self.port = int(info["port"])
            return int(info["pid"])
        except (OSError, ValueError, KeyError):
            return None

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._forget_client()

    def pause(self) -> None:
        """SIGSTOP: still there, but silent."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM and wait; returns the exit code."""
        self._forget_client()
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the daemon did not stop in {timeout_s} s:\n{self.log()}") from None
        return self.process.returncode

    def log(self) -> str:
        """What it printed."""
        return self.log_path.read_text(errors="replace")[-8000:] if self.log_path.exists() else ""

    # ------------------------------------------------------------------ talking to it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.data_dir / "api-token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def client(self) -> httpx.Client:
        """An HTTP client of this daemon's API. It is kept until the daemon ends: do not close it."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=self.url + "/api/v1", headers=self.headers, timeout=30, trust_env=False, verify=False
            )
        return self._client

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request to the API, from wherever the daemon lives."""
        with self.enter():
            return self.client().request(method, path, **options)

    def get(self, path: str) -> Any:
        response = self.request("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: dict[str, Any], status: int = 201) -> Any:
        response = self.request("POST", path, json=body)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def socket(self) -> socket.socket:
        """A TCP connection to the local door."""
        with self.enter():
            return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    @contextlib.asynccontextmanager
    async def tab(
        self, document_id: str, *, doc: pycrdt.Doc[pycrdt.Text] | None = None
    ) -> AsyncIterator[Tab]:
        """Open a document as an editor tab does."""
        connection = self.socket()
        connection.setblocking(False)
        async with open_tab(self.url, self.token, document_id, doc=doc, sock=connection) as tab:
            yield tab

    def run_cli(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a `sheaf` command against this daemon, however it ends."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "sheaf.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=_environment({"SHEAF_DATA_DIR": str(self.data_dir)}),
        )

    def cli(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a `sheaf` command against this daemon; returns its standard output."""
        result = self.run_cli(*arguments, stdin=stdin)
        if check:
            assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}\n{self.log()}"
        return result.stdout

    def cli_json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self.cli(*arguments, "--json", stdin=stdin))


def _environment(additions: dict[str, str]) -> dict[str, str]:
    """Ours, with `additions`.

    Compiled modules are kept, as they are where Sheaf is installed; nobody's keyring is touched.
    """
    ours = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return ours | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"} | additions


def wait_until(
    condition: Callable[[], bool], *, timeout_s: float = 15.0, what: str = "the condition"
) -> None:
    """Poll a condition of another process until it holds.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"within {timeout_s} s it did not come true: {what}")


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], *, timeout_s: float = 15.0, what: str = "the condition"
) -> None:
    """`wait_until` for coroutines."""
    async with asyncio.timeout(timeout_s):
        while True:
            outcome = condition()
            if not isinstance(outcome, bool):
                outcome = await outcome
            if outcome:
                return
            await asyncio.sleep(0.02)
