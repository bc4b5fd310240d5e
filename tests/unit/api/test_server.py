"""The sockets of the local door."""

from __future__ import annotations

import asyncio
import socket

from sheaf.api.server import bind_door


async def test_answers_do_not_wait_for_each_other() -> None:
    """Without TCP_NODELAY an acknowledgement sent after an update is held back for up to 40 ms."""
    door = bind_door(0)
    options: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    servers = [await asyncio.start_server(serve, sock=bound) for bound in door.sockets]
    for bound in door.sockets:
        reader, writer = await asyncio.open_connection(bound.getsockname()[0], door.port)
        assert await reader.read() == b""
        writer.close()
    for server in servers:
        server.close()
    assert len(options) == len(door.sockets)
    assert all(options)
