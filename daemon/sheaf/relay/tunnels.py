"""Byte tunnels through the relay: two connections that showed the same token are joined (PROTOCOL §7).

Nothing is stored: what one side sends is written to the other before the next is read. The bytes are
TLS of the two devices, opaque here. Decision 0047.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.limits import KIB
from sheaf.core.wire.relay_frames import TunnelElsewhere, TunnelJoined
from sheaf.core.wire.relay_words import TUNNEL_BYTES_MAX, ErrorCode
from sheaf.relay.client import Client
from sheaf.relay.fleet import Fleet
from sheaf.relay.limits import Budget, RelayLimits
from sheaf.relay.metrics import RelayMetrics

MESSAGES_IN_A_ROW: Final = 16
MESSAGE_BYTES: Final = 4 * KIB
"""What a message counts for beyond its bytes: an empty one costs the relay as much as some thousands.
Daemons that have much to say put 32 KiB into each."""


class Tunnels:
    """Those who wait for their other side, and those who have it.

    Invariants:
    1. A token joins two connections and is then forgotten.
    2. At most one message per direction is in the relay besides what the sockets' buffers hold.
    3. When one side ends, so does the other.
    """

    def __init__(
        self, *, fleet: Fleet, limits: RelayLimits, metrics: RelayMetrics, now: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._limits = limits
        self._metrics = metrics
        self._now = now
        self._waiting: dict[bytes, tuple[Client, asyncio.Future[Client]]] = {}
        self._open = 0

    async def join(self, client: Client, token: bytes) -> None:
        """Serve `client` as one side, to its end."""
        first = self._waiting.pop(token, None)
        if first is not None:
            other, arrival = first
            arrival.set_result(client)
            await self._run(client, other)
        elif self._open // 2 + len(self._waiting) >= self._limits.tunnels_max:
            await self._turn_away(client, ErrorCode.TOO_MUCH)
        else:
            await self._wait(client, token)

    async def _wait(self, client: Client, token: bytes) -> None:
        """Be the first side: until the other comes, or is found to wait at another node."""
        arrival: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._waiting[token] = (client, arrival)
        self._metrics.tunnels_waiting.set(len(self._waiting))
        lost = client.is_lost()
        try:
            url = await self._fleet.hold_tunnel(token)
            if url is None and not arrival.done():
                waited: list[asyncio.Future[Any]] = [arrival, lost]
                await asyncio.wait(
                    waited,
                    timeout=self._limits.tunnel_wait_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            if self._waiting.get(token) == (client, arrival):
                del self._waiting[token]
            self._metrics.tunnels_waiting.set(len(self._waiting))
            await self._fleet.drop_tunnel(token)
        if arrival.done():
            await self._run(client, arrival.result())
        elif url is not None:
            client.push(TunnelElsewhere(url))
            await client.close()
        elif not lost.done():
            await self._turn_away(client, ErrorCode.NOT_HERE)

    async def _run(self, client: Client, other: Client) -> None:
        """Pass on what `client` sends; the other side's own task does the same in its direction."""
        client.push(TunnelJoined())
        client.is_tunnel = True
        self._open += 1
        self._metrics.tunnels.set(self._open // 2)
        try:
            await self._pump(client, other)
        except (WireError, TransportFailure):
            pass  # (3) says the rest
        finally:
            self._open -= 1
            self._metrics.tunnels.set(self._open // 2)
            await other.close()

    async def _pump(self, source: Client, sink: Client) -> None:
        limits, now = self._limits, self._now
        budget = Budget(burst=limits.tunnel_bytes_burst, now=now())
        passed = 0
        while (data := await source.receive_raw()) is not None:
            passed += 1
            if passed % MESSAGES_IN_A_ROW == 0:
                await asyncio.sleep(0)  # what has come already is read without giving anybody else a turn
            source.heard_at = now()
            if len(data) > TUNNEL_BYTES_MAX:
                return
            await sink.send_raw(data)  # (2)
            self._metrics.tunnel_bytes.inc(len(data))
            cost = len(data) + MESSAGE_BYTES
            wait_s = budget.spend(
                cost, source.heard_at, burst=limits.tunnel_bytes_burst, per_s=limits.tunnel_bytes_per_s
            )
            if wait_s > 0:
                await asyncio.sleep(wait_s)

    async def _turn_away(self, client: Client, code: ErrorCode) -> None:
        self._metrics.ended(code)
        await client.say_last(code)
