"""Latency of a keystroke from one tab's socket to another's, beside the servers people use today.

Sheaf: two daemons, WebRTC between them, committed to disk on both before the other tab sees it.
y-websocket: both tabs on one server that holds documents in memory. Hocuspocus with SQLite: both
tabs on one server that shows first and stores later (by default 2 s after the last change).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.processes import counting_syncs
from tests.bench.report import Report, Spread, percentile
from tests.bench.servers import NodeServer, hocuspocus, y_websocket
from tests.bench.tabs import BenchTab, open_bench_tab
from tests.support.daemon import Daemon
from tests.support.world import shared_document, town, until_live

PART = "keystroke"
PAUSE_S = (0.030, 0.060)
SETTLE_S = 0.3

Pair = tuple[BenchTab, BenchTab]


@dataclass
class Contestant:
    """One system: how to open its two tabs, and what was measured."""

    name: str
    pids: list[int]
    tabs: Callable[[], AbstractAsyncContextManager[Pair]]
    paced: list[list[float]] = field(default_factory=list)
    burst_ms: list[list[float]] = field(default_factory=list)
    burst_per_s: list[float] = field(default_factory=list)


async def measure(bench: Bench) -> None:
    """Everything about keystrokes."""
    rounds, keys, burst = (2, 30, 300) if bench.is_quick else (5, 60, 1000)
    with ExitStack() as stack:
        systems = _contestants(stack, bench.scratch)
        async with AsyncExitStack() as tabs:
            pairs = [await tabs.enter_async_context(system.tabs()) for system in systems]
            for pair in pairs:
                await _typing(pair, 20)
            await asyncio.sleep(SETTLE_S)
            for _ in range(rounds):
                for system, pair in zip(systems, pairs, strict=True):
                    system.paced.append(await _typing(pair, keys))
            for _ in range(max(2, rounds // 2)):
                for system, pair in zip(systems, pairs, strict=True):
                    per_s, latencies = await _burst(pair, burst)
                    system.burst_per_s.append(per_s)
                    system.burst_ms.append(latencies)
            syncs = {}
            for system, pair in zip(systems, pairs, strict=True):
                with counting_syncs(system.pids, bench.scratch) as count:
                    await _typing(pair, 20)
                syncs[system.name] = None if count.calls is None else count.calls / 20
    _report(bench.report, systems, syncs)


def _contestants(stack: ExitStack, scratch: Path) -> list[Contestant]:
    folder = scratch / "keystroke"
    folder.mkdir()
    ada, ben = stack.enter_context(town(folder)).start("ada", "ben")
    document_id = shared_document(ada, ben)
    until_live(ada, ben)
    paths = {peer["path"] for peer in ada.get("/peers")["peers"]}
    assert paths == {"webrtc"}, f"the daemons are connected by {paths}"
    plain = stack.enter_context(y_websocket(scratch))
    usual = stack.enter_context(hocuspocus(scratch))
    eager = stack.enter_context(hocuspocus(scratch, debounce_ms=0))
    return [
        Contestant("Sheaf", [_pid(ada), _pid(ben)], lambda: _daemon_tabs(ada, ben, document_id)),
        Contestant("y-websocket", [plain.pid], lambda: _server_tabs(plain, framed=False)),
        Contestant("Hocuspocus+SQLite", [usual.pid], lambda: _server_tabs(usual, framed=True)),
        Contestant("Hocuspocus+SQLite, debounce 0", [eager.pid], lambda: _server_tabs(eager, framed=True)),
    ]


def _pid(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


@asynccontextmanager
async def _daemon_tabs(ada: Daemon, ben: Daemon, document_id: str) -> AsyncIterator[Pair]:
    async with open_daemon_tab(ada, document_id) as left, open_daemon_tab(ben, document_id) as right:
        yield left, right


def open_daemon_tab(daemon: Daemon, document_id: str) -> AbstractAsyncContextManager[BenchTab]:
    """A bench tab at a daemon."""
    url = f"ws://127.0.0.1:{daemon.port}/sync/{document_id}"
    return open_bench_tab(url, subprotocols=[f"sheaf.bearer.{daemon.token}", "sheaf"])


@asynccontextmanager
async def _server_tabs(server: NodeServer, *, framed: bool) -> AsyncIterator[Pair]:
    url = f"ws://127.0.0.1:{server.port}/bench"
    name = "bench" if framed else None
    async with (
        open_bench_tab(url, hocuspocus_document=name) as left,
        open_bench_tab(url, hocuspocus_document=name) as right,
    ):
        yield left, right


async def _typing(pair: Pair, keys: int) -> list[float]:
    """Latencies in ms of keys typed one at a time, at a person's pace."""
    writer, reader = pair
    await writer.keep_alive()
    await reader.keep_alive()
    taken = []
    for _ in range(keys):
        begin = time.perf_counter()
        await writer.type()
        place = len(writer.text)
        await reader.seen(place)
        taken.append((reader.arrivals[place - 1] - begin) * 1000)
        await asyncio.sleep(random.uniform(*PAUSE_S))
    return taken


