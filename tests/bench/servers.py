"""The other servers, as child processes under the bundled Node.js."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.node import node_executable, prepared
from tests.support.repository import ROOT
from tests.support.world import free_ports

FOLDER = ROOT / "tests/bench"
START_S_MAX = 20.0


@dataclass(frozen=True, slots=True)
class NodeServer:
    """A running server on 127.0.0.1."""

    port: int
    pid: int


@contextmanager
def y_websocket(scratch: Path) -> Iterator[NodeServer]:
    """The server that y-websocket 2.1.0 ships: documents in memory, nothing on disk."""
    (port,) = free_ports(1)
    script = FOLDER / "node_modules/y-websocket/bin/server.cjs"
    with _running([str(script)], scratch, {"HOST": "127.0.0.1", "PORT": str(port)}, "running at") as pid:
        yield NodeServer(port, pid)


@contextmanager
def hocuspocus(scratch: Path, *, debounce_ms: int | None = None) -> Iterator[NodeServer]:
    """Hocuspocus with its SQLite extension; `debounce_ms` None leaves its defaults."""
    (port,) = free_ports(1)
    database = scratch / f"hocuspocus-{debounce_ms}.sqlite"
    arguments = [str(FOLDER / "peers/hocuspocus.mjs"), str(port), str(database)]
    if debounce_ms is not None:
        arguments.append(str(debounce_ms))
    with _running(arguments, scratch, {}, "ready") as pid:
        yield NodeServer(port, pid)


@contextmanager
def _running(
    arguments: Sequence[str], scratch: Path, environment: dict[str, str], sign: str
) -> Iterator[int]:
    prepared(FOLDER)
    log_path = scratch / f"{Path(arguments[0]).stem}-{time.monotonic_ns()}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(node_executable()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | environment,
        )
    try:
        deadline = time.monotonic() + START_S_MAX
        while sign not in log_path.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{arguments[0]} did not start:\n{log_path.read_text()}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.kill()
        process.wait()
