"""A space with 10,000 documents: coming back to it, starting with it, and doing nothing with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from sheaf.core.protocol import effects as fx
from tests.bench.bench import Bench, Houses, caught_up
from tests.bench.processes import cpu_s, memory_mib
from tests.bench.report import Spread
from tests.support.daemon import Daemon, eventually
from tests.support.world import make_space, text
from tests.unit.core.protocol.pretend_wire import ALICE, BOB, log_named, pair, shared_space

RECONNECT, START, IDLE, CREATE = "reconnect", "start", "idle", "create"
WIRE_BYTES_AIM, TRIPS_AIM = 2048, 1
START_S_AIM = 2.0
MEMORY_MIB_AIM = 110.0
CPU_AIM = 0.002
IDLE_S = 20.0
SETTLE_S = 3.0


async def reconnect(bench: Bench) -> None:
    """Away while one document changed; what the next greeting and catch-up cost on the wire."""
    houses = await bench.houses()
    ada, (ben, *_) = houses.ada, houses.library_readers
    await _together(houses, ben)
    steps = []
    for number in range(2 if bench.is_quick else 4):
        await asyncio.to_thread(ben.stop)
        _append(ada, houses.document, f"changed {number}\n")
        steps.append(await caught_up(ben, houses.library))
        expected = text(ada, houses.document)
        assert text(ben, houses.document) == expected, "in step, but not equal"
    wire = Spread.of([float(step.sent_bytes + step.received_bytes) for step in steps])
    took = Spread.of([step.seconds * 1000 for step in steps])
    documents = bench.document_count
    bench.report.add(
        RECONNECT,
        f"{documents} documents, one changed: bytes after the handshake",
        wire.text(0),
        against=f"both ways; in step after {took.text(0)} ms",
        aim=f"< {WIRE_BYTES_AIM}",
        met=wire.high < WIRE_BYTES_AIM,
    )
    since_hello, since_match = round_trips()
    bench.report.add(
        RECONNECT,
        "round trips until the change is there, in virtual time",
        f"{since_match:.1f} after the common spaces are known",
        against=f"{since_hello:.1f} after HELLO",
        aim=f"≤ {TRIPS_AIM}",
        met=since_match <= TRIPS_AIM,
    )


def round_trips() -> tuple[float, float]:
    """How many round trips the protocol needs to bring one change, after HELLO and after matching spaces.

    Two sessions on a wire that takes a second each way and costs nothing else; both have met before.
    """
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    for space in (left, right):
        space.write(log_named("before"), b"x")
    wire, *_ = pair(left, right)
    wire.start().until(lambda: left.agreed != {} and right.agreed != {})
    left.write(log_named("today"), b"one changed document")
    wire, alice, bob = pair(left, right, latency_s=1.0)
    wire.start().until(lambda: bool(bob.seen(fx.Authenticated) and alice.seen(fx.Authenticated)))
    authenticated_at = wire.now
    wire.until(lambda: bool(alice.seen(fx.SpacePhase) or bob.seen(fx.SpacePhase)))
    matched_at = wire.now
    wire.until(lambda: left.logs == right.logs)
    return (wire.now - authenticated_at) / 2, (wire.now - matched_at) / 2


async def start(bench: Bench) -> None:
    """From starting the process to the first answer, after a kill -9."""
    houses = await bench.houses()
    ben = houses.library_readers[0]
    await _together(houses, ben)
    full, empty, imports = [], [], []
    fresh = Daemon(bench.scratch / "fresh", arguments=["--no-mdns", "--lan=127.0.0.1:0"])
    for _ in range(2 if bench.is_quick else 4):
        ben.kill()
        full.append((await asyncio.to_thread(ben.start)).started_after_s)
        empty.append((await asyncio.to_thread(fresh.start)).started_after_s)
        fresh.kill()
        imports.append(await asyncio.to_thread(_import_s))
    beside = f"imports alone {Spread.of(imports).text()} s, without documents {Spread.of(empty).text()} s"
    spread = Spread.of(full)
    bench.report.add(
        START,
        f"first answer after kill -9, {bench.document_count} documents, s",
        spread.text(),
        against=beside,
        aim=f"< {START_S_AIM:.0f}",
        met=spread.median < START_S_AIM,
    )


async def idle(bench: Bench) -> None:
    """Memory and processor time of a daemon with a connected peer and nothing to do."""
    houses = await bench.houses()
    ada, ben = houses.ada, houses.library_readers[0]
    if ben.process is not None and ben.process.poll() is None:
        await asyncio.to_thread(ben.stop)
    await _together(houses, ben)
    await asyncio.sleep(SETTLE_S)
    pids = {name: _pid(daemon) for name, daemon in (("ben", ben), ("ada", ada))}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    seconds = IDLE_S / 4 if bench.is_quick else IDLE_S
    await asyncio.sleep(seconds)
    shares = {name: (cpu_s(pid) - before[name]) / seconds for name, pid in pids.items()}
    memory = {name: memory_mib(pid) for name, pid in pids.items()}
    imports = await asyncio.to_thread(_import_mib)
    mine = memory["ben"]
    bench.report.add(
        IDLE,
        f"memory with {bench.document_count} documents, RSS/PSS/USS MiB",
        f"{mine['rss']:.0f} / {mine['pss']:.0f} / {mine['uss']:.0f}",
        against=f"imports alone {imports:.0f} RSS",
        aim=f"< {MEMORY_MIB_AIM:.0f}",
        met=mine["rss"] < MEMORY_MIB_AIM,
    )
    bench.report.add(
        IDLE,
        "the one that sent it all, with 32 MiB of texts beside, RSS/PSS/USS MiB",
        " / ".join(f"{memory['ada'][kind]:.0f}" for kind in ("rss", "pss", "uss")),
    )
    bench.report.add(
        IDLE,
        f"processor over {seconds:.0f} s with a connected peer",
        f"{shares['ben']:.2%}",
        against=f"of one core; the peer {shares['ada']:.2%}",
        aim=f"< {CPU_AIM:.1%}",
        met=shares["ben"] < CPU_AIM,
    )


async def create(bench: Bench) -> None:
    """Documents made one after another through the API: in a full space and in an empty one."""
    houses = await bench.houses()
    count = 30 if bench.is_quick else 90
    empty_space = make_space(houses.ada, "Empty")
    full, empty = [], []
    for number in range(count):
        full.append(await asyncio.to_thread(_create_ms, houses.ada, houses.library, number))
        empty.append(await asyncio.to_thread(_create_ms, houses.ada, empty_space, number))
    beside = Spread.of(empty)
    ratio = Spread.of(full).median / beside.median
    bench.report.add(
        CREATE,
        f"one more document beside {bench.document_count}, ms",
        Spread.of(full).text(1),
        against=f"in an empty space {beside.text(1)}",
        aim="≤ ×2",
        met=ratio <= 2,
    )


async def _together(houses: Houses, ben: Daemon) -> None:
    """Ben runs and is in step with Ada."""
    if ben.process is None or ben.process.poll() is not None:
        await caught_up(ben, houses.library)
        return

    def is_live() -> bool:
        return any(peer["state"] == "live" for peer in ben.get("/peers")["peers"])

    await eventually(is_live, timeout_s=60, what="the daemons are in step")


def _append(daemon: Daemon, document_id: str, words: str) -> None:
    response = daemon.request(
        "POST",
        f"/documents/{document_id}/append",
        content=words.encode(),
        headers={"Content-Type": "text/markdown"},
    )
    assert response.status_code == 204, response.text


def _create_ms(daemon: Daemon, space_id: str, number: int) -> float:
    begin = time.perf_counter()
    daemon.post(f"/spaces/{space_id}/documents", {"title": f"One more {number}", "type": "text"})
    return (time.perf_counter() - begin) * 1000


def _pid(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


_IMPORTS = "import sheaf.cli.main, sheaf.cli.up as up; up._skip_rich(); import sheaf.compose"


def _import_s() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True, timeout=30)
    return time.perf_counter() - begin


def _import_mib() -> float:
    code = f"{_IMPORTS}; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        size = memory_mib(process.pid)["rss"]
        process.kill()
    return size
