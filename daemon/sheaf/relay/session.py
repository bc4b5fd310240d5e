"""What the relay does with a client's frames, from WELCOME to the end (PROTOCOL §7).

One task per connection, one frame after the other; a client that asks faster than it may is read
more slowly, which costs nobody else anything. Knows no sockets.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.wire.relay_frames import (
    Accepted,
    Auth,
    Error,
    Frame,
    Ping,
    Pong,
    Refused,
    Send,
    Sub,
    TunnelJoin,
    Unsub,
    Welcome,
    decode_frame,
)
from sheaf.core.wire.relay_requests import (
    MailboxFrame,
    MailboxNews,
    MailboxUnwatch,
    NameplateAllocate,
    NameplateClaim,
    NameplateFrame,
)
from sheaf.core.wire.relay_words import RELAY_FRAME_BYTES_MAX, ErrorCode, RelayRefused
from sheaf.relay.client import Client
from sheaf.relay.hub import Hub
from sheaf.relay.limits import RelayLimits
from sheaf.relay.mailboxes import Mailboxes
from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.store import hash_token
from sheaf.relay.tunnels import Tunnels

FRAMES_IN_A_ROW: Final = 16


class _Ended(Exception):
    """The relay ends the connection, for this reason."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Sessions:
    """Serves connections.

    Invariants:
    1. With an operator token, nothing is done for a client that has not said it.
    2. Whatever bytes come, the answer is a frame's answer or ERROR BAD_FRAME and the end.
    3. At its end a client is in no table any more.
    """

    def __init__(
        self,
        *,
        welcome: Callable[[], Welcome],
        token_hashes: Sequence[bytes],
        hub: Hub,
        mailboxes: Mailboxes,
        tunnels: Tunnels,
        limits: RelayLimits,
        metrics: RelayMetrics,
        now: Callable[[], float],
    ) -> None:
        """`token_hashes`: `hash_token` of each operator token that is good; none: everybody is welcome."""
        self._welcome = welcome
        self._token_hashes = tuple(token_hashes)
        self._hub = hub
        self._mailboxes = mailboxes
        self._tunnels = tunnels
        self._limits = limits
        self._metrics = metrics
        self._now = now

    async def serve(self, client: Client) -> None:
        """Serve one client to its end."""
        client.is_accepted = not self._token_hashes
        try:
            client.push(self._welcome())
            await self._serve_frames(client)
        except WireError:
            await self._end(client, ErrorCode.BAD_FRAME)  # (2)
        except _Ended as ended:
            await self._end(client, ended.code)
        except TransportFailure:
            if client.is_dropped:
                self._metrics.dropped.labels("slow").inc()
        finally:
            try:
                await self._mailboxes.leave(client)
            finally:
                await self._hub.leave(client)  # (3)

    async def _serve_frames(self, client: Client) -> None:
        limits, served = self._limits, 0
        while (data := await client.receive_raw()) is not None:
            served += 1
            if served % FRAMES_IN_A_ROW == 0:
                await asyncio.sleep(0)  # what has come already is read without giving anybody else a turn
            frame = decode_frame(data, bytes_max=RELAY_FRAME_BYTES_MAX)
            client.heard_at = self._now()
            client.is_new = False
            self._metrics.received(frame)
            if isinstance(frame, TunnelJoin) and client.is_accepted:
                await self._tunnels.join(client, frame.token)
                return
            await self._serve_frame(client, frame)
            await client.answered()
            wait_s = client.spend(len(data), self._now(), limits)
            if wait_s > 0:
                await asyncio.sleep(wait_s)

    async def _serve_frame(self, client: Client, frame: Frame) -> None:
        if isinstance(frame, Auth):
            self._check_token(client, frame.token)
        elif not client.is_accepted:
            raise _Ended(ErrorCode.TOKEN_NEEDED)  # (1)
        elif isinstance(frame, Send):
            await self._hub.send(client, frame)
        elif isinstance(frame, Ping):
            client.push(Pong())
        elif isinstance(frame, Sub):
            if not await self._hub.subscribe(client, frame.rids):
                raise _Ended(ErrorCode.TOO_MUCH)
        elif isinstance(frame, Unsub):
            await self._hub.unsubscribe(client, frame.rids)
        elif isinstance(frame, MailboxFrame):
            await self._serve_mailbox(client, frame)
        elif isinstance(frame, NameplateFrame):
            await self._serve_nameplate(client, frame)
        elif not isinstance(frame, Pong | Error):
            raise WireError("clients do not send this")

    async def _serve_mailbox(self, client: Client, frame: MailboxFrame) -> None:
        if isinstance(frame, MailboxNews):
            raise WireError("clients do not send this")
        try:
            await self._mailboxes.serve(client, frame)
        except RelayRefused as refusal:
            if not isinstance(frame, MailboxUnwatch):
                self._refuse(client, frame.request, refusal)

    async def _serve_nameplate(self, client: Client, frame: NameplateFrame) -> None:
        try:
            await self._hub.serve_nameplate(client, frame)
        except RelayRefused as refusal:
            if isinstance(frame, NameplateAllocate | NameplateClaim):
                self._refuse(client, frame.request, refusal)

    def _refuse(self, client: Client, request: int, refusal: RelayRefused) -> None:
        self._metrics.refused(refusal.code)
        client.push(Refused(request, refusal.code))

    def _check_token(self, client: Client, token: bytes) -> None:
        said = hash_token(token)
        matches = [hmac.compare_digest(said, good) for good in self._token_hashes]
        if self._token_hashes and not any(matches):
            raise _Ended(ErrorCode.TOKEN_NEEDED)
        client.is_accepted = True
        client.push(Accepted())

    async def _end(self, client: Client, code: ErrorCode) -> None:
        self._metrics.ended(code)
        await client.say_last(code)
