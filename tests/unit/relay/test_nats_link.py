"""A node goes on looking for its NATS, whatever answers there meanwhile (decision 0052)."""

from __future__ import annotations

import asyncio

import pytest

from sheaf.relay.nats_address import parse_nats_address
from sheaf.relay.nats_link import NatsLink


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(b"x" * 300_000, id="endless line"),
        b"INFO []\r\n",
        b"INFO null\r\n",
        b"INFO {\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\r\n",
        b"",
    ],
)
async def test_what_is_no_nats_is_tried_again_and_again(greeting: bytes) -> None:
    visits = asyncio.Queue[None]()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.put_nowait(None)
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = NatsLink(address=parse_nats_address(f"nats://127.0.0.1:{port}"), name="node")
    try:
        async with asyncio.timeout(20):
            await link.start()
            for _ in range(3):
                await visits.get()
        assert not link.is_up
        assert link.problem is not None
    finally:
        await link.close()
        server.close()
