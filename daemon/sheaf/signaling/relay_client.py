"""One relay, kept connected: backoff, pings, and everything asked for again after a break (PROTOCOL §6, §7).

Implements the `Relay` port, and what `combined` needs for signalling. A relay that cannot be reached, that
lies or that floods is only tried again later; nothing here ever stops the daemon or waits for a relay.
Must not know spaces, peers or what sealed messages say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import structlog

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX
from sheaf.core.wire.relay_frames import Welcome
from sheaf.core.wire.relay_requests import (
    MailboxCompact,
    MailboxGet,
    MailboxItems,
    MailboxPut,
    MailboxStatRequest,
    MailboxStatus,
    MailboxStored,
)
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.core.wire.relay_words import PAGE_BYTES_MAX, ErrorCode, RefusalCode, RelayRefused
from sheaf.ports import (
    ByteStream,
    MailboxAccess,
    MailboxItem,
    MailboxPage,
    MailboxStat,
    Nameplate,
    RelayState,
    RelayStatus,
    StoredItem,
)
from sheaf.signaling.relay_connection import ConnectionEvents, RelayConnection, Request
from sheaf.signaling.relay_nameplate import Nameplates
from sheaf.signaling.relay_socket import OpenRelay, RelayDoor, RelayUnwelcoming
from sheaf.signaling.relay_watches import RelayWatches

logger = structlog.get_logger("sheaf.relays")


@dataclass(frozen=True, slots=True)
class RelayTiming:
    """The waits of a connection to a relay, in seconds (PROTOCOL §6)."""

    backoff_first_s: float = 1.0
    backoff_factor: float = 1.5
    backoff_s_max: float = 60.0
    refused_s_min: float = 30.0
    ping_every_s: float = 30.0
    pong_s_max: float = 15.0
    doubt_s_max: float = 3.0
    """For the PONG when our addresses changed."""
    settled_s: float = 60.0
    """A connection that lived this long was a good one: the backoff begins anew."""


@dataclass(frozen=True, slots=True)
class RelayWorld:
    """What all relay clients of a daemon share."""

    door: RelayDoor
    now: Callable[[], float]
    wall_ms: Callable[[], int]
    chance: Callable[[], float]
    """From 0 to 1, for jitter."""
    has_address: Callable[[str], bool] = lambda _: True
    """Whether this machine still has an address."""
    timing: RelayTiming = RelayTiming()


class RelayClient:
    """See the module.

    Args:
        on_delivery: told of messages for our rendezvous ids; only enqueues.
        on_change: told when `status` changed; only enqueues.
    """

    def __init__(
        self,
        *,
        url: RelayUrl,
        world: RelayWorld,
        on_delivery: Callable[[RendezvousId, bytes, RelayClient], None],
        on_change: Callable[[], None],
    ) -> None:
        self._url = url
        self._world = world
        self._on_delivery = on_delivery
        self._on_change = on_change
        self._connection: RelayConnection | None = None
        self._rids: tuple[RendezvousId, ...] = ()
        self._watches = RelayWatches()
        self._nameplates = Nameplates(relay_url=url.text)
        self._status = RelayStatus(url.text, RelayState.CONNECTING, since_ms=world.wall_ms())
        self._item_bytes_max = ITEM_BYTES_MAX
        self._hurry = asyncio.Event()
        self._doubt = asyncio.Event()
        self._moved_at = float("-inf")
        self._is_stopped = False

    # ------------------------------------------------------------------ what it is

    @property
    def url(self) -> str:
        """Without any token."""
        return self._url.text

    @property
    def status(self) -> RelayStatus:
        return self._status

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent right now."""
        return self._connection is not None

    @property
    def item_bytes_max(self) -> int:
        return self._item_bytes_max

    # ------------------------------------------------------------------ signalling

    def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """The complete set of rids this daemon answers to here, most important first."""
        self._rids = tuple(rids)
        if self._connection is not None:
            self._connection.subscribe(self._rids)

    async def send(self, rid: RendezvousId, sealed: bytes) -> bool:
        """True when somebody at this relay answers to `rid`. Raises TransportFailure."""
        return await self._connected().send(rid, sealed)

    async def join_tunnel(self, token: bytes) -> ByteStream:
        """The tunnel of `token`, on a connection of its own. Raises TransportFailure."""
        return await self._world.door.join(self._url, token)

    # ------------------------------------------------------------------ mailboxes

    async def put(self, access: MailboxAccess, item: bytes) -> StoredItem:
        """See the port."""
        self._check_size(item)
        return await self._store(lambda number: MailboxPut(number, access.mailbox_id, access.token, item))

    async def compact(self, access: MailboxAccess, expect_last: int, item: bytes) -> StoredItem:
        """See the port."""
        self._check_size(item)
        return await self._store(
            lambda number: MailboxCompact(number, access.mailbox_id, access.token, expect_last, item)
        )

    async def get(self, access: MailboxAccess, after: int, bytes_max: int) -> MailboxPage:
        """See the port; an answer out of order is the relay's fault and ends the connection."""
        size = min(bytes_max, PAGE_BYTES_MAX)
        connection = self._connected()
        page = await connection.request(
            lambda number: MailboxGet(number, access.mailbox_id, access.token, after, size),
            MailboxItems,
            answer_bytes_max=size,
        )
        positions = [after, *(position for position, _ in page.items)]
        if any(later <= earlier for earlier, later in pairwise(positions)):
            connection.abort()
            raise TransportFailure(f"the relay {self.url} gives items out of order")
        items = tuple(MailboxItem(position, item) for position, item in page.items)
        return MailboxPage(items, page.last, page.incarnation)

    async def stat(self, access: MailboxAccess) -> MailboxStat:
        """See the port."""
        status = await self._connected().request(
            lambda number: MailboxStatRequest(number, access.mailbox_id, access.token), MailboxStatus
        )
        return MailboxStat(
            status.items,
            status.size_bytes,
            status.first,
            status.last,
            status.incarnation,
            status.oldest_age_s,
        )

    def watch(self, access: MailboxAccess, on_news: Callable[[int, bytes], None]) -> Callable[[], None]:
        """See the port."""
        return self._watches.add(access, on_news)

    # ------------------------------------------------------------------ nameplates

    async def allocate_nameplate(self) -> Nameplate:
        """See the port."""
        return await self._nameplates.allocate(self._connected())

    async def claim_nameplate(self, number: int) -> Nameplate:
        """See the port."""
        return await self._nameplates.claim(self._connected(), number)

    # ------------------------------------------------------------------ life

    def network_changed(self) -> None:
        """Our addresses changed: try again at once, or make sure the connection still lives."""
        connection = self._connection
        if connection is None:
            self._hurry.set()
        elif connection.local_host is None or not self._world.has_address(connection.local_host):
            self._hurry.set()
            connection.abort()
        else:
            self._doubt.set()
            self._moved_at = self._world.now()

    def stop(self) -> None:
        """Nothing goes through any more; cancelling `run` then ends the connection."""
        self._is_stopped = True
        self._let_go(f"the relay {self.url} is not used any more")

    async def run(self) -> None:
        """Keep connected until stopped and cancelled."""
        failures = 0
        try:
            while not self._is_stopped:
                began = self._world.now()
                try:
                    state, problem, is_restart = await self._connect_and_serve()
                except Exception:  # whoever is told of something has a defect; the relay is tried again
                    logger.exception("the connection to a relay ended by a defect", relay=self.url)
                    self._let_go(f"the connection to the relay {self.url} is gone")
                    state, problem, is_restart = RelayState.UNREACHABLE, "A defect of Sheaf.", False
                lived_s = self._world.now() - began
                failures = 0 if lived_s >= self._world.timing.settled_s or is_restart else failures + 1
                self._became(state, problem)
                logger.info("no relay", relay=self.url, problem=problem)
                await self._pause(failures, state)
        finally:
            self._let_go("the relay is not used any more")

    async def _connect_and_serve(self) -> tuple[RelayState, str, bool]:
        """One connection from its opening to its end: (state, problem, whether the relay restarts)."""
        self._hurry.clear()
        opened = await self._open()
        if isinstance(opened, TransportFailure):
            is_refused = isinstance(opened, RelayUnwelcoming)
            return RelayState.REFUSED if is_refused else RelayState.UNREACHABLE, str(opened), False
        connection = RelayConnection(
            socket=opened.socket, welcome=opened.welcome, events=self._events(), now=self._world.now
        )
        self._begin(connection, opened.welcome)
        async with asyncio.TaskGroup() as group:
            pinger = group.create_task(self._keep_asking(connection))
            reason = await connection.run()
            pinger.cancel()
        self._let_go(f"the connection to the relay {self.url} is gone")
        state = RelayState.UNREACHABLE
        if connection.farewell is ErrorCode.TOKEN_NEEDED:
            state = RelayState.REFUSED
        problem = f"The connection to the relay {self.url} ended: {reason}."
        return state, problem, connection.farewell is ErrorCode.GOING_AWAY

    async def _open(self) -> OpenRelay | TransportFailure:
        """A fresh connection; given up when our addresses change, for the next goes out from the new ones."""
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(self._try_to_open())
            hurried = group.create_task(self._hurry.wait())
            await asyncio.wait({opening, hurried}, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if opening.done():
                return opening.result()
            opening.cancel()
        return TransportFailure(f"The relay {self.url} was not reached before the network changed.")

    async def _try_to_open(self) -> OpenRelay | TransportFailure:
        try:
            return await self._world.door.open(self._url)
        except TransportFailure as failure:
            return failure

    def _events(self) -> ConnectionEvents:
        return ConnectionEvents(
            delivered=lambda rid, payload: self._on_delivery(rid, payload, self),
            news=self._watches.news,
            heard=self._nameplates.heard,
            round_trip=self._measured,
        )

    def _begin(self, connection: RelayConnection, welcome: Welcome) -> None:
        self._connection = connection
        self._item_bytes_max = min(ITEM_BYTES_MAX, welcome.item_bytes_max)
        connection.subscribe(self._rids)
        self._watches.connected(connection)
        self._became(RelayState.CONNECTED, None, stun=self._stun(welcome))
        logger.info("relay connected", relay=self.url)

    def _stun(self, welcome: Welcome) -> str | None:
        if welcome.stun_port == 0:
            return None
        host = f"[{self._url.host}]" if ":" in self._url.host else self._url.host
        return f"{host}:{welcome.stun_port}"

    async def _keep_asking(self, connection: RelayConnection) -> None:
        """A PING at once, then every 30 s; soon and with less patience when in doubt."""
        timing = self._world.timing
        patience_s = timing.pong_s_max
        while await connection.ping(patience_s):
            self._watches.ask_again()
            self._doubt.clear()
            try:
                async with asyncio.timeout(timing.ping_every_s):
                    await self._doubt.wait()
                patience_s = timing.doubt_s_max
            except TimeoutError:
                patience_s = timing.pong_s_max

    async def _pause(self, failures: int, state: RelayState) -> None:
        timing = self._world.timing
        moved_at, self._moved_at = self._moved_at, float("-inf")
        if self._world.now() < moved_at + timing.doubt_s_max + 1:
            return  # it ended because we moved, although the address is the same
        pause_s = min(
            timing.backoff_s_max,
            timing.backoff_first_s * timing.backoff_factor ** min(max(0, failures - 1), 40),
        )
        if state is RelayState.REFUSED:
            pause_s = max(pause_s, timing.refused_s_min)
        try:
            async with asyncio.timeout(pause_s * (0.5 + self._world.chance())):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _let_go(self, reason: str) -> None:
        self._connection = None
        self._watches.disconnected()
        self._nameplates.end(TransportFailure(reason))

    def _became(self, state: RelayState, problem: str | None, *, stun: str | None = None) -> None:
        if (state, problem) == (self._status.state, self._status.problem):
            return
        since_ms = self._status.since_ms if state is self._status.state else self._world.wall_ms()
        self._status = RelayStatus(self.url, state, problem, since_ms=since_ms, stun=stun)
        self._on_change()

    def _measured(self, rtt_s: float) -> None:
        is_first = self._status.rtt_s is None
        self._status = replace(self._status, rtt_s=rtt_s)
        if is_first:
            self._on_change()

    # ------------------------------------------------------------------ inside

    async def _store(self, make: Request) -> StoredItem:
        stored = await self._connected().request(make, MailboxStored)
        return StoredItem(stored.position, stored.incarnation)

    def _check_size(self, item: bytes) -> None:
        if len(item) > self._item_bytes_max:
            raise RelayRefused(RefusalCode.TOO_LARGE)

    def _connected(self) -> RelayConnection:
        if self._connection is None:
            raise TransportFailure(self._status.problem or f"The relay {self.url} is not connected yet.")
        return self._connection
