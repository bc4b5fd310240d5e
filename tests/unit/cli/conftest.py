"""The command line against a served door with the in-memory node behind it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sheaf.cli.errors import CommandFailed
from sheaf.cli.main import app
from sheaf.data_dir import DaemonFile, write_daemon_file
from tests.support.fake_node import FakeNode
from tests.support.local_door import RunningDoor, running_door


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Outcome]]


def run_command(data_dir: Path, *arguments: str, stdin: str | bytes | None = None) -> Outcome:
    """One `sheaf` command in this process, as `main` would run it."""
    result = CliRunner().invoke(app, ["--data-dir", str(data_dir), *arguments], input=stdin)
    if isinstance(result.exception, CommandFailed):
        return Outcome(result.exception.exit_code, result.stdout, f"{result.stderr}{result.exception}")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def door(node: FakeNode, tmp_path: Path) -> AsyncIterator[RunningDoor]:
    async with running_door(node, tmp_path) as running:
        write_daemon_file(tmp_path, DaemonFile(port=running.port, pid=os.getpid(), version="0.1.0"))
        yield running


@pytest.fixture
def sheaf(door: RunningDoor, tmp_path: Path) -> Run:
    async def run(*arguments: str, stdin: str | bytes | None = None) -> Outcome:
        return await asyncio.to_thread(run_command, tmp_path, *arguments, stdin=stdin)

    return run
