"""The relay under load: what one core of it bears, and what an idle daemon costs it.

Figures "per core" are work divided by the relay's own processor time, so that they hold on a machine
that is shared with the load; each stands beside a bare server or store in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.bench.bench import Bench
from tests.bench.relay_crowd import PAIRS, PART, SIGNAL_BYTES, VISITORS, measure_fleet, measure_idle
from tests.bench.relay_rig import (
    Measured,
    Server,
    alternating,
    bare,
    helpers_us,
    load_s,
    loaded,
    note,
    peer,
    per_core,
    relay_process,
    share_of,
    us,
)
from tests.bench.report import Spread
from tests.support.nats import NATS_SERVER, nats_server
from tests.support.raw_websocket import sources

ITEM_BYTES: Final = 4096
WRITERS: Final = (1, 32)
READERS: Final = 32
TUNNEL_BYTES: Final = (32 * 1024, 1024)
"""What a daemon puts into one message at most; and small ones."""
TUNNELS: Final = 400
SHORT_BYTES: Final = 60
"""A session's ping, in TLS."""
SOURCES: Final = 4


async def measure(bench: Bench) -> None:
    """Everything about the relay."""
    await _connections(bench)
    await _signals(bench)
    await _mailboxes(bench)
    await _tunnels(bench)
    await measure_idle(bench)
    await measure_fleet(bench)


# ------------------------------------------------------------------ connections and signalling


async def _connections(bench: Bench) -> None:
    async with relay_process(bench, "connections") as ours, peer("websockets") as theirs:
        mine, beside = await alternating(
            bench,
            lambda: loaded(ours, "connect", count=VISITORS, seconds=load_s(bench), sources=sources(SOURCES)),
            lambda: loaded(theirs, "greet", count=VISITORS, seconds=load_s(bench), sources=sources(SOURCES)),
        )
    note(bench, connect_us=us(mine))
    bench.report.add(
        PART,
        "connections per second and core: handshake, WELCOME, SUB, PING, gone",
        per_core(mine),
        against=f"bare websockets, one message and gone: {per_core(beside)}; {share_of(mine, beside)}",
    )


async def _signals(bench: Bench) -> None:
    load = {"count": PAIRS, "seconds": load_s(bench), "payload_bytes": SIGNAL_BYTES}
    async with relay_process(bench, "signals") as ours, peer("websockets") as theirs:
        mine, echoes, passed = await alternating(
            bench,
            lambda: loaded(ours, "signal", **load),
            lambda: loaded(theirs, "echo", **load),
            lambda: loaded(theirs, "passing", **load),
        )
    for each in mine:
        assert each.facts["delivered"] >= each.done, "SENT without DELIVER"
    note(bench, signal_us=us(mine))
    bench.report.add(
        PART,
        f"signalling messages per second and core, {SIGNAL_BYTES} bytes, SEND → DELIVER and SENT",
        per_core(mine),
        against=f"bare websockets, echo: {per_core(echoes)}; {share_of(mine, echoes)}; "
        f"passing on and answering: {per_core(passed)}; {share_of(mine, passed)}",
    )


# ------------------------------------------------------------------ mailboxes


async def _mailboxes(bench: Bench) -> None:
    seconds = load_s(bench)
    async with relay_process(bench, "sqlite") as relay:
        for writers in WRITERS:
            mine, beside = await alternating(
                bench,
                lambda: _asked(relay, "put", writers, seconds),  # noqa: B023  # used before the next turn
                lambda: bare("sqlite", str(_fresh(bench)), str(ITEM_BYTES), str(seconds)),
            )
            _add(bench, "puts", "SQLite", writers, mine, beside, "bare commits of one writer")
        note(bench, put_sqlite_us=us(mine))
        (mine,) = await alternating(bench, lambda: _asked(relay, "get", READERS, seconds))
        _add(bench, "gets", "SQLite", READERS, mine)
        note(bench, get_sqlite_us=us(mine))
    assert NATS_SERVER is not None, "no nats-server here"
    with nats_server(bench.scratch / "nats") as nats:
        async with relay_process(bench, "nats", store=nats.url) as node:
            relay = Server(node.pid, node.port, (nats.pid,))
            for writers in WRITERS:
                words = ("nats", nats.url, str(ITEM_BYTES), str(seconds), str(writers))
                mine, beside = await alternating(
                    bench,
                    lambda: _asked(relay, "put", writers, seconds),  # noqa: B023
                    lambda: bare(*words),  # noqa: B023
                )
                _add(bench, "puts", "JetStream", writers, mine, beside, "bare publishes")
            note(bench, put_nats_us=us(mine), put_nats_server_us=helpers_us(mine))
            (mine,) = await alternating(bench, lambda: _asked(relay, "get", READERS, seconds))
            _add(bench, "gets", "JetStream", READERS, mine)
            note(bench, get_nats_us=us(mine), get_nats_server_us=helpers_us(mine))


async def _asked(relay: Server, kind: str, at_once: int, seconds: float) -> Measured:
    result = await loaded(relay, kind, count=at_once, payload_bytes=ITEM_BYTES, seconds=seconds)
    assert result.facts["refused"] == 0, f"refused {result.facts['refused']} of {result.done}"
    return result


def _add(
    bench: Bench,
    what: str,
    store: str,
    at_once: int,
    mine: Sequence[Measured],
    beside: Sequence[Measured] = (),
    peer_name: str = "",
) -> None:
    took = Spread.of([each.facts["p50_ms"] for each in mine])
    against = ""
    if beside:
        ratio = Spread.of([a.per_s / b.per_s for a, b in zip(mine, beside, strict=True)])
        against = f"{peer_name}: {Spread.of([each.per_s for each in beside]).text(0)}; {ratio.median:.0%}"
    of_nats = ""
    if mine[0].helpers_cpu_s:
        of_nats = f", {Spread.of([each.per_helpers_core_s for each in mine]).text(0)} of NATS"
    bench.report.add(
        PART,
        f"mailbox {what} per second, {store}, {ITEM_BYTES} bytes, {at_once} at a time",
        f"{Spread.of([each.per_s for each in mine]).text(0)}, p50 {took.text(1)} ms; "
        f"{per_core(mine)} per second and core of the relay{of_nats}",
        against=against,
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
            load = {"count": 1, "seconds": load_s(bench), "payload_bytes": size}
            mine, beside = await alternating(
                bench,
                lambda: loaded(ours, "tunnel", **load),  # noqa: B023
                lambda: loaded(theirs, "raw", **load),  # noqa: B023
            )
            _add_tunnel(bench, size, mine, beside)
        load = {"count": TUNNELS, "seconds": load_s(bench), "payload_bytes": SHORT_BYTES}
        (quiet,) = await alternating(bench, lambda: loaded(ours, "chatter", **load))
    note(bench, tunnel_message_us=us(quiet))
    bench.report.add(
        PART,
        f"{TUNNELS} tunnels with little to say, {SHORT_BYTES} bytes at a time",
        f"{us(quiet):.0f} µs of the relay's core for each message",
        against=f"{Spread.of([each.per_s for each in quiet]).text(0)} per second",
    )


def _add_tunnel(bench: Bench, size: int, mine: Sequence[Measured], beside: Sequence[Measured]) -> None:
    pairs = list(zip(mine, beside, strict=True))
    cost_us = size / Spread.of([_mb_core(each) for each in mine]).median
    note(bench, **{f"tunnel_{size}_us": cost_us})
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
