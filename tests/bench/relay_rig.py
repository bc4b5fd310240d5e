"""Processes of the relay's measurements: servers that are measured, and loads that say when to look."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.bench import Bench
from tests.bench.processes import cpu_s
from tests.bench.report import Spread
from tests.support.relay import RelayProcess
from tests.support.repository import ROOT

LINE_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """Something on loopback that is measured from outside."""

    pid: int
    port: int
    helpers: tuple[int, ...] = ()
    """Processes that work for it, and are measured with it."""

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        return cpu_s(self.pid)

    @property
    def helpers_cpu_s(self) -> float:
        """The helpers' processor time so far."""
        return sum(cpu_s(pid) for pid in self.helpers)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load did, and what that cost the server in processor time."""

    facts: dict[str, Any]
    cpu_s: float
    helpers_cpu_s: float = 0.0

    @property
    def done(self) -> int:
        """How many."""
        return int(self.facts["done"])

    @property
    def per_s(self) -> float:
        """By the clock: what the machine gave us."""
        return self.done / float(self.facts["seconds"])

    @property
    def per_core_s(self) -> float:
        """By the server's own processor time."""
        return self.done / self.cpu_s

    @property
    def per_helpers_core_s(self) -> float:
        """By the processor time of what works for it."""
        return self.done / self.helpers_cpu_s

    @property
    def per_core_of_all_s(self) -> float:
        """By everybody's processor time."""
        return self.done / (self.cpu_s + self.helpers_cpu_s)


class Load:
    """A process that prints JSON lines."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def line(self) -> dict[str, Any]:
        """The next thing it says. Raises AssertionError when it ended or is silent for two minutes."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LINE_S_MAX):
            said = await self._process.stdout.readline()
        assert said, f"a load ended early ({await self._process.wait()}); see its words above"
        found: dict[str, Any] = json.loads(said)
        return found

    def finish(self) -> None:
        """Close its stdin: it comes to an end."""
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextlib.asynccontextmanager
async def program(module: str, *words: str) -> AsyncIterator[tuple[Load, int]]:
    """Run `python -m tests.bench.…`; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.bench.{module}", *words, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    try:
        yield Load(process), process.pid
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def peer(*words: str) -> AsyncIterator[Server]:
    """One of the servers of `relay_peers`."""
    async with program("relay_peers", *words) as (said, pid):
        yield Server(pid, int((await said.line())["port"]))


async def loaded(server: Server, kind: str, **order: object) -> Measured:
    """Put a load on a server; its processor time is taken from the load's `begin` to its `end`."""
    words = json.dumps({"host": "127.0.0.1", "port": server.port, **order})
    async with program("relay_load", kind, words) as (load, _):
        begin = end = (0.0, 0.0)
        while "seconds" not in (said := await load.line()):
            if said["event"] == "begin":
                begin = (server.cpu_s, server.helpers_cpu_s)
            else:
                end = (server.cpu_s, server.helpers_cpu_s)
        return Measured(said, end[0] - begin[0], end[1] - begin[1])


async def bare(*words: str) -> Measured:
    """Bare commits or publishes; nobody's processor time."""
    async with program("relay_peers", *words) as (load, _):
        return Measured(await load.line(), 0.0)


def rss_bytes(pid: int) -> int:
    """What a process holds in memory, without the page cache."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def relay_process(
    bench: Bench, name: str, *arguments: str, store: str | None = None
) -> AsyncIterator[Server]:
    """`sheaf relay` as operators run it, with a store of its own."""
    arguments = ("--stun-port", "0", *arguments)
    relay = RelayProcess(bench.scratch / f"relay-{name}", arguments=arguments, store=store)
    await asyncio.to_thread(relay.start)
    assert relay.process is not None
    try:
        yield Server(relay.process.pid, relay.port)
    finally:
        relay.kill()


# ------------------------------------------------------------------ figures


def load_s(bench: Bench) -> float:
    """How long one load lasts."""
    return 1.0 if bench.is_quick else 2.0


async def alternating(
    bench: Bench, *loads: Callable[[], Awaitable[Measured]], rounds: int = 2
) -> list[list[Measured]]:
    """Each load in turn, some rounds; the results by load."""
    found: list[list[Measured]] = [[] for _ in loads]
    for _ in range(1 if bench.is_quick else rounds):
        for results, load in zip(found, loads, strict=True):
            results.append(await load())
    return found


def per_core(results: Sequence[Measured]) -> str:
    """Work by processor time, over the rounds."""
    return Spread.of([each.per_core_s for each in results]).text(0)


def share_of(mine: Sequence[Measured], beside: Sequence[Measured]) -> str:
    """Of the work that the peer did with a second of a core."""
    ratios = [a.per_core_s / b.per_core_s for a, b in zip(mine, beside, strict=True)]
    return f"{Spread.of(ratios).median:.0%}"


def note(bench: Bench, **costs: float) -> None:
    """Keep unit costs for `relay_sum`: microseconds of a core (`_us`) and bytes (`_bytes`)."""
    kept = bench.report.facts.setdefault("relay", {})
    kept.update({name: round(cost, 1) for name, cost in costs.items()})


def us(results: Sequence[Measured]) -> float:
    """Microseconds of a server's core for one piece of work, the median over the rounds."""
    return Spread.of([1e6 / each.per_core_s for each in results]).median


def helpers_us(results: Sequence[Measured]) -> float:
    """The same of its helpers."""
    return Spread.of([1e6 / each.per_helpers_core_s for each in results]).median
