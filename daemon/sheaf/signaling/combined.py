"""One `Signaling` over the local network and relays: the address says which way a message goes.

An address that starts with ws:// or wss:// is a relay, any other the 'host:port' of a daemon's listener.
PROTOCOL §6. Knows what goes where, and nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_url import is_relay_address
from sheaf.ports import SignalHandler, SignalRoute
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.relay_client import RelayClient
from sheaf.signaling.relay_pool import RelayConnections


class CombinedSignaling:
    """The `Signaling` port over both."""

    def __init__(self, *, lan: LanSignaling, relays: RelayConnections) -> None:
        self._lan = lan
        self._relays = relays

    def set_handler(self, handler: SignalHandler) -> None:
        """Who is told of messages; it only enqueues."""
        self._lan.set_handler(handler)
        self._relays.set_handler(handler)

    def subscribe(
        self, rids: Sequence[RendezvousId], at_relays: Mapping[str, Sequence[RendezvousId]] | None = None
    ) -> None:
        """The complete set of rids this daemon answers to, and those of each relay."""
        self._lan.subscribe(rids)
        for url, its_rids in (at_relays or {}).items():
            self._relays.subscribe(url, its_rids)

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send to a listener or over a relay; None when nobody there answers to `rid`.

        Raises:
            TransportFailure: not reachable.
        """
        if is_relay_address(address):
            return await self._relays.send(address, rid, sealed)
        return await self._lan.send(address, rid, sealed)

    async def reply(self, route: SignalRoute, rid: RendezvousId, sealed: bytes) -> bool:
        """Send back along `route`; False when that connection is gone or nobody takes it."""
        match route.key:
            case RelayClient() as relay:
                try:
                    return await relay.send(rid, sealed)
                except TransportFailure:
                    return False
            case _:
                return await self._lan.reply(route, rid, sealed)

    def network_changed(self) -> None:
        """Addresses of this machine came or went."""
        self._lan.network_changed()
        self._relays.network_changed()

    @property
    def refused(self) -> Mapping[str, int]:
        """How many connections to the LAN listener came to nothing, by reason."""
        return self._lan.refused

    @property
    def listening(self) -> str | None:
        """host:port of the LAN listener, None when off."""
        return self._lan.listening

    async def close(self) -> None:
        """End both. Idempotent."""
        await self._relays.close()
        await self._lan.close()
