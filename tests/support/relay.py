"""A real relay as a child process, and a client that speaks frames by hand.

A `RelayProcess` is `sheaf relay` with a store in a directory of its own, on a free port that it keeps
when it is started again. It may live in a network namespace, as a `Daemon` may.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect

from sheaf.clock import SystemClock, system_entropy
from sheaf.core.wire.relay_frames import Frame, Welcome, decode_frame, encode_frame
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX
from sheaf.relay.run import Relay, RelayReady, RelaySettings
from tests.support.daemon import START_DEADLINE_S, _environment

FrameT = TypeVar("FrameT", bound=Frame)
ANSWER_S = 10.0
HANDSHAKE = (
    b"GET /sheaf HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""What a client says first, for those who speak to a bare socket."""


class RelayProcess:
    """One running (or stopped) relay.

    Args:
        directory: for its store (`relay.sqlite3`) and its log.
        arguments: more options of `sheaf relay`.
        prefix: runs it elsewhere, e.g. `("ip", "netns", "exec", "a")`; `enter()` gets us there.
        host: the address it listens on.
        store: what to give to `--store` instead of a file in `directory`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        enter: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
        host: str = "127.0.0.1",
        port: int = 0,
        store: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.arguments = tuple(arguments)
        self.prefix = tuple(prefix)
        self.enter = enter
        self.host = host
        self.port = port
        self.stun_port = 0
        self.store = store
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        """How it says it is reached."""
        self.log_path = directory / "relay.log"

    @property
    def database(self) -> Path:
        """The file of its SQLite store."""
        return self.directory / "relay.sqlite3"

    # ------------------------------------------------------------------ process

    def start(self) -> RelayProcess:
        """Start and wait until it serves."""
        self.spawn()
        code = self.ready_or_ended()
        assert code is None, f"the relay ended with {code}:\n{self.log()}"
        return self

    def spawn(self) -> None:
        """Start without waiting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=_environment(self.environment),
            )

    def command(self) -> list[str]:
        """What is run."""
        store = self.store or f"sqlite:{self.database}"
        listen = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        command = [*self.prefix, sys.executable, "-m", "sheaf.cli.main", "relay", "--listen", listen]
        return [*command, "--store", store, "--log-format", "json", *self.arguments]

    def ready_or_ended(self) -> int | None:
        """Wait until it serves (None) or has ended (its exit code)."""
        assert self.process is not None
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            if self._is_ready():
                return None
            if self.process.poll() is not None:
                return self.process.returncode
            time.sleep(0.01)
        raise AssertionError(f"the relay did not become ready:\n{self.log()}")

    def _is_ready(self) -> bool:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            for line in log:
                if line.startswith(b'{"event": "ready"') and line.endswith(b"\n"):
                    facts = json.loads(line)
                    self.url, self.port, self.stun_port = facts["url"], facts["port"], facts["stun_port"]
                    return True
        return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

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
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the relay did not stop in {timeout_s} s:\n{self.log()}") from None
        return self.process.returncode

    def log(self) -> str:
        """What it printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # ------------------------------------------------------------------ asking it

    @property
    def address(self) -> str:
        """host:port of its WebSocket."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def http(self, path: str) -> tuple[int, str]:
        """(status, body) of a GET."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self.enter():
            try:
                with opener.open(f"http://{self.address}{path}", timeout=ANSWER_S) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """A scrape: `name` or `name{label="x"}` -> value."""
        status, text = self.http("/metrics")
        assert status == 200, text
        found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def socket(self) -> socket.socket:
        """A TCP connection to it."""
        with self.enter():
            return socket.create_connection((self.host, self.port), timeout=ANSWER_S)


class FrameClient:
    """A connection to a relay, frame by frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, *frames: Frame) -> None:
        """Send frames."""
        for frame in frames:
            await self.connection.send(encode_frame(frame))

    async def receive(self) -> Frame:
        """The next frame. Raises ConnectionClosed, TimeoutError."""
        return decode_frame(await self.receive_raw(), bytes_max=RELAY_FRAME_BYTES_MAX)

    async def receive_raw(self) -> bytes:
        """The next binary message."""
        async with asyncio.timeout(ANSWER_S):
            data = await self.connection.recv()
        assert isinstance(data, bytes)
        return data

    async def expect(self, kind: type[FrameT]) -> FrameT:
        """The next frame, which is one of `kind`."""
        frame = await self.receive()
        assert isinstance(frame, kind), f"{frame} instead of {kind.__name__}"
        return frame

    async def ask(self, frame: Frame, kind: type[FrameT]) -> FrameT:
        """Send a frame and return its answer."""
        await self.send(frame)
        return await self.expect(kind)

    async def ended(self) -> None:
        """Wait until the relay has closed the connection."""
        async with asyncio.timeout(ANSWER_S):
            await self.connection.wait_closed()


@contextlib.asynccontextmanager
async def running_relay(settings: RelaySettings) -> AsyncIterator[tuple[Relay, RelayReady]]:
    """A relay in this process, for tests that need other limits than a real one lets them choose."""
    relay = Relay(settings, clock=SystemClock(), entropy=system_entropy)
    ready = await relay.start()
    try:
        yield relay, ready
    finally:
        await relay.close()


@contextlib.asynccontextmanager
async def frame_client(url: str, *, sock: socket.socket | None = None) -> AsyncIterator[FrameClient]:
    """Connect to the relay at `url` (ws://…) and take its WELCOME."""
    async with connect(
        f"{url}/sheaf",
        compression=None,
        ping_interval=None,
        max_size=RELAY_FRAME_BYTES_MAX,
        proxy=None,
        close_timeout=1,
        sock=sock,
        server_hostname=None,
    ) as connection:
        client = FrameClient(connection)
        await client.expect(Welcome)
        yield client
