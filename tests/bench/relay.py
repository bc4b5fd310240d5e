"""The relay under load: what one core of it bears, and what an idle daemon costs it.

Figures "per core" are work divided by the relay's own processor time, so that they hold on a machine
that is shared with the load; each stands beside a bare server or store in the same run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.bench.bench import Bench
from tests.bench.processes import cpu_s
from tests.bench.relay_load import PING_EVERY_S, RIDS, WATCHES
from tests.bench.relay_rig import Measured, Server, bare, loaded, peer, program, rss_bytes
from tests.bench.report import Spread
from tests.support.nats import NATS_SERVER, nats_server
from tests.support.raw_websocket import sources
from tests.support.relay import RelayProcess

PART = "relay"
IDLE_BYTES_AIM: Final = 30_000
IDLE_DAEMONS: Final = 10_000
SIGNAL_BYTES: Final = 600
"""A description of one's addresses, sealed and padded."""
ITEM_BYTES: Final = 4096
PAIRS: Final = 32
VISITORS: Final = 16
WRITERS: Final = (1, 32)
TUNNEL_BYTES: Final = (32 * 1024, 1024)
"""What a daemon puts into one message at most; and small ones."""
SOURCES: Final = 4
SETTLE_S: Final = 3.0


async def measure(bench: Bench) -> None:
    """Everything about one relay process."""
    await _connections(bench)
    await _signals(bench)
    await _puts(bench)
    await _tunnels(bench)
    await _idle(bench)


@asynccontextmanager
async def _relay(bench: Bench, name: str, *arguments: str, store: str | None = None) -> AsyncIterator[Server]:
    """`sheaf relay` as operators run it, with a store of its own."""
    relay = RelayProcess(
        bench.scratch / f"relay-{name}", arguments=["--stun-port", "0", *arguments], store=store
    )
    await asyncio.to_thread(relay.start)
    assert relay.process is not None
    try:
        yield Server(relay.process.pid, relay.port)
    finally:
        relay.kill()


# ------------------------------------------------------------------ connections and signalling


async def _connections(bench: Bench) -> None:
    async with _relay(bench, "connections") as ours, peer("websockets") as theirs:
        mine, beside = await _alternating(
            bench,
            lambda: loaded(ours, "connect", count=VISITORS, seconds=bench_s(bench), sources=sources(SOURCES)),
            lambda: loaded(theirs, "greet", count=VISITORS, seconds=bench_s(bench), sources=sources(SOURCES)),
        )
    bench.report.add(
        PART,
        "connections per second and core: handshake, WELCOME, SUB, PING, gone",
        _per_core(mine),
        against=f"bare websockets, one message and gone: {_per_core(beside)}; {_share(mine, beside)}",
    )


async def _signals(bench: Bench) -> None:
    load = {"count": PAIRS, "seconds": bench_s(bench), "payload_bytes": SIGNAL_BYTES}
    async with _relay(bench, "signals") as ours, peer("websockets") as theirs:
        mine, echoes, passed = await _alternating(
            bench,
            lambda: loaded(ours, "signal", **load),
            lambda: loaded(theirs, "echo", **load),
            lambda: loaded(theirs, "passing", **load),
        )
    for each in mine:
        assert each.facts["delivered"] >= each.done, "SENT without DELIVER"
    bench.report.add(
        PART,
        f"signalling messages per second and core, {SIGNAL_BYTES} bytes, SEND → DELIVER and SENT",
        _per_core(mine),
        against=f"bare websockets, echo: {_per_core(echoes)}; {_share(mine, echoes)}; "
        f"passing on and answering: {_per_core(passed)}; {_share(mine, passed)}",
    )


# ------------------------------------------------------------------ mailboxes


