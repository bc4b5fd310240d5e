"""What a web server that is no relay says of itself is cut short before people see it (PROTOCOL §7)."""

from __future__ import annotations

import asyncio

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver


@pytest.mark.parametrize(
    "head",
    [
        b"302 Found\r\nLocation: http://192.168.1.1/" + b"a" * 5000,
        b"101 Switching Protocols\r\nUpgrade: \x9b31m" + b"ALL IS WELL. " * 300,
    ],
    ids=["elsewhere", "odd headers"],
)
async def test_a_strangers_words_are_short_and_plain(head: bytes) -> None:
    visits: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(TransportFailure) as caught:
            await RelayDoor(resolver=Resolver()).open(RelayUrl.parse(f"ws://127.0.0.1:{port}"))
    finally:
        server.close()
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert len(visits) == 1
