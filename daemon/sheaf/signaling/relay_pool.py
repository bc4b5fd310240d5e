"""The relays this daemon uses at the moment (the `RelayPool` port), and signalling over them.

Each relay is told only the rendezvous ids that belong to it. Operator tokens stay in here: everything
outside names relays by their public address. PROTOCOL §6, §7. Must not know spaces or peers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import SIGNAL_BYTES_MAX
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.ports import ByteStream, Relay, SignalHandler, SignalRoute
from sheaf.signaling.relay_client import RelayClient, RelayWorld
from sheaf.task_set import TaskSet

POOL_MAX: Final = 8
"""Relays at a time; those further down the list wait until there is room."""

logger = structlog.get_logger("sheaf.relays")


class RelayConnections:
    """See the module.

    Args:
        own: the relays this daemon was told of itself, tokens included.

    Invariants:
    1. At most `POOL_MAX` connections, one per relay.
    2. A message is handed on only if its rid was subscribed at that very relay.
    """

    def __init__(self, *, world: RelayWorld, own: Iterable[RelayUrl] = ()) -> None:
        self._world = world
        self._tokens = {url.text: url.token for url in own}
        self._clients: dict[str, RelayClient] = {}
        self._tasks: dict[str, TaskSet] = {}
        self._endings = TaskSet("relays")
        self._rids: dict[str, tuple[RendezvousId, ...]] = {}
        self._handler: SignalHandler | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._is_closed = False

    # ------------------------------------------------------------------ the pool

    def set_urls(self, urls: Sequence[str]) -> None:
        """See the port. What is no relay's address is left out, with a line in the log."""
        if self._is_closed:
            return
        wanted = {url.text: url for url in self._parsed(urls)}
        kept = dict(list(wanted.items())[:POOL_MAX])  # (1)
        before = list(self._clients)
        for text in before:
            if text not in kept:
                self._let_go(text)
        self._clients = {text: self._clients.get(text) or self._begin(url) for text, url in kept.items()}
        if list(self._clients) != before:
            self._changed()

    def relays(self) -> Sequence[Relay]:
        return tuple(self._clients.values())

    def relay(self, url: str) -> Relay | None:
        return self._clients.get(url)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Let all of them go. Idempotent."""
        self._is_closed = True
        for text in list(self._clients):
            self._let_go(text)
        for tasks in list(self._tasks.values()):
            await tasks.close()
        await self._endings.close()

    # ------------------------------------------------------------------ signalling

    def set_handler(self, handler: SignalHandler) -> None:
        """Who is told of messages; it only enqueues."""
        self._handler = handler

    def subscribe(self, url: str, rids: Sequence[RendezvousId]) -> None:
        """The complete set of rids this daemon answers to at one relay, most important first."""
        self._rids[url] = tuple(rids)
        client = self._clients.get(url)
        if client is not None:
            client.subscribe(rids)

    async def send(self, url: str, rid: RendezvousId, sealed: bytes) -> SignalRoute | None:
        """Send over the relay at `url`; None when nobody there answers to `rid`. Raises TransportFailure."""
        assert len(sealed) <= SIGNAL_BYTES_MAX, f"signalling message of {len(sealed)} bytes"
        client = self._clients.get(url)
        if client is None:
            raise TransportFailure(f"the relay {url} is not used")
        return _route(client) if await client.send(rid, sealed) else None

    async def join_tunnel(self, url: str, token: bytes) -> ByteStream:
        """The tunnel of `token` at the relay. Raises TransportFailure."""
        client = self._clients.get(url)
        if client is None:
            raise TransportFailure(f"the relay {url} is not used")
        return await client.join_tunnel(token)

    def network_changed(self) -> None:
        """Addresses of this machine came or went."""
        for client in self._clients.values():
            client.network_changed()

    # ------------------------------------------------------------------ inside

    def _parsed(self, urls: Sequence[str]) -> Iterable[RelayUrl]:
        for text in urls:
            try:
                url = RelayUrl.parse(text)
            except WireError as error:
                logger.warning("not used as a relay", reason=str(error))
                continue
            yield RelayUrl(url.scheme, url.host, url.port, url.path, self._tokens.get(url.text))

    def _begin(self, url: RelayUrl) -> RelayClient:
        client = RelayClient(url=url, world=self._world, on_delivery=self._delivered, on_change=self._changed)
        client.subscribe(self._rids.get(url.text, ()))
        tasks = self._tasks[url.text] = TaskSet(f"relay {url.text}")
        tasks.spawn(client.run(), "connection")
        return client

    def _let_go(self, text: str) -> None:
        self._clients.pop(text).stop()
        self._rids.pop(text, None)
        tasks = self._tasks.pop(text)
        self._endings.spawn(tasks.close(), f"let go of {text}")

    def _delivered(self, rid: RendezvousId, sealed: bytes, client: RelayClient) -> None:
        if self._handler is not None and rid in self._rids.get(client.url, ()):  # (2)
            self._handler(rid, sealed, _route(client))

    def _changed(self) -> None:
        for callback in self._callbacks:
            callback()


def _route(client: RelayClient) -> SignalRoute:
    return SignalRoute(label=client.url, address=client.url, key=client)
