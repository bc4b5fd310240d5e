"""How fast a joiner gets a space's history, beside a bare aiortc channel; and typing meanwhile."""

from __future__ import annotations

import asyncio
import random
import time

from tests.bench import bare_channel
from tests.bench.bench import Bench, Houses, InStep, LogReader, caught_up
from tests.bench.keystroke import open_daemon_tab
from tests.bench.report import Spread, percentile
from tests.support.daemon import Daemon

PART = "catch-up"
FRAME_BYTES = 16 * 1024
SHARE_AIM = 0.6
KEY_MS_AIM = 50.0
PAUSE_S = (0.005, 0.015)


async def measure(bench: Bench) -> None:
    """Throughput of both kinds of history, and keystrokes during a catch-up."""
    houses = await bench.houses()
    bare, small, big, keys_ms = [], [], [], []
    bare_bytes = (4 if bench.is_quick else 24) * 1024 * 1024
    for ben, dora in zip(houses.library_readers, houses.big_readers, strict=True):
        bare.append(await asyncio.to_thread(bare_channel.measure, bare_bytes, FRAME_BYTES))
        small.append(await caught_up(ben, houses.library))
        await asyncio.to_thread(ben.stop)
        bare.append(await asyncio.to_thread(bare_channel.measure, bare_bytes, FRAME_BYTES))
        big.append(await caught_up(dora, houses.big))
        keys_ms += await _typing_meanwhile(houses, dora)
        await asyncio.to_thread(dora.stop)
    _report(bench, houses, bare, small, big, keys_ms)


async def _typing_meanwhile(houses: Houses, reader: Daemon) -> list[float]:
    """Latencies of keys typed into another space of the same connection while 8 MiB come."""
    ada = houses.ada
    ticket = ada.post(f"/spaces/{houses.eight}/invitations", {"role": "editor"})["ticket"]
    log = LogReader(reader)
    async with open_daemon_tab(ada, houses.typed) as left, open_daemon_tab(reader, houses.typed) as right:
        coming = asyncio.ensure_future(_join_and_wait(reader, ticket, log))
        places, taken = [], []
        while not coming.done():
            begin = time.perf_counter()
            await left.type()
            places.append((len(left.text), begin))
            await asyncio.sleep(random.uniform(*PAUSE_S))
        await coming
        await right.seen(len(left.text))
        for place, begin in places:
            taken.append((right.arrivals[place - 1] - begin) * 1000)
    return taken


async def _join_and_wait(reader: Daemon, ticket: str, log: LogReader) -> None:
    view = await asyncio.to_thread(reader.post, "/join", {"ticket": ticket}, 202)
    while True:
        state = await asyncio.to_thread(reader.get, f"/join/{view['join_id']}")
        if state["state"] in ("done", "failed"):
            assert state["state"] == "done", state
            return
        await asyncio.sleep(0.02)


def _report(
    bench: Bench,
    houses: Houses,
    bare: list[float],
    small: list[InStep],
    big: list[InStep],
    keys_ms: list[float],
) -> None:
    report = bench.report
    floor = Spread.of([speed / 1e6 for speed in bare])
    report.add(PART, "bare aiortc channel, MB/s", floor.text(1), against=f"{FRAME_BYTES // 1024} KiB frames")
    envelopes = houses.library_envelopes
    for what, steps, count in (
        (f"{envelopes} small envelopes, MB/s", small, envelopes),
        (f"{bench.big_bytes // 1024 // 1024} MiB in 64 KiB envelopes, MB/s", big, None),
    ):
        speeds = [step.received_bytes / step.seconds for step in steps]
        pairs = zip(speeds, bare[0::2] if count else bare[1::2], strict=True)
        share = Spread.of([speed / beside for speed, beside in pairs])
        seconds = Spread.of([step.seconds for step in steps])
        per_s = "" if count is None else f", {count / seconds.median:.0f} envelopes/s"
        report.add(
            PART,
            what,
            Spread.of([speed / 1e6 for speed in speeds]).text(1),
            against=f"{seconds.text(1)} s{per_s}; {share.median:.0%} of the bare channel",
            aim=f"≥ {SHARE_AIM:.0%}",
            met=share.median >= SHARE_AIM,
        )
    figure = " / ".join(f"{percentile(keys_ms, share):.1f}" for share in (0.5, 0.9, 0.99))
    report.add(
        PART,
        "keystroke while 8 MiB come, p50/p90/p99 ms",
        figure,
        against=f"{len(keys_ms)} keys",
        aim=f"p99 < {KEY_MS_AIM:.0f} ms",
        met=percentile(keys_ms, 0.99) < KEY_MS_AIM,
    )
