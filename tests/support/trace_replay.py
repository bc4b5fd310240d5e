"""Runs the agents of an editing trace (tests/e2e/js/agent.mjs) and checks what came of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sheaf.core.crdt.replica import Replica
from tests.support.daemon import Daemon
from tests.support.editing_trace import Recorded, characters
from tests.support.node import node_executable, prepared
from tests.support.repository import ROOT
from tests.support.world import digest, text, until_equal

EVENT_S_MAX = 240.0
LINE_BYTES_MAX = 64 << 20
SCRIPTS = ROOT / "tests" / "e2e" / "js"
Event = dict[str, Any]


class Agent:
    """One agent's process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.name = name
        self._process = process
        self._log_path = log_path
        self._done: Event | None = None

    async def until(self, *events: str) -> Event:
        """The next event of one of these kinds; `done` stays true and may be asked for again.

        Fails when the process ends or says nothing for too long.
        """
        assert self._process.stdout is not None
        if self._done is not None and "done" in events:
            return self._done
        async with asyncio.timeout(EVENT_S_MAX):
            while line := await self._process.stdout.readline():
                event: Event = json.loads(line)
                if event["event"] == "done":
                    self._done = event
                if event["event"] in events:
                    return event
        raise AssertionError(f"{self.name} ended before {events}:\n{self._log_path.read_text()[-4000:]}")

    async def go(self) -> None:
        """Let it go on after `ready` or `milestone`."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()

    async def end(self) -> None:
        """It leaves when its input ends; one that does not is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def replaying(
    directory: Path,
    recorded: Recorded,
    daemons: Sequence[Daemon],
    document_id: str,
    *,
    milestone: int | None = None,
) -> AsyncIterator[list[Agent]]:
    """One process per agent, each at its own daemon, connected and ready to go."""
    prepared(SCRIPTS)
    path = directory / "trace.json"
    path.write_text(json.dumps(recorded.trace))
    async with AsyncExitStack() as stack:
        agents = []
        for number, daemon in enumerate(daemons):
            options = {
                "trace": str(path),
                "agent": number,
                "url": daemon.url.replace("http://", "ws://") + "/sync",
                "token": daemon.token,
                "document_id": document_id,
                "milestone": milestone,
            }
            log_path = directory / f"agent{number}.log"
            agent = await _start(f"agent {number}", options, log_path, daemon)
            stack.push_async_callback(agent.end)
            agents.append(agent)
        for agent in agents:
            await agent.until("ready")
        yield agents


async def _start(name: str, options: dict[str, Any], log_path: Path, daemon: Daemon) -> Agent:
    command = [*daemon.prefix, str(node_executable()), str(SCRIPTS / "agent.mjs"), json.dumps(options)]
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LINE_BYTES_MAX,
            env=dict(os.environ),
        )
    return Agent(name, process, log_path)


def check_result(
    recorded: Recorded, daemons: Sequence[Daemon], document_id: str, results: Sequence[Event]
) -> None:
    """All daemons and tabs hold the same bytes, and those are what the trace comes to."""
    until_equal(*daemons, document_id=document_id)
    expected = _digest(results[0]["expected_state"])
    assert {digest(daemon, document_id) for daemon in daemons} == {expected}
    assert {_digest(result["state"]) for result in results} == {expected}
    texts = {text(daemon, document_id) for daemon in daemons} | {result["text"] for result in results}
    assert texts == {results[0]["expected"]}
    assert sum(result["typed"] for result in results) == len(recorded.txns)
    (final,) = texts
    _check_against_trace(recorded, final)
    print(
        f"{recorded.name}: {len(recorded.txns)} transactions through {len(daemons)} daemons in "
        f"{max(result['seconds'] for result in results):.1f} s, {len(final)} characters, all equal"
    )


def _digest(state: str) -> bytes:
    return Replica.load([base64.b64decode(state)], entropy=os.urandom).digest()


def _check_against_trace(recorded: Recorded, final: str) -> None:
    """Without any CRDT: nothing doubled, nothing lost, and where only one wrote, the very words."""
    typed = characters(recorded.trace)
    deleted = sum(patch[1] for txn in recorded.txns for patch in txn["patches"])
    assert not Counter(final) - typed, "more of a character than was ever typed"
    # two may have deleted the same character, so it is a lower bound
    assert len(final) >= typed.total() - deleted
    end: str | None = recorded.trace["endContent"]
    if end is not None:
        assert len(final) == len(end)
        assert Counter(final) == Counter(end)
        lines = [line for line in end.splitlines() if line]
        same = sum(line in final for line in lines)
        assert same >= 0.9 * len(lines), f"only {same} of {len(lines)} lines"
