"""Makes WebRTC data channels (the `WebRtcTransport` port).

aiortc is imported on first use, in a thread, because it takes half a second; `warm_up`
does it ahead of time. STUN servers are asked only when they are known to be alive, and for a second at most
(aiortc waits five per side). Knows nothing of signalling, of members or of what is sent.
PROTOCOL §5.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import CANDIDATES_MAX
from sheaf.ports import Channel, WebRtcDescription
from sheaf.task_set import TaskSet
from sheaf.transport import aiortc_lean
from sheaf.transport.description import check_description, is_link_local, usable_candidates
from sheaf.transport.stun_route import StunRoute

if TYPE_CHECKING:
    from sheaf.transport.webrtc_channel import WebRtcChannel

CONNECT_S_MAX: Final = 10.0
HALF_OPEN_MAX: Final = 64
"""Attempts that hold sockets and wait for an answer; each may queue 64 datagrams."""


class WebRtcAttempt:
    """One half of a connection in the making; see `sheaf.ports.WebRtcAttempt`."""

    def __init__(
        self,
        *,
        channel: WebRtcChannel,
        description: WebRtcDescription,
        offer: WebRtcDescription | None,
        forget: Callable[[WebRtcAttempt], None],
    ) -> None:
        self._channel = channel
        self._description = description
        self._offer = offer
        self._forget = forget
        self._is_open = False

    @property
    def description(self) -> WebRtcDescription:
        """What the other side must know."""
        return self._description

    async def connect(self, remote: WebRtcDescription | None = None) -> Channel:
        """Wait for the open channel; see the port.

        Raises:
            TransportFailure: no connection within 10 s.
            ProtocolViolation: the answer is malformed.
        """
        far = self._offer
        if far is None:
            assert remote is not None, "the offerer connects with the answer"
            check_description(remote, setup="active")
            far = remote
        local = self._description.candidates
        is_alone = all(ipaddress.ip_address(c.address).is_loopback for c in local)
        candidates = usable_candidates(
            far.candidates,
            is_loopback_allowed=is_alone,
            is_link_allowed=any(is_link_local(ipaddress.ip_address(c.address)) for c in local),
        )
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await self._channel.open(far, candidates)
        except TimeoutError as error:
            raise TransportFailure("no connection to the other computer within 10 s") from error
        except (ConnectionError, OSError) as error:
            raise TransportFailure(f"the connection attempt broke: {error}") from error
        self._is_open = True
        self._forget(self)
        return self._channel

    async def close(self) -> None:
        """Release what did not become a channel; an open channel is left alone."""
        self._forget(self)
        if not self._is_open:
            await self._channel.close()


class WebRtc:
    """The `WebRtcTransport` port over aiortc.

    Args:
        addresses: the local addresses to offer as candidates, best first, asked anew
            for every attempt; loopback only when there is nothing else.
        link_addresses: link-local IPv6 addresses with their scope ('fe80::4%eth0'), offered after the
            others to who was met on the LAN.
        stun_routes: which STUN server answers to which local address, known to be alive; None: STUN is not
            used.
    """

    def __init__(
        self,
        *,
        addresses: Callable[[], Sequence[str]],
        link_addresses: Callable[[], Sequence[str]] = tuple,
        stun_routes: Callable[[], Awaitable[Sequence[StunRoute]]] | None = None,
    ) -> None:
        self._addresses = addresses
        self._link_addresses = link_addresses
        self._stun_routes = stun_routes
        self._tasks = TaskSet("webrtc")
        self._attempts: set[WebRtcAttempt] = set()
        self._channels: set[WebRtcChannel] = set()
        self._channel_class: type[WebRtcChannel] | None = None
        self._is_closed = False

    async def warm_up(self) -> None:
        """Import aiortc now rather than at the first connection. Never fails."""
        try:
            await self._load()
        except TransportFailure:
            return  # the first attempt will tell

    async def offer(self, *, use_stun: bool = False) -> WebRtcAttempt:
        """Begin a connection from this side; see the port.

        Raises:
            TransportFailure: no network address, or too many attempts at once.
        """
        return await self._attempt(None, use_stun=use_stun)

    async def answer(self, offer: WebRtcDescription, *, use_stun: bool = False) -> WebRtcAttempt:
        """Begin the answering half for a peer's offer; see the port.

        Raises:
            TransportFailure: no network address, or too many attempts at once.
            ProtocolViolation: the offer is malformed.
        """
        check_description(offer, setup="actpass")
        return await self._attempt(offer, use_stun=use_stun)

    async def close(self) -> None:
        """Close every attempt and channel. Idempotent."""
        self._is_closed = True
        await asyncio.gather(*(channel.close() for channel in tuple(self._channels)))
        await self._tasks.drain(CONNECT_S_MAX)
        await self._tasks.close()

    async def _attempt(self, offer: WebRtcDescription | None, *, use_stun: bool) -> WebRtcAttempt:
        if self._is_closed:
            raise TransportFailure("the transport is closed")
        if len(self._attempts) >= HALF_OPEN_MAX:
            raise TransportFailure("too many connections are being made at once")
        channel_class = await self._load()
        on_links = () if use_stun else self._link_addresses()
        addresses = (*self._addresses(), *on_links)[:CANDIDATES_MAX]
        channel = channel_class(
            is_offerer=offer is None,
            addresses=addresses,
            tasks=self._tasks,
            on_released=self._channels.discard,
        )
        self._channels.add(channel)
        try:
            stun = await self._stun_routes() if use_stun and self._stun_routes is not None else ()
            description = await channel.gather(stun)
        except BaseException:
            await channel.close()
            raise
        attempt = WebRtcAttempt(
            channel=channel, description=description, offer=offer, forget=self._attempts.discard
        )
        self._attempts.add(attempt)
        return attempt

    async def _load(self) -> type[WebRtcChannel]:
        if self._channel_class is None:
            self._channel_class = await asyncio.to_thread(_load_channel_class)
        return self._channel_class


def _load_channel_class() -> type[WebRtcChannel]:
    aiortc_lean.load()
    for library in ("aioice", "aiortc"):
        logging.getLogger(library).setLevel(logging.WARNING)  # they narrate every connection
    import_module("sheaf.transport.ice_guard").check_shape()
    import_module("sheaf.transport.sctp_guard").check_shape()
    module = import_module("sheaf.transport.webrtc_channel")
    return cast("type[WebRtcChannel]", module.WebRtcChannel)
