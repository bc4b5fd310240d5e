"""Signalling on the LAN: the listener and the dialled connections as one `Signaling` port.

Knows which rendezvous ids this daemon answers to, and nothing else about them.
PROTOCOL §6; decision 0017: the dialler does not announce its own rendezvous ids to the
listener. An answer to a dialler is delivered on its connection whatever the id, and the
dialler itself checks that the id is one of its own; so a stranger that is dialled learns
one id, the one it was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import SIGNAL_BYTES_MAX
from sheaf.core.wire.relay_frames import Deliver
from sheaf.ports import SignalHandler, SignalRoute, TunnelDoor
from sheaf.signaling.admission import ListenerLimits
from sheaf.signaling.lan_client import LanClient, LanConnection
from sheaf.signaling.lan_listener import LanListener
from sheaf.signaling.resolver import Resolver
from sheaf.signaling.websocket import FrameSocket
from sheaf.task_set import TaskSet


class LanSignaling:
    """The `Signaling` port over WebSockets between daemons.

    Args:
        door: who takes tunnels that are joined at the listener; None refuses them all.
        limits: what the listener bears.
        resolver: looks up the names among the addresses dialled.
        now: monotonic seconds.
    """

    def __init__(
        self,
        *,
        door: TunnelDoor | None = None,
        limits: ListenerLimits | None = None,
        resolver: Resolver | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = TaskSet("lan signalling")
        self._handler: SignalHandler | None = None
        self._rids: frozenset[RendezvousId] = frozenset()
        self._listener = LanListener(
            limits=limits or ListenerLimits(), on_message=self._accepted, door=door, now=now
        )
        self._client = LanClient(
            on_delivery=self._delivered, tasks=self._tasks, resolver=resolver or Resolver()
        )

    async def listen(self, host: str = "", port: int = 0) -> None:
        """Start the listener; without it this daemon can dial but not be dialled.

        Raises:
            TransportFailure: the address cannot be had.
        """
        await self._listener.start(host, port)

    def set_handler(self, handler: SignalHandler) -> None:
        """Who is told of messages; it only enqueues."""
        self._handler = handler

    def subscribe(
        self, rids: Sequence[RendezvousId], at_relays: Mapping[str, Sequence[RendezvousId]] | None = None
    ) -> None:
        """The complete set of rids this daemon answers to; relays are not known here."""
        self._rids = frozenset(rids)

    async def send(self, address: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send to the listener at `host:port`; None when nobody there answers to `rid`.

        Raises:
            TransportFailure: not reachable within 3 s.
        """
        assert len(sealed) <= SIGNAL_BYTES_MAX, f"signalling message of {len(sealed)} bytes"
        connection = await self._client.connection(address)
        if not await connection.send(rid, sealed):
            return None
        return _dialled(connection)

    async def reply(self, route: SignalRoute, rid: RendezvousId, sealed: bytes) -> bool:
        """Send back along `route`; False when that connection is gone or nobody takes it."""
        assert len(sealed) <= SIGNAL_BYTES_MAX, f"signalling message of {len(sealed)} bytes"
        try:
            match route.key:
                case LanConnection() as connection:
                    return await connection.send(rid, sealed)
                case FrameSocket() as socket:
                    await socket.send(Deliver(rid, sealed))
                    return True
        except TransportFailure:
            return False
        raise AssertionError("a route of another signalling")

    def network_changed(self) -> None:
        """Addresses came or went: dial anew rather than wait 3 s for a connection from an old one."""
        self._client.forget()

    @property
    def refused(self) -> Mapping[str, int]:
        """How many connections to the listener came to nothing, by reason; every reason is there."""
        return self._listener.refused

    @property
    def listening(self) -> str | None:
        """host:port of the listener, None when off."""
        return self._listener.address

    async def close(self) -> None:
        """Stop listening and close every connection. Idempotent."""
        self._client.close()
        await self._listener.close()
        await self._tasks.close()

    def _accepted(self, rid: RendezvousId, sealed: bytes, socket: FrameSocket) -> bool:
        if self._handler is None or rid not in self._rids:
            return False
        self._handler(rid, sealed, SignalRoute(label=socket.label, address=None, key=socket))
        return True

    def _delivered(self, rid: RendezvousId, sealed: bytes, connection: LanConnection) -> None:
        if self._handler is not None and rid in self._rids:
            self._handler(rid, sealed, _dialled(connection))


def _dialled(connection: LanConnection) -> SignalRoute:
    return SignalRoute(label=connection.address, address=connection.address, key=connection)
