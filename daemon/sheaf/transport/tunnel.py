"""Makes tunnels: TLS 1.3 to a device's LAN listener or through a relay, for when UDP gets nowhere.

The offerer dials the answerer's listener and presents the one-time token it was given
through sealed signalling; the listener hands the stream over here (`sheaf.ports.TunnelDoor`).
At a relay both present the token, and the relay joins them. Both certificates are pinned.
PROTOCOL §5 "Paths", §7. Knows nothing of devices or spaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sheaf.core.base.errors import TransportFailure
from sheaf.ports import ByteStream, Channel, PathKind, TunnelDescription
from sheaf.task_set import TaskSet
from sheaf.transport.tls import TlsIdentity, TlsSession
from sheaf.transport.tunnel_channel import TunnelChannel

EXPECT_S_MAX: Final = 15.0
EXPECTED_MAX: Final = 64

Dial = Callable[[str, bytes], Awaitable[ByteStream]]
"""(host:port of the listener or URL of the relay, 16-byte token) -> the joined stream."""


class TunnelExpectation:
    """The answerer's half; see `sheaf.ports.TunnelExpectation`.

    Invariants:
    1. It ends by itself after 15 s, awaited or not.
    2. A channel that arrived and was not taken is closed.
    """

    def __init__(
        self,
        *,
        peer_fingerprint: bytes,
        forget: Callable[[TunnelExpectation], None],
        drop: Callable[[Channel], None],
    ) -> None:
        self.peer_fingerprint = peer_fingerprint
        self._forget = forget
        self._drop = drop
        self._arrived: Channel | None = None
        loop = asyncio.get_running_loop()
        self._result: asyncio.Future[Channel] = loop.create_future()
        self._timer = loop.call_later(EXPECT_S_MAX, self.cancel, "nobody opened the tunnel in time")

    async def channel(self) -> Channel:
        """The open channel; ask once.

        Raises:
            TransportFailure: nobody came within 15 s, or it was the wrong one.
        """
        try:
            channel = await asyncio.shield(self._result)
            self._arrived = None
            return channel
        finally:
            self.cancel()

    def cancel(self, reason: str = "the tunnel is not wanted any more") -> None:
        """Stop waiting; the token is worth nothing from now on."""
        self._timer.cancel()
        self._forget(self)
        self.fail(TransportFailure(reason))
        if self._arrived is not None:  # (2)
            self._drop(self._arrived)
            self._arrived = None

    def fulfil(self, channel: Channel) -> bool:
        """A stream proved to be the peer; False when nobody waits any more."""
        if self._result.done():
            return False
        self._arrived = channel
        self._result.set_result(channel)
        return True

    def fail(self, error: TransportFailure) -> None:
        """A stream came with the token and failed."""
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # asked for or not


class Tunnel:
    """The `TunnelTransport` port, and the `TunnelDoor` that a listener asks.

    Args:
        identity: this process's key and certificate.
        dial: opens a byte stream to a listener; raises TransportFailure.
        join: opens one through a relay; raises TransportFailure.

    Invariants:
    1. A token is used once, whether the handshake then succeeds or not.
    2. Every channel made here ends with `close()`.
    """

    def __init__(self, *, identity: TlsIdentity, dial: Dial, join: Dial | None = None) -> None:
        self._identity = identity
        self._dial = dial
        self._join = join or _no_relays
        self._tasks = TaskSet("tunnel")
        self._expected: dict[bytes, TunnelExpectation] = {}
        self._channels: set[TunnelChannel] = set()
        self._is_closed = False

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of this process's certificate, 32 bytes."""
        return self._identity.fingerprint

    def expect(self, token: bytes, peer_fingerprint: bytes) -> TunnelExpectation:
        """A stream that presents `token` (16 random bytes) becomes a channel.

        Raises:
            TransportFailure: closed, or too many expected at once.
        """
        if self._is_closed or len(self._expected) >= EXPECTED_MAX:
            raise TransportFailure("no more tunnels can be expected now")
        assert len(token) == 16
        assert any(token), "a token of zeros is what offers carry"
        expectation = TunnelExpectation(
            peer_fingerprint=peer_fingerprint, forget=self._forget, drop=self._drop
        )
        self._expected[token] = expectation
        return expectation

    async def connect(self, address: str, remote: TunnelDescription) -> Channel:
        """Open the tunnel that the answerer at `host:port` expects.

        Raises:
            TransportFailure: not reachable, token refused, or not the pinned peer.
        """
        if self._is_closed:
            raise TransportFailure("the transport is closed")
        stream = await self._dial(address, remote.token)
        channel = self._channel(stream, is_server=False, peer_fingerprint=remote.fingerprint)
        return await self._opened(channel, f"tunnel to {address}")

    async def meet(self, relay_url: str, remote: TunnelDescription, *, is_offerer: bool) -> Channel:
        """Join the other side at a relay; both present the same token. The offerer is TLS's client.

        Raises:
            TransportFailure: the relay is out of reach, the other did not come, or is not the pinned peer.
        """
        if self._is_closed:
            raise TransportFailure("the transport is closed")
        stream = await self._join(relay_url, remote.token)
        channel = self._channel(
            stream, is_server=not is_offerer, peer_fingerprint=remote.fingerprint, path=PathKind.RELAY
        )
        return await self._opened(channel, f"tunnel through {relay_url}")

    async def _opened(self, channel: TunnelChannel, name: str) -> Channel:
        try:
            await channel.handshake()
        except BaseException as error:
            await self._abandon(channel, str(error))
            raise
        self._tasks.spawn(self._run(channel), name)
        return channel

    def accept(self, token: bytes) -> Callable[[ByteStream], Awaitable[None]] | None:
        """TunnelDoor: serve the stream that presented `token`, or refuse it."""
        expectation = self._expected.pop(token, None)  # (1)
        if expectation is None or self._is_closed:
            return None

        async def serve(stream: ByteStream) -> None:
            await self._serve(stream, expectation)

        return serve

    async def close(self) -> None:
        """End every channel and expectation. Idempotent."""
        self._is_closed = True
        for expectation in tuple(self._expected.values()):
            expectation.cancel()
        await asyncio.gather(*(channel.close() for channel in tuple(self._channels)))
        await self._tasks.close()

    async def _serve(self, stream: ByteStream, expectation: TunnelExpectation) -> None:
        channel = self._channel(stream, is_server=True, peer_fingerprint=expectation.peer_fingerprint)
        try:
            await channel.handshake()
        except TransportFailure as error:
            expectation.fail(error)
            await self._abandon(channel, str(error))
            return
        except BaseException:
            await self._abandon(channel, "given up")
            raise
        if expectation.fulfil(channel):
            await self._run(channel)
        else:
            await self._abandon(channel, "nobody waits for it any more")

    async def _run(self, channel: TunnelChannel) -> None:
        try:
            await channel.run()
        finally:
            self._channels.discard(channel)

    async def _abandon(self, channel: TunnelChannel, reason: str) -> None:
        self._channels.discard(channel)
        await channel.abandon(reason)

    def _channel(
        self,
        stream: ByteStream,
        *,
        is_server: bool,
        peer_fingerprint: bytes,
        path: PathKind = PathKind.TUNNEL,
    ) -> TunnelChannel:
        tls = TlsSession(identity=self._identity, is_server=is_server, peer_fingerprint=peer_fingerprint)
        channel = TunnelChannel(stream=stream, tls=tls, path=path)
        self._channels.add(channel)
        return channel

    def _forget(self, expectation: TunnelExpectation) -> None:
        for token, expected in tuple(self._expected.items()):
            if expected is expectation:
                del self._expected[token]

    def _drop(self, channel: Channel) -> None:
        self._tasks.spawn(channel.close(), "drop an unwanted tunnel")


async def _no_relays(url: str, token: bytes) -> ByteStream:
    raise TransportFailure("this daemon uses no relays")
