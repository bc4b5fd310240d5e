"""Pairs of joined channels of every kind, and a receiver that can be waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sheaf.core.wire.relay_frames import TunnelJoin, TunnelJoined
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.ports import Channel, TunnelDescription
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver
from sheaf.signaling.websocket import dial_tunnel
from sheaf.transport.memory import memory_pair
from sheaf.transport.tls import TlsIdentity
from sheaf.transport.tunnel import Tunnel
from sheaf.transport.webrtc import WebRtc
from tests.support.scripted_relay import WELCOME, Caller, scripted_relay

WAIT_S_MAX = 10.0
Pair = tuple[Channel, Channel]


class Recorder:
    """A channel receiver that remembers what it was told."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.writables = 0
        self.farewells: list[str] = []
        self._changed = asyncio.Event()

    def frame_received(self, frame: bytes) -> None:
        assert not self.farewells, "a frame after the farewell"
        self.frames.append(frame)
        self._changed.set()

    def writable(self) -> None:
        self.writables += 1
        self._changed.set()

    def channel_closed(self, reason: str) -> None:
        self.farewells.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at after every event."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not condition():  # noqa: ASYNC110  # the condition has no event of its own
            await asyncio.sleep(0.001)


@asynccontextmanager
async def memory_channels() -> AsyncIterator[Pair]:
    one, two = memory_pair()
    yield one, two
    await one.close()
    await two.close()


@asynccontextmanager
async def webrtc_channels() -> AsyncIterator[Pair]:
    """Over 127.0.0.1, so it needs no network."""
    here, there = WebRtc(addresses=lambda: ["127.0.0.1"]), WebRtc(addresses=lambda: ["127.0.0.1"])
    try:
        yield await join_webrtc(here, there)
    finally:
        await here.close()
        await there.close()


async def join_webrtc(here: WebRtc, there: WebRtc) -> Pair:
    offer = await here.offer()
    answer = await there.answer(offer.description)
    return await asyncio.gather(offer.connect(answer.description), answer.connect())


@asynccontextmanager
async def tunnel_channels() -> AsyncIterator[Pair]:
    here = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel)
    there = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel)
    listener = LanSignaling(door=there)
    await listener.listen("127.0.0.1", 0)
    try:
        yield await join_tunnel(here, there, listener)
    finally:
        await here.close()
        await there.close()
        await listener.close()


async def join_tunnel(here: Tunnel, there: Tunnel, listener: LanSignaling) -> Pair:
    token = os.urandom(16)
    expectation = there.expect(token, here.fingerprint)
    assert listener.listening is not None
    dialled = here.connect(listener.listening, TunnelDescription(there.fingerprint, token))
    return await asyncio.gather(dialled, expectation.channel())


@asynccontextmanager
async def relay_channels() -> AsyncIterator[Pair]:
    """Through a relay that does nothing but join tunnels."""
    callers: list[Caller] = []
    both = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.socket.send(WELCOME)
        assert isinstance(await caller.next(), TunnelJoin)
        callers.append(caller)
        if len(callers) == 2:
            both.set()
        await both.wait()
        other = next(each for each in callers if each is not caller)
        await caller.socket.send(TunnelJoined())
        while (data := await caller.socket.receive_raw()) is not None:
            await other.socket.send_raw(data)
        await other.socket.close()

    async with scripted_relay(script) as relay:
        url = RelayUrl.parse(relay.url)
        door = RelayDoor(resolver=Resolver())
        here, there = (
            Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel, join=lambda _, token: door.join(url, token))
            for _ in range(2)
        )
        token = os.urandom(16)
        try:
            yield await asyncio.gather(
                here.meet(relay.url, TunnelDescription(there.fingerprint, token), is_offerer=True),
                there.meet(relay.url, TunnelDescription(here.fingerprint, token), is_offerer=False),
            )
        finally:
            await here.close()
            await there.close()


CHANNEL_KINDS = {
    "memory": memory_channels,
    "webrtc": webrtc_channels,
    "tunnel": tunnel_channels,
    "relay": relay_channels,
}
