"""Real daemons as child processes, and a small client of their local door.

A `Daemon` is started with `sheaf up` in a data directory of its own, on a free port; tests
talk to it as scripts do: over HTTP with the token it wrote, and over `/sync` WebSockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

START_DEADLINE_S = 30.0


class Daemon:
    """One running (or stopped) daemon. `prefix` runs it elsewhere, e.g. `ip netns exec a`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.data_dir = data_dir
        self.arguments = tuple(arguments)
        self.prefix = tuple(prefix)
        self.environment = environment or {}
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = data_dir.parent / f"{data_dir.name}.log"

    # ------------------------------------------------------------------ process

    def start(self) -> Daemon:
        """Start and wait until the door answers."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self) -> None:
        """Start without waiting."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
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
            *self.arguments,
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | self.environment
            )

    def wait_ready(self) -> None:
        """Wait until `daemon.json` names the port and `/healthz` answers through the client."""
        deadline = time.monotonic() + START_DEADLINE_S
        info_path = self.data_dir / "daemon.json"
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.port = int(json.loads(info_path.read_text())["port"])
                return
            time.sleep(0.01)
        raise AssertionError(f"the daemon did not become ready:\n{self.log()}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM and wait; returns the exit code."""
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

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client of this daemon's API (not across namespaces)."""
        return httpx.Client(base_url=self.url + "/api/v1", headers=self.headers, timeout=30, **options)

    def get(self, path: str) -> Any:
        with self.client() as client:
            response = client.get(path)
            assert response.status_code == 200, response.text
            return response.json()

    def post(self, path: str, body: dict[str, Any], status: int = 201) -> Any:
        with self.client() as client:
            response = client.post(path, json=body)
            assert response.status_code == status, response.text
            return response.json() if response.content else None

    def cli(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a `sheaf` command against this daemon; returns its standard output."""
        result = subprocess.run(
            [*self.prefix, sys.executable, "-m", "sheaf.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"SHEAF_DATA_DIR": str(self.data_dir)},
        )
        if check:
            assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}\n{self.log()}"
        return result.stdout

    def cli_json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self.cli(*arguments, "--json", stdin=stdin))


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
    raise AssertionError(f"{what} did not come true within {timeout_s} s")


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