async def _puts(bench: Bench) -> None:
    seconds = bench_s(bench)
    async with _relay(bench, "sqlite") as relay:
        for writers in WRITERS:
            mine, beside = await _alternating(
                bench,
                lambda: _put(relay, writers, seconds),  # noqa: B023  # used before the next turn
                lambda: bare("sqlite", str(_fresh(bench)), str(ITEM_BYTES), str(seconds)),
            )
            _add_puts(bench, "SQLite", writers, mine, beside, "bare commits of one writer")
    assert NATS_SERVER is not None, "no nats-server here"
    with nats_server(bench.scratch / "nats") as nats:
        async with _relay(bench, "nats", store=nats.url) as relay:
            for writers in WRITERS:
                words = ("nats", nats.url, str(ITEM_BYTES), str(seconds), str(writers))
                mine, beside = await _alternating(
                    bench,
                    lambda: _put(relay, writers, seconds),  # noqa: B023
                    lambda: bare(*words),  # noqa: B023
                )
                _add_puts(bench, "JetStream", writers, mine, beside, "bare publishes")


async def _put(relay: Server, writers: int, seconds: float) -> Measured:
    result = await loaded(relay, "put", count=writers, payload_bytes=ITEM_BYTES, seconds=seconds)
    assert result.facts["refused"] == 0, f"refused {result.facts['refused']} of {result.done}"
    return result


def _add_puts(
    bench: Bench,
    store: str,
    writers: int,
    mine: Sequence[Measured],
    beside: Sequence[Measured],
    peer_name: str,
) -> None:
    took = Spread.of([each.facts["p50_ms"] for each in mine])
    share = Spread.of([a.per_s / b.per_s for a, b in zip(mine, beside, strict=True)])
    bench.report.add(
        PART,
        f"mailbox puts per second, {store}, {ITEM_BYTES} bytes, {writers} at a time",
        f"{Spread.of([each.per_s for each in mine]).text(0)}, p50 {took.text(1)} ms; "
        f"{_per_core(mine)} per second and core of the relay",
        against=f"{peer_name}: {Spread.of([each.per_s for each in beside]).text(0)}; {share.median:.0%}",
    )


_files = iter(range(1_000_000))


def _fresh(bench: Bench) -> object:
    return bench.scratch / f"bare-{next(_files)}.sqlite3"


# ------------------------------------------------------------------ tunnels


async def _tunnels(bench: Bench) -> None:
    folder = bench.scratch / "relay-tunnels"
    folder.mkdir()
    async with peer("relay", str(folder)) as ours, peer("proxy") as theirs:
        for size in TUNNEL_BYTES:
            load = {"count": 1, "seconds": bench_s(bench), "payload_bytes": size}
            mine, beside = await _alternating(
                bench,
                lambda: loaded(ours, "tunnel", **load),  # noqa: B023
                lambda: loaded(theirs, "raw", **load),  # noqa: B023
            )
            _add_tunnel(bench, size, mine, beside)


def _add_tunnel(bench: Bench, size: int, mine: Sequence[Measured], beside: Sequence[Measured]) -> None:
    pairs = list(zip(mine, beside, strict=True))
    by_clock = Spread.of([_mb_s(a) / _mb_s(b) for a, b in pairs])
    by_core = Spread.of([_mb_core(a) / _mb_core(b) for a, b in pairs])
    bench.report.add(
        PART,
        f"tunnel, one direction, messages of {size} bytes, MB/s (its limit lifted)",
        f"{Spread.of([_mb_s(each) for each in mine]).text(0)}; "
        f"{Spread.of([_mb_core(each) for each in mine]).text(0)} per core",
        against=f"bare TCP proxy {Spread.of([_mb_s(each) for each in beside]).text(0)}; "
        f"{Spread.of([_mb_core(each) for each in beside]).text(0)} per core; "
        f"{by_clock.median:.0%}, {by_core.median:.0%} per core",
    )
    if size == TUNNEL_BYTES[0]:
        added = Spread.of([a.facts["p50_ms"] - b.facts["p50_ms"] for a, b in pairs])
        bench.report.add(
            PART,
            "tunnel, one byte there and back, p50 ms",
            Spread.of([each.facts["p50_ms"] for each in mine]).text(),
            against=f"bare TCP proxy {Spread.of([each.facts['p50_ms'] for each in beside]).text()}; "
            f"{added.median:.2f} more",
        )


