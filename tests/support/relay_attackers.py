"""Attackers of a relay: `python -m tests.support.relay_attackers KIND PORT COUNT SECONDS`.

`dawdle`: connections that never finish what they begin, or never say the token; how long each was borne.
`flood …`: as many small messages as the relay takes from each connection, and more; who is let go comes
again half a second later, which is as often as one address may. A process apart from whoever measures, so
that an attack slows the relay and not the stop-watch. Prints `{"event": "begun"}`, and what it did at last.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections import Counter
from typing import Final

from sheaf.core.wire.relay_frames import Ping, TunnelJoin, TunnelJoined, encode_frame
from tests.support.raw_websocket import BINARY, RawWebSocket, handshake, masked, open_raw

WAYS: Final = ("silent", "drip", "half", "mute", "drip-frame", "half-frame", "stranger")
DRIP_S: Final = 0.2
AGAIN_S: Final = 0.5
BATCH_BYTES: Final = 256 * 1024
PING_OPCODE, PONG_OPCODE, CONTINUATION = 9, 10, 0
REQUEST: Final = handshake()
PING_FRAME: Final = masked(encode_frame(Ping()))
FIRST_FRAGMENT: Final = bytes([BINARY, 0x80]) + bytes(4)
NEXT_FRAGMENT: Final = bytes([CONTINUATION, 0x80]) + bytes(4)
DRIPS: Final = {"drip": REQUEST, "drip-frame": masked(bytes(1000))}
"""Sent byte by byte, too slowly."""
FIRST_WORDS: Final = {"mute": b"", "drip-frame": b"", "half-frame": PING_FRAME[:-1], "stranger": PING_FRAME}
"""After the handshake."""
FLOODS: Final = {
    "frames": (b"", PING_FRAME),
    "control-pings": (b"", masked(b"", PING_OPCODE)),
    "control-pongs": (b"", masked(b"", PONG_OPCODE)),
    "fragments": (FIRST_FRAGMENT, NEXT_FRAGMENT),
    "tunnel-bytes": (b"", masked(b"x")),
}
"""What is sent first, and then again and again."""


async def dawdle(port: int, count: int, seconds: float) -> None:
    """`count` connections, each in one of the `WAYS`; none ever sends a whole first frame."""
    borne: dict[str, list[float]] = {way: [] for way in WAYS}
    alive: Counter[str] = Counter()
    begun = 0

    async def one(way: str) -> None:
        nonlocal begun
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_connection(lambda: RawWebSocket(lambda *_: None), "127.0.0.1", port)
            await _begin(wire, way)
        except OSError:
            borne[way].append(0.0)  # ended while it began
            return
        began, step = time.monotonic(), 0
        begun += 1
        if begun == count:
            print(json.dumps({"event": "begun"}), flush=True)
        while not wire.ended.done() and time.monotonic() < began + seconds:
            await asyncio.wait([wire.ended], timeout=DRIP_S)
            step += 1
            if not wire.ended.done() and way in DRIPS:
                wire.transport.write(DRIPS[way][step : step + 1])
        if wire.ended.done():
            borne[way].append(time.monotonic() - began)
        else:
            alive[way] += 1
            wire.transport.abort()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(WAYS[number % len(WAYS)]))
    print(json.dumps({"borne_s": borne, "alive": alive}))


async def _begin(wire: RawWebSocket, way: str) -> None:
    """Go as far as this way goes."""
    if way == "half":
        wire.transport.write(REQUEST[:-2])
    elif way in FIRST_WORDS:
        wire.transport.write(REQUEST)
        await wire.opened
        wire.transport.write(FIRST_WORDS[way])


async def _tunnel(port: int) -> RawWebSocket:
    """One end of a tunnel whose other end reads everything."""
    join, joined = encode_frame(TunnelJoin(os.urandom(16))), asyncio.get_running_loop().create_future()

    def receive(_: RawWebSocket, message: bytes) -> None:
        if message == encode_frame(TunnelJoined()) and not joined.done():
            joined.set_result(None)

    ends = [await open_raw(_here(port), receive) for _ in range(2)]
    for end in ends:
        end.send(join)
    await joined
    return ends[0]


def _here(port: int) -> tuple[str, int]:
    return "127.0.0.1", port


def _nothing(_: RawWebSocket, message: bytes) -> None:
    del message


async def flood(port: int, count: int, seconds: float, kind: str) -> None:
    """`count` connections at a time that send as fast as the relay reads; answers are thrown away."""
    first, again = FLOODS[kind]
    batch = again * (BATCH_BYTES // len(again))
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        while True:
            wire = await (_tunnel(port) if kind == "tunnel-bytes" else open_raw(_here(port), _nothing))
            wire.transport.set_write_buffer_limits(high=0)
            wire.transport.write(first)
            outcomes["begun"] += 1
            try:
                while not wire.ended.done():
                    wire.transport.write(batch)
                    outcomes["sent"] += len(batch) // len(again)
                    await wire.drain()
                    await asyncio.sleep(0)  # lets it be noticed that the relay has ended it
                outcomes["ended"] += 1
            finally:
                if not wire.ended.done():
                    wire.transport.abort()
            await asyncio.sleep(AGAIN_S)

    print(json.dumps({"event": "begun"}), flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
    print(json.dumps(outcomes))


def main() -> None:
    """Attack once."""
    gc.disable()
    match sys.argv[1:]:
        case ["dawdle", port, count, seconds]:
            asyncio.run(dawdle(int(port), int(count), float(seconds)))
        case ["flood", port, count, seconds, kind]:
            asyncio.run(flood(int(port), int(count), float(seconds), kind))
        case words:
            raise SystemExit(f"no such attack: {words}")


if __name__ == "__main__":
    main()
