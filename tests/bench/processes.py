"""What the kernel says about a process: memory, processor time, and how often it forced the disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024


def memory_mib(pid: int) -> dict[str, float]:
    """RSS, PSS and USS of a process in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {name: int(value) / 1024 for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return {"rss": sizes["Rss"], "pss": sizes["Pss"], "uss": sizes["Private_Clean"] + sizes["Private_Dirty"]}


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far, in seconds with nanosecond steps.

    A thread that ended takes its share with it, so this is for processes at rest.
    """
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def load() -> float:
    """How many processes wanted a processor, over the last minute."""
    return os.getloadavg()[0]


def fdatasync_ms(folder: Path, count: int = 200) -> float:
    """The median time of appending 4 KiB to a file in `folder` and forcing it to disk, in ms."""
    path = folder / "fdatasync-probe"
    taken = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(count):
            os.write(descriptor, b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken)


class SyncCount:
    """How many fsync and fdatasync calls were seen; None when nobody could look."""

    calls: int | None = None


@contextmanager
def counting_syncs(pids: list[int], scratch: Path) -> Iterator[SyncCount]:
    """Count forced writes of processes while the body runs, with strace where it is installed."""
    count = SyncCount()
    strace = shutil.which("strace")
    if strace is None:
        yield count
        return
    output = scratch / "strace.txt"
    targets = [word for pid in pids for word in ("-p", str(pid))]
    command = [strace, "-f", "-q", "-e", "trace=fsync,fdatasync", "-o", str(output), *targets]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_attached(tracer, pids)
        yield count
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    if output.exists():
        lines = output.read_text().splitlines()
        count.calls = sum("sync(" in line for line in lines)


def _wait_attached(tracer: subprocess.Popen[bytes], pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and tracer.poll() is None:
        if all("TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text() for pid in pids):
            return
        time.sleep(0.01)
