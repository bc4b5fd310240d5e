"""What the daemon's relay clients need of the world, for tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.ports import RelayState
from sheaf.signaling.relay_client import RelayClient, RelayTiming, RelayWorld
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver
from sheaf.task_set import TaskSet
from tests.support.nodes import until
from tests.support.scripted_relay import WELCOME, Caller, Script, ScriptedRelay, scripted_relay

CALM = RelayTiming(backoff_first_s=0.01, backoff_s_max=0.05, refused_s_min=0.02)
"""Comes back quickly, and is in no hurry with pings."""


def relay_world(timing: RelayTiming = CALM) -> RelayWorld:
    """With the real clock, the real resolver, and no chance."""
    return RelayWorld(
        door=RelayDoor(resolver=Resolver()),
        now=time.monotonic,
        wall_ms=lambda: 1,
        chance=lambda: 0.5,
        timing=timing,
    )


class Held:
    """A running client and what it told."""

    def __init__(self, client: RelayClient) -> None:
        self.client = client
        self.delivered: list[tuple[RendezvousId, bytes]] = []
        self.states: list[RelayState] = []


@asynccontextmanager
async def running(url: str, timing: RelayTiming = CALM) -> AsyncIterator[Held]:
    tasks = TaskSet("test")
    held: Held
    client = RelayClient(
        url=RelayUrl.parse(url),
        world=relay_world(timing),
        on_delivery=lambda rid, payload, _: held.delivered.append((rid, payload)),
        on_change=lambda: held.states.append(held.client.status.state),
    )
    held = Held(client)
    tasks.spawn(client.run(), "relay")
    try:
        yield held
    finally:
        await tasks.close()


async def connected(held: Held) -> RelayClient:
    await until(lambda: held.client.is_connected)
    return held.client


@asynccontextmanager
async def talking(script: Script, timing: RelayTiming = CALM) -> AsyncIterator[tuple[Held, ScriptedRelay]]:
    """A relay that says WELCOME and then follows the script; the client is connected."""

    async def welcome_first(caller: Caller) -> None:
        await caller.socket.send(WELCOME)
        await script(caller)

    async with scripted_relay(welcome_first) as relay, running(relay.url, timing) as held:
        await connected(held)
        yield held, relay
