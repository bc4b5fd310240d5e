"""A relay that does what a test tells it to, lies included: for tests of the client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve

from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX, RIDS_MAX
from sheaf.core.wire.relay_frames import Frame, Ping, Pong, Sub, Unsub, Welcome
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX, RELAY_VERSION
from sheaf.signaling.websocket import FrameSocket

WELCOME = Welcome(RELAY_VERSION, False, ITEM_BYTES_MAX, 2**26, RIDS_MAX, 0)


@dataclass
class Caller:
    """One connection as the relay sees it."""

    socket: FrameSocket
    heard: list[Frame] = field(default_factory=list)
    is_answering_pings: bool = True

    async def next(self) -> Frame:
        """The next frame but PING, which is answered (or not) on the way."""
        while True:
            async with asyncio.timeout(5):
                frame = await self.socket.receive()
            assert frame is not None, "the client hung up"
            self.heard.append(frame)
            if not isinstance(frame, Ping):
                return frame
            if self.is_answering_pings:
                await self.socket.send(Pong())

    async def past_subscriptions(self) -> Frame:
        """The next frame that is neither SUB nor UNSUB."""
        while isinstance(frame := await self.next(), Sub | Unsub):
            pass
        return frame

    async def gone(self) -> None:
        """Until the client has hung up."""
        async with asyncio.timeout(5):
            while await self.socket.receive() is not None:
                pass


Script = Callable[[Caller], Awaitable[None]]


def after_welcome(script: Script) -> Script:
    """The script of a relay that begins as it should."""

    async def welcome_first(caller: Caller) -> None:
        await caller.socket.send(WELCOME)
        await script(caller)

    return welcome_first


async def listen(caller: Caller) -> None:
    """A script: take whatever comes."""
    while True:
        await caller.next()


class ScriptedRelay:
    """Runs `script` for each connection; `count` is how many there have been."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.count = 0
        self.url = ""
        self.callers: list[Caller] = []

    async def serve(self, connection: ServerConnection) -> None:
        self.count += 1
        caller = Caller(FrameSocket(connection, "client", frame_bytes_max=RELAY_FRAME_BYTES_MAX))
        self.callers.append(caller)
        await self.script(caller)


@asynccontextmanager
async def scripted_relay(
    script: Script, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRelay]:
    """A relay on loopback that follows `script`, which begins with WELCOME if it likes."""
    relay = ScriptedRelay(script)
    async with serve(
        relay.serve,
        "127.0.0.1",
        port,
        max_size=RELAY_FRAME_BYTES_MAX,
        compression=None,
        ping_interval=None,
        close_timeout=0.2,
        ssl=tls,
    ) as server:
        relay.url = (
            f"{'ws' if tls is None else 'wss'}://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        )
        yield relay
