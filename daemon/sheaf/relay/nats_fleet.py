"""A fleet of relay nodes that share a NATS (port `Fleet`, PROTOCOL §7 "Fleet", decision 0053).

While NATS is away each node goes on alone: its own clients still reach each other, nameplates are
refused, and `is_up` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from nats.aio.msg import Msg

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_words import RelayRefused
from sheaf.relay.fleet import FleetListener, Side
from sheaf.relay.nats_link import NatsLink, refusing
from sheaf.relay.nats_nameplates import NatsNameplates, prepare_nameplates
from sheaf.relay.nats_tunnels import NatsTunnels
from sheaf.relay.nats_words import rendezvous_of, rendezvous_subject

_HANDED_OVER_S: Final = 1.0
"""A node that has taken a message says so at once; one that is silent longer has none who wants it."""


class NatsFleet:
    """One node of the fleet."""

    def __init__(
        self,
        *,
        link: NatsLink,
        node: str,
        url: str,
        replicas: int,
        now: Callable[[], float],
        choose: Callable[[int], int],
    ) -> None:
        """
        Args:
            node: a name for this node, random letters and digits; the fleet orders by it.
            url: where clients reach this very node, past any load balancer.
            now: monotonic seconds.
            choose: `choose(n)` is a random integer from 0 to n - 1.
        """
        self._link = link
        self._node = node
        self._now = now
        self._choose = choose
        self._tunnels = NatsTunnels(link=link, node=node, url=url)
        self._listener: FleetListener | None = None
        self._nameplates: NatsNameplates | None = None
        link.on_up(partial(prepare_nameplates, replicas=replicas))

    @property
    def is_up(self) -> bool:
        """See `Fleet`."""
        return self._link.is_up

    async def start(self, listener: FleetListener) -> None:
        """See `Fleet`. Starts the link, too; returns when it was tried once, even in vain."""
        self._listener = listener
        self._nameplates = NatsNameplates(
            link=self._link,
            node=self._node,
            now=self._now,
            choose=self._choose,
            listener=listener,
        )
        await self._nameplates.start()
        await self._link.start()

    async def close(self) -> None:
        """See `Fleet`. Ends the link, too."""
        if self._nameplates is not None:
            await self._nameplates.close()
        await self._link.close()

    async def tick(self) -> None:
        """See `Fleet`."""
        self._plates.tick()

    # ------------------------------------------------------------------ rendezvous

    async def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """See `Fleet`. While NATS is away they count at this node, and everywhere once it is back."""
        with suppress(RelayRefused):
            for rid in rids:
                await self._link.listen(rendezvous_subject(rid), self._take, is_quick=True)
            await self._link.settle()

    async def unsubscribe(self, rids: Sequence[RendezvousId]) -> None:
        """See `Fleet`."""
        for rid in rids:
            await self._link.unlisten(rendezvous_subject(rid))

    async def send(self, rid: RendezvousId, payload: bytes) -> bool:
        """See `Fleet`."""
        assert self._listener is not None
        is_here = self._listener.deliver(rid, payload)
        if not self._link.is_up:
            return is_here
        subject = rendezvous_subject(rid)
        try:
            if is_here:
                await self._link.publish(subject, payload)
                return True
            return await self._link.ask(subject, payload, _HANDED_OVER_S) is not None
        except RelayRefused:
            return is_here

    async def _take(self, message: Msg) -> None:
        assert self._listener is not None
        rid = rendezvous_of(message.subject)  # it came to a subject of our own making
        if self._listener.deliver(rid, message.data) and message.reply:
            with suppress(RelayRefused), refusing():
                await message.respond(b"")

    # ------------------------------------------------------------------ nameplates and tunnels

    @property
    def _plates(self) -> NatsNameplates:
        assert self._nameplates is not None
        return self._nameplates

    async def allocate_nameplate(self, side: Side) -> int:
        """See `Fleet`."""
        return await self._plates.allocate(side)

    async def claim_nameplate(self, number: int, side: Side) -> None:
        """See `Fleet`."""
        await self._plates.claim(number, side)

    async def say(self, number: int, side: Side, payload: bytes) -> None:
        """See `Fleet`."""
        await self._plates.say(number, side, payload)

    async def release_nameplate(self, number: int, side: Side) -> None:
        """See `Fleet`."""
        self._plates.release(number, side)

    async def hold_tunnel(self, token: bytes) -> str | None:
        """See `Fleet`."""
        return await self._tunnels.hold(token)

    async def drop_tunnel(self, token: bytes) -> None:
        """See `Fleet`."""
        await self._tunnels.drop(token)