def _mb_s(measured: Measured) -> float:
    return float(measured.facts["bytes"] / measured.facts["seconds"] / 1e6)


def _mb_core(measured: Measured) -> float:
    return float(measured.facts["bytes"] / measured.cpu_s / 1e6)


# ------------------------------------------------------------------ idle daemons


async def _idle(bench: Bench) -> None:
    daemons = IDLE_DAEMONS // (10 if bench.is_quick else 1)
    crowds = 2
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(
            _relay(bench, "idle", "--max-connections", str(daemons + 100))
        )
        await loaded(relay, "connect", count=VISITORS, seconds=1.0)  # what is made once is made now
        empty_bytes, before_s = rss_bytes(relay.pid), cpu_s(relay.pid)
        loads = []
        for crowd in range(crowds):
            order = (
                f'{{"host": "127.0.0.1", "port": {relay.port}, "count": {daemons // crowds},'
                f' "sources": ["127.0.0.{2 + crowd}"]}}'
            )
            load, _ = await stack.enter_async_context(program("relay_load", "idle", order))
            loads.append(load)
        settled = [await load.line() for load in loads]
        came_s = max(float(said["seconds"]) for said in settled)
        coming_s = cpu_s(relay.pid) - before_s
        await asyncio.sleep(SETTLE_S)
        begin_s, seconds = cpu_s(relay.pid), (3.0 if bench.is_quick else PING_EVERY_S)
        await asyncio.sleep(seconds)
        share = (cpu_s(relay.pid) - begin_s) / seconds
        each_bytes = (rss_bytes(relay.pid) - empty_bytes) / daemons
        for load in loads:
            load.finish()
        alive = sum([int((await load.line())["alive"]) for load in loads])
    assert alive == daemons, f"{daemons - alive} of {daemons} lost their connection"
    bench.report.add(
        PART,
        f"memory per idle daemon ({RIDS} ids, {WATCHES} watches), {daemons} of them, bytes",
        f"{each_bytes:.0f}",
        against=f"the relay without any: {empty_bytes / 2**20:.0f} MiB",
        aim=f"< {IDLE_BYTES_AIM}",
        met=each_bytes < IDLE_BYTES_AIM,
    )
    bench.report.add(
        PART,
        f"processor with {daemons} idle daemons, each with a PING every {PING_EVERY_S:.0f} s",
        f"{share:.1%} of a core",
        against=f"{share / daemons * PING_EVERY_S * 1e6:.0f} µs for each PING, all else included",
    )
    bench.report.add(
        PART,
        f"{daemons} daemons come at once: until all have their ids and watches, s",
        f"{came_s:.1f}",
        against=f"{coming_s / daemons * 1e6:.0f} µs of the relay's core for each",
    )


# ------------------------------------------------------------------ figures


def bench_s(bench: Bench) -> float:
    """How long one load lasts."""
    return 1.0 if bench.is_quick else 2.0


async def _alternating(bench: Bench, *loads: Callable[[], Awaitable[Measured]]) -> list[list[Measured]]:
    """Each load in turn, some rounds; the results by load."""
    found: list[list[Measured]] = [[] for _ in loads]
    for _ in range(1 if bench.is_quick else 3):
        for results, load in zip(found, loads, strict=True):
            results.append(await load())
    return found


def _per_core(results: Sequence[Measured]) -> str:
    return Spread.of([each.per_core_s for each in results]).text(0)


def _share(mine: Sequence[Measured], beside: Sequence[Measured]) -> str:
    ratios = [a.per_core_s / b.per_core_s for a, b in zip(mine, beside, strict=True)]
    return f"{Spread.of(ratios).median:.0%}"
