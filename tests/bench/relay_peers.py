"""What a relay is measured beside, each a process of its own: `python -m tests.bench.relay_peers KIND …`.

`websockets`: the library with the relay's settings and nothing behind it: /echo sends messages back, /pass
gives them to a partner and answers the sender with two bytes. `proxy`: a TCP proxy of asyncio streams; the
first two bytes of a connection name the port to go to. `relay DIRECTORY`: the relay itself with the limits
on frames and tunnel bytes lifted, where those would be measured instead. `sqlite FILE` and `nats URL`: bare
commits and publishes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import nats
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from sheaf.clock import SystemClock, system_entropy
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX
from sheaf.relay.limits import RelayLimits
from sheaf.relay.run import Relay, RelaySettings

CHUNK_BYTES: Final = 64 * 1024
UNLIMITED: Final = 1e12
SUBJECT: Final = "bare"


def ready(port: int) -> None:
    """Said once it serves."""
    print(json.dumps({"event": "ready", "port": port}), flush=True)


async def bare_websockets() -> None:
    """Until it is killed."""
    partners: list[ServerConnection] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        try:
            if connection.request.path == "/echo":
                async for message in connection:
                    await connection.send(message)
                return
            number = len(partners)
            partners.append(connection)
            async for message in connection:
                await partners[number ^ 1].send(message)
                await connection.send(b"ok")
        except ConnectionClosed:
            return

    async with serve(
        answer,
        "127.0.0.1",
        0,
        compression=None,
        ping_interval=None,
        max_size=RELAY_FRAME_BYTES_MAX,
        max_queue=(2, 1),
        server_header=None,
        backlog=1024,
    ) as server:
        ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def proxy() -> None:
    """Until it is killed."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int.from_bytes(await reader.readexactly(2), "big")
        there = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, there[1]))
                group.create_task(pump(there[0], writer))
        except* OSError:
            pass  # one side is gone: so is the other

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def unlimited_relay(directory: Path) -> None:
    """Until it is killed."""
    limits = replace(RelayLimits(), tunnel_bytes_per_s=UNLIMITED, frames_per_s=UNLIMITED)
    settings = RelaySettings(
        store=f"sqlite:{directory / 'relay.sqlite3'}", listen="127.0.0.1:0", stun_port=0, limits=limits
    )
    relay = Relay(settings, clock=SystemClock(), entropy=system_entropy)
    ready((await relay.start()).port)
    await asyncio.Event().wait()


def bare_sqlite(path: Path, item_bytes: int, seconds: float) -> None:
    """One INSERT and one COMMIT after the other, with the relay's settings."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, hash BLOB UNIQUE, data BLOB) STRICT")
    done, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        connection.execute(
            "INSERT INTO item (hash, data) VALUES (?, ?)", (os.urandom(32), os.urandom(item_bytes))
        )
        done += 1
    print(json.dumps({"done": done, "seconds": time.monotonic() - began}))


async def bare_nats(url: str, item_bytes: int, seconds: float, writers: int) -> None:
    """`writers` publishes to a JetStream stream at a time, each waiting for its acknowledgement."""
    connection = await nats.connect(url)
    stream = connection.jetstream()
    await stream.add_stream(name=SUBJECT, subjects=[f"{SUBJECT}.>"])
    done, began = 0, time.monotonic()

    async def write(number: int) -> None:
        nonlocal done
        while time.monotonic() < began + seconds:
            await stream.publish(f"{SUBJECT}.{number}", os.urandom(item_bytes))
            done += 1

    async with asyncio.TaskGroup() as group:
        for number in range(writers):
            group.create_task(write(number))
    print(json.dumps({"done": done, "seconds": time.monotonic() - began}))
    await stream.delete_stream(SUBJECT)
    await connection.close()


def main() -> None:
    """Be one of them."""
    match sys.argv[1:]:
        case ["websockets"]:
            asyncio.run(bare_websockets())
        case ["proxy"]:
            asyncio.run(proxy())
        case ["relay", directory]:
            asyncio.run(unlimited_relay(Path(directory)))
        case ["sqlite", path, item_bytes, seconds]:
            bare_sqlite(Path(path), int(item_bytes), float(seconds))
        case ["nats", url, item_bytes, seconds, writers]:
            asyncio.run(bare_nats(url, int(item_bytes), float(seconds), int(writers)))
        case words:
            raise SystemExit(f"no such peer: {words}")


if __name__ == "__main__":
    main()