async def _burst(pair: Pair, keys: int) -> tuple[float, list[float]]:
    """Keys per second through both ends, and each one's latency in ms, when nobody waits."""
    writer, reader = pair
    first = len(writer.text)
    sent = []
    for _ in range(keys):
        sent.append(time.perf_counter())
        await writer.type()
        await asyncio.sleep(0)  # the reader is in this process, too
    await reader.seen(first + keys)
    arrived = reader.arrivals[first:]
    taken = [(there - here) * 1000 for here, there in zip(sent, arrived, strict=True)]
    return keys / (arrived[-1] - sent[0]), taken


def _report(report: Report, systems: list[Contestant], syncs: dict[str, float | None]) -> None:
    sheaf, plain, stored, _ = systems
    everything = {system.name: [ms for round_ms in system.paced for ms in round_ms] for system in systems}
    report.facts["keystroke_ms"] = {
        name: {f"p{share}": round(percentile(values, share / 100), 3) for share in (50, 90, 99)}
        for name, values in everything.items()
    }
    report.facts["syncs_per_keystroke"] = syncs
    for system in systems:
        values = everything[system.name]
        syncs_text = "" if syncs[system.name] is None else f"{syncs[system.name]:.1f} fsyncs per key"
        figure = " / ".join(f"{percentile(values, share):.2f}" for share in (0.5, 0.9, 0.99))
        spread = Spread.of([percentile(round_ms, 0.5) for round_ms in system.paced])
        report.add(
            PART,
            f"{system.name}, p50/p90/p99 ms",
            figure,
            against=f"p50 by round {spread.text()}",
            aim=syncs_text,
        )
    ratio = Spread.of(
        [percentile(a, 0.5) / percentile(b, 0.5) for a, b in zip(sheaf.paced, plain.paced, strict=True)]
    )
    report.add(
        PART,
        "p50, Sheaf ÷ y-websocket",
        f"×{ratio.text()}",
        against="y-websocket 2.1.0 in memory",
        aim="≤ ×2",
        met=ratio.median <= 2,
    )
    ours, theirs = (percentile(everything[name], 0.99) for name in (sheaf.name, stored.name))
    report.add(
        PART,
        "p99, Sheaf vs Hocuspocus+SQLite",
        f"{ours:.2f} ms",
        against=f"{theirs:.2f} ms",
        aim="below",
        met=ours < theirs,
    )
    for system in systems:
        latencies = [ms for round_ms in system.burst_ms for ms in round_ms]
        report.add(
            PART,
            f"{system.name}, flat-out keys/s",
            Spread.of(system.burst_per_s).text(0),
            against=f"p50/p99 {percentile(latencies, 0.5):.1f}/{percentile(latencies, 0.99):.1f} ms",
        )
