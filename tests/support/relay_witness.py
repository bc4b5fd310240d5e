"""Ordinary clients of a relay that go on talking while something else happens, and how long that took them.

What they do is what daemons do: a sealed message to another's rendezvous id, delivered and acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Final

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Accepted, Auth, Deliver, Ping, Pong, Send, Sent, Sub
from tests.support.relay import FrameClient, RelayProcess, frame_client

PAIRS: Final = 4
PAUSE_S: Final = 0.005
SIGNAL_BYTES: Final = 600
SAMPLES_MIN: Final = 100
NEWCOMER_EVERY_S: Final = 0.25


class Lateness:
    """How late a busy machine lets this process run; the relay beside it fares no better."""

    def __init__(self) -> None:
        self._late_s: list[float] = []

    @property
    def of_a_trip_s(self) -> float:
        """What a round trip may lose by that: each side has to be let run about four times."""
        return 4 * sorted(self._late_s)[int(len(self._late_s) * 0.99)] if self._late_s else 0.0

    async def measure(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + PAUSE_S
            await asyncio.sleep(PAUSE_S)
            self._late_s.append(time.monotonic() - due)


@contextlib.asynccontextmanager
async def lateness() -> AsyncIterator[Lateness]:
    """Measured while the block lasts."""
    measured = Lateness()
    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(measured.measure())
        try:
            yield measured
        finally:
            measuring.cancel()


class Witnesses:
    """Round trips of pairs, and of newcomers who connect, ping and go."""

    def __init__(self, relay: RelayProcess, token: bytes | None) -> None:
        self._relay = relay
        self._token = token
        self.trips_s: list[float] = []
        """SEND until both the other side has it and the relay has said SENT."""
        self.arrivals_s: list[float] = []
        """From connecting to PONG."""
        self.lateness = Lateness()
        self._is_over = False

    def finish(self) -> None:
        """Enough."""
        self._is_over = True

    @property
    def p99_s(self) -> float:
        """Of the round trips; there must be enough of them to speak of one."""
        assert len(self.trips_s) >= SAMPLES_MIN, f"only {len(self.trips_s)} round trips"
        return sorted(self.trips_s)[int(len(self.trips_s) * 0.99)]

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[FrameClient]:
        """Somebody who knows the operator's token, if there is one."""
        async with frame_client(self._relay.url) as made:
            if self._token is not None:
                await made.ask(Auth(self._token), Accepted)
            yield made

    async def talk(self, sender: FrameClient, receiver: FrameClient) -> None:
        """Until `finish`."""
        rid = RendezvousId(os.urandom(16))
        await receiver.send(Sub((rid,)))
        await receiver.ask(Ping(), Pong)
        payload = os.urandom(SIGNAL_BYTES)
        while not self._is_over:
            begun = time.monotonic()
            await sender.send(Send(rid, payload))
            assert await receiver.expect(Deliver) == Deliver(rid, payload)
            await sender.expect(Sent)
            self.trips_s.append(time.monotonic() - begun)
            await asyncio.sleep(PAUSE_S)

    async def come_and_go(self) -> None:
        """Until `finish`."""
        while not self._is_over:
            begun = time.monotonic()
            async with self.client() as newcomer:
                await newcomer.ask(Ping(), Pong)
                self.arrivals_s.append(time.monotonic() - begun)
            await asyncio.sleep(NEWCOMER_EVERY_S)


@contextlib.asynccontextmanager
async def witnesses(relay: RelayProcess, *, token: bytes | None = None) -> AsyncIterator[Witnesses]:
    """They talk while the block lasts; all were served, or this raises."""
    watching = Witnesses(relay, token)
    async with contextlib.AsyncExitStack() as stack:
        pairs = [[await stack.enter_async_context(watching.client()) for _ in range(2)] for _ in range(PAIRS)]
        async with asyncio.TaskGroup() as group:
            for sender, receiver in pairs:
                group.create_task(watching.talk(sender, receiver))
            group.create_task(watching.come_and_go())
            measuring = group.create_task(watching.lateness.measure())
            try:
                yield watching
            finally:
                watching.finish()
                measuring.cancel()
