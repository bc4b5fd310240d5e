"""Run measurements: `python -m tests.bench [names…] [--json FILE] [--quick]`.

Exit code 0 when everything could be measured, whether or not the aims are met.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import time
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import at_rest, catch_up, content, keystroke, processes, relay, relay_crowd
from tests.bench.bench import Bench, Part
from tests.bench.report import Report
from tests.support.repository import ROOT

PARTS: dict[str, Part] = {
    keystroke.PART: keystroke.measure,
    catch_up.PART: catch_up.measure,
    at_rest.RECONNECT: at_rest.reconnect,
    at_rest.START: at_rest.start,
    at_rest.IDLE: at_rest.idle,
    at_rest.CREATE: at_rest.create,
    content.PART: content.measure,
    relay_crowd.PART: relay.measure,
}
QUIET_LOAD = 1.5
OWN_LOAD = 1.5
"""What the measurements themselves make."""
SECONDS_MAX = 540.0


def main() -> int:
    """Parse, measure, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(PARTS)} [all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    options = parser.parse_args()
    unknown = set(options.names) - set(PARTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    scratch = ROOT / ".bench" / str(os.getpid())
    scratch.mkdir(parents=True)
    report = Report()
    try:
        _machine(report, scratch)
        with ExitStack() as stack:
            bench = Bench(report, scratch, options.quick, stack)
            asyncio.run(_measure(bench, options.names or list(PARTS)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{report.table()}\n")
    loads = report.facts["load"]
    if loads[0] > QUIET_LOAD or max(loads) > QUIET_LOAD + OWN_LOAD:
        print(f"NOISY: the load was {loads}; figures from a busy machine say little.")
    for name, failure in report.failures.items():
        print(f"NOT MEASURED: {name}: {failure}")
    if options.json is not None:
        report.write(options.json)
    return 1 if report.failures else 0


def _machine(report: Report, scratch: Path) -> None:
    report.facts |= {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{os.cpu_count()} × {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "load": [round(processes.load(), 2)],
        "fdatasync_ms": round(processes.fdatasync_ms(scratch), 3),
    }
    print(
        f"{report.facts['machine']}, Python {report.facts['python']}, load {report.facts['load'][0]}, "
        f"fdatasync of 4 KiB p50 {report.facts['fdatasync_ms']} ms\n"
    )


async def _measure(bench: Bench, names: list[str]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    for name in names:
        print(f"{name}:", flush=True)
        begin = time.monotonic()
        try:
            async with asyncio.timeout(deadline - begin):
                await PARTS[name](bench)
        except Exception as error:  # noqa: BLE001  # the other parts are measured all the same
            traceback.print_exc()
            bench.report.failures[name] = f"{type(error).__name__}: {error}"
        bench.report.facts["load"].append(round(processes.load(), 2))
        print(f"  ({time.monotonic() - begin:.0f} s)\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
