"""Idle daemons on a relay, and nodes of a fleet: what each of them costs.

A daemon's cost on one node with SQLite, and on a node of a fleet, where NATS too has to know of it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from tests.bench.bench import Bench
from tests.bench.relay_load import PING_EVERY_S, RIDS, WATCHES
from tests.bench.relay_rig import (
    Server,
    alternating,
    load_s,
    loaded,
    note,
    program,
    relay_process,
    rss_bytes,
)
from tests.bench.report import Spread
from tests.support.nats import nats_server

PART: Final = "relay"
IDLE_BYTES_AIM: Final = 30_000
IDLE_DAEMONS: Final = 10_000
FLEET_DAEMONS: Final = 2_000
CROWDS: Final = 2
VISITORS: Final = 16
PAIRS: Final = 32
SIGNAL_BYTES: Final = 600
"""A description of one's addresses, sealed and padded."""
SETTLE_S: Final = 3.0
IDLE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """What idle daemons cost a server and its helpers, in this order."""

    daemons: int
    empty_bytes: list[int]
    each_bytes: list[float]
    came_s: float
    coming_cpu_s: float
    cpu_share: float


async def measure_idle(bench: Bench) -> None:
    """10,000 daemons with nothing to do on one process."""
    daemons = IDLE_DAEMONS // (10 if bench.is_quick else 1)
    async with relay_process(bench, "idle", "--max-connections", str(daemons + 100)) as relay:
        crowd = await _gather(bench, relay, daemons, IDLE_S)
    each_bytes = crowd.each_bytes[0]
    note(
        bench,
        idle_bytes=each_bytes,
        ping_us=crowd.cpu_share / daemons * PING_EVERY_S * 1e6,
        arrive_us=crowd.coming_cpu_s / daemons * 1e6,
    )
    bench.report.add(
        PART,
        f"memory per idle daemon ({RIDS} ids, {WATCHES} watches), {daemons} of them, bytes",
        f"{each_bytes:.0f}",
        against=f"the relay without any: {crowd.empty_bytes[0] / 2**20:.0f} MiB",
        aim=f"< {IDLE_BYTES_AIM}",
        met=each_bytes < IDLE_BYTES_AIM,
    )
    bench.report.add(
        PART,
        f"processor with {daemons} idle daemons, each with a PING every {PING_EVERY_S:.0f} s",
        f"{crowd.cpu_share:.1%} of a core",
        against=f"{crowd.cpu_share / daemons * PING_EVERY_S * 1e6:.0f} µs for each PING, all else included",
    )
    bench.report.add(
        PART,
        f"{daemons} daemons come at once: until all have their ids and watches, s",
        f"{crowd.came_s:.1f}",
        against=f"{crowd.coming_cpu_s / daemons * 1e6:.0f} µs of the relay's core for each",
    )


async def measure_fleet(bench: Bench) -> None:
    """What changes when the node is one of a fleet."""
    with nats_server(bench.scratch / "nats-fleet") as nats:
        async with (
            relay_process(bench, "node-a", store=nats.url) as here,
            relay_process(bench, "node-b", store=nats.url) as there,
        ):
            both = Server(here.pid, here.port, (there.pid, nats.pid))
            near = {"count": PAIRS, "seconds": load_s(bench), "payload_bytes": SIGNAL_BYTES}
            apart, together = await alternating(
                bench,
                lambda: loaded(both, "signal", other_port=there.port, **near),
                lambda: loaded(both, "signal", **near),
            )
            far = Spread.of([each.per_core_of_all_s for each in apart])
            close = Spread.of([each.per_core_of_all_s for each in together])
            note(bench, fleet_signal_us=1e6 / far.median, node_signal_us=1e6 / close.median)
            bench.report.add(
                PART,
                "signalling messages per second and core between two nodes (both and NATS counted)",
                far.text(0),
                against=f"within a node of the fleet {close.text(0)}; {far.median / close.median:.0%}",
            )
        async with relay_process(bench, "node-c", store=nats.url) as relay:
            daemons = FLEET_DAEMONS // (10 if bench.is_quick else 1)
            server = Server(relay.pid, relay.port, (nats.pid,))
            crowd = await _gather(bench, server, daemons, 6.0)
    note(
        bench,
        fleet_idle_bytes=crowd.each_bytes[0],
        nats_idle_bytes=crowd.each_bytes[1],
        fleet_arrive_us=crowd.coming_cpu_s / daemons * 1e6,
    )
    bench.report.add(
        PART,
        f"memory per idle daemon on a node of a fleet, {daemons} of them, bytes",
        f"{crowd.each_bytes[0]:.0f}",
        against=f"and in NATS {crowd.each_bytes[1]:.0f}; node and NATS without any: "
        f"{crowd.empty_bytes[0] / 2**20:.0f} and {crowd.empty_bytes[1] / 2**20:.0f} MiB",
    )
    bench.report.add(
        PART,
        f"{daemons} daemons come at once to a node of a fleet, s",
        f"{crowd.came_s:.1f}",
        against=f"{crowd.coming_cpu_s / daemons * 1e6:.0f} µs of a core for each, node and NATS",
    )


async def _gather(bench: Bench, server: Server, daemons: int, watch_s: float) -> Crowd:
    """Let them come, settle, and do nothing for `watch_s`; all must still be there then."""
    pids = (server.pid, *server.helpers)
    async with AsyncExitStack() as stack:
        await loaded(server, "connect", count=VISITORS, seconds=1.0)  # what is made once is made now
        empty, before_s = [rss_bytes(pid) for pid in pids], _all_cpu_s(server)
        loads = []
        for number in range(CROWDS):
            order = {
                "host": "127.0.0.1",
                "port": server.port,
                "count": daemons // CROWDS,
                "sources": [f"127.0.0.{2 + number}"],
            }
            load, _ = await stack.enter_async_context(program("relay_load", "idle", json.dumps(order)))
            loads.append(load)
        came_s = max([float((await load.line())["seconds"]) for load in loads])
        coming_cpu_s = _all_cpu_s(server) - before_s
        await asyncio.sleep(SETTLE_S)
        begin_s, seconds = _all_cpu_s(server), (SETTLE_S if bench.is_quick else watch_s)
        await asyncio.sleep(seconds)
        cpu_share = (_all_cpu_s(server) - begin_s) / seconds
        each = [(rss_bytes(pid) - before) / daemons for pid, before in zip(pids, empty, strict=True)]
        for load in loads:
            load.finish()
        alive = sum([int((await load.line())["alive"]) for load in loads])
    assert alive == daemons, f"{daemons - alive} of {daemons} lost their connection"
    return Crowd(daemons, empty, each, came_s, coming_cpu_s, cpu_share)


def _all_cpu_s(server: Server) -> float:
    return server.cpu_s + server.helpers_cpu_s
