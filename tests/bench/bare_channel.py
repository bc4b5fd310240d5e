"""What an aiortc data channel carries with nothing above it, between two processes.

`python -m tests.bench.bare_channel offer|answer` is one end: descriptions go over standard input
and output as JSON lines, then the answering end sends and the offering one says how fast it came.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from tests.support.repository import ROOT

LOW_WATER_BYTES = 64 * 1024
LIMIT_S = 60.0


def measure(total_bytes: int, frame_bytes: int) -> float:
    """Bytes per second from process to process, on one ordered, reliable channel."""
    ends = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bare_channel", role, str(total_bytes), str(frame_bytes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for role in ("offer", "answer")
    ]
    offering, answering = ends
    try:
        _carry(offering, answering)
        _carry(answering, offering)
        assert offering.stdout is not None
        return float(json.loads(offering.stdout.readline())["bytes_per_s"])
    finally:
        for end in ends:
            end.kill()
            end.wait()
            for pipe in (end.stdin, end.stdout):
                assert pipe is not None
                pipe.close()


def _carry(source: subprocess.Popen[str], target: subprocess.Popen[str]) -> None:
    assert source.stdout is not None
    assert target.stdin is not None
    target.stdin.write(source.stdout.readline())
    target.stdin.flush()


async def _offer(total_bytes: int) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = connection.createDataChannel("bulk")
    finished: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    received, began = 0, 0.0

    @channel.on("message")
    def on_message(frame: bytes) -> None:
        nonlocal received, began
        if received == 0:
            began = time.perf_counter()
        received += len(frame)
        if received >= total_bytes:
            finished.set_result(received / (time.perf_counter() - began))

    await connection.setLocalDescription(await connection.createOffer())
    _say(connection)
    await connection.setRemoteDescription(await _hear())
    print(json.dumps({"bytes_per_s": await finished}), flush=True)


async def _answer(total_bytes: int, frame_bytes: int) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    opened: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
    connection.on("datachannel", opened.set_result)
    await connection.setRemoteDescription(await _hear())
    await connection.setLocalDescription(await connection.createAnswer())
    _say(connection)
    channel = await opened
    drained = asyncio.Event()
    channel.bufferedAmountLowThreshold = LOW_WATER_BYTES
    channel.on("bufferedamountlow", drained.set)
    frame, sent = b"\xa5" * frame_bytes, 0
    while sent < total_bytes:
        while channel.bufferedAmount > LOW_WATER_BYTES:
            drained.clear()
            await drained.wait()
        channel.send(frame)
        sent += len(frame)
    await asyncio.sleep(LIMIT_S)  # until the other end has it all, and we are killed


def _say(connection: RTCPeerConnection) -> None:
    description = connection.localDescription
    print(json.dumps({"sdp": description.sdp, "type": description.type}), flush=True)


async def _hear() -> RTCSessionDescription:
    line = await asyncio.to_thread(sys.stdin.readline)
    return RTCSessionDescription(**json.loads(line))


async def _main() -> None:
    role, total_bytes, frame_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    async with asyncio.timeout(LIMIT_S):
        await (_offer(total_bytes) if role == "offer" else _answer(total_bytes, frame_bytes))


if __name__ == "__main__":
    asyncio.run(_main())
