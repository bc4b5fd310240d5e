"""A bad line between two computers: delay, jitter, loss and duplication, repeatable by a seed (FAULTS N1).

Not netem, which many kernels of test machines lack and whose choices no seed repeats: a process holds a
TUN device in each of two network namespaces and carries the packets over. So it runs the same wherever
/dev/net/tun exists, and nothing has to be detected.

Run as a program it is that process: `python lossy.py NAMESPACE NAMESPACE LINK-AS-JSON`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import heapq
import itertools
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.support.netns import Computer

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x0001 | 0x1000
_CLONE_NEWNET: Final = 0x40000000
_PACKET_BYTES_MAX: Final = 65_535
_QUEUED_PACKETS_MAX: Final = 20_000
"""More than that on the way are lost: no line holds everything."""


@dataclass(frozen=True, slots=True)
class Line:
    """How bad it is, the same in both directions."""

    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    """Each packet takes up to so much longer; packets overtake each other by it."""
    loss: float = 0.0
    """Chance of a packet to get lost, 0 to 1."""
    duplication: float = 0.0
    seed: int = 0


@contextmanager
def lossy_line(line: Line) -> Iterator[tuple[Computer, Computer]]:
    """Two computers, 10.99.0.1 and 10.99.0.2, and nothing but this line between them."""
    from tests.support.netns import Computer, destroy, fresh_prefix, ip

    prefix = fresh_prefix()
    pair = Computer(f"{prefix}l1", "10.99.0.1"), Computer(f"{prefix}l2", "10.99.0.2")
    try:
        for computer in pair:
            ip("netns", "add", computer.name)
            ip("-n", computer.name, "link", "set", "lo", "up")
        argv = [sys.executable, __file__, *(c.name for c in pair), json.dumps(dataclasses.asdict(line))]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as carrier:
            try:
                assert carrier.stdout is not None
                assert carrier.stdout.readline() == b"ready\n", "the line is not up"
                for computer in pair:
                    ip("-n", computer.name, "addr", "add", f"{computer.address}/24", "dev", "tun0")
                    ip("-n", computer.name, "link", "set", "tun0", "up", "multicast", "on")
                yield pair
            finally:
                carrier.kill()
    finally:
        for computer in pair:
            destroy(computer)


class Carrier:
    """What is on its way, earliest first."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._random = random.Random(line.seed)
        self._number = itertools.count()
        self._queue: list[tuple[float, int, int, bytes]] = []

    def take(self, packet: bytes, to: int, now: float) -> None:
        """A packet sets off for the device `to`: once, twice or not at all."""
        copies = 1 + (self._random.random() < self._line.duplication)
        for _ in range(copies):
            jitter_ms = self._random.random() * self._line.jitter_ms
            is_lost = self._random.random() < self._line.loss or len(self._queue) >= _QUEUED_PACKETS_MAX
            if not is_lost:
                arrival = now + (self._line.rtt_ms / 2 + jitter_ms) / 1000
                heapq.heappush(self._queue, (arrival, next(self._number), to, packet))

    def arrived(self, now: float) -> Iterator[tuple[int, bytes]]:
        """What has come to its end: (device, packet)."""
        while self._queue and self._queue[0][0] <= now:
            _, _, to, packet = heapq.heappop(self._queue)
            yield to, packet

    def wait_s(self, now: float) -> float | None:
        """How long until something arrives; None while nothing is on its way."""
        return max(0.0, self._queue[0][0] - now) if self._queue else None


def _carry(devices: tuple[int, int], line: Line) -> None:
    carrier = Carrier(line)
    across = {devices[0]: devices[1], devices[1]: devices[0]}
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(carrier.wait_s(time.monotonic())):
                carrier.take(os.read(key.fd, _PACKET_BYTES_MAX), across[key.fd], time.monotonic())
            for to, packet in carrier.arrived(time.monotonic()):
                try:
                    os.write(to, packet)
                except OSError:  # the device is down: lost
                    continue


def _open_tun(namespace: str) -> int:
    """A TUN device named tun0 in this namespace; stays open wherever the process goes next."""
    with open(f"/run/netns/{namespace}") as inside:
        if ctypes.CDLL(None, use_errno=True).setns(inside.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN_NO_PI))
    return device


if __name__ == "__main__":
    opened = _open_tun(sys.argv[1]), _open_tun(sys.argv[2])
    print("ready", flush=True)
    _carry(opened, Line(**json.loads(sys.argv[3])))
