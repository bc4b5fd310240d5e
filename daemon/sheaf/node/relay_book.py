"""Which relays this daemon uses, for whom, and what it is called there (PROTOCOL §6, §7).

The relays it was started with serve all spaces; those of a space's preferences serve that space; a join or a
spoken code holds a relay for as long as it needs it. Each relay is told only the names that belong to it.
Knows no sockets: the pool connects, the peer manager calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from sheaf.core.base.errors import SheafError, UsageError, WireError
from sheaf.core.base.ids import DeviceId, RendezvousId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_url import public_relay_url
from sheaf.core.wire.ticket import RELAYS_MAX
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.node.library import Library
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, RelayPool, RelayState, RelayStatus, Store, WriteBatch

OFFERED_BYTES_MAX: Final = 16 * 1024

logger = structlog.get_logger("sheaf.relays")


class RelayBook:
    """See the module.

    Args:
        pool: None in a daemon without relays (and in tests); then there are none, whatever spaces say.
        own: public addresses of the relays this daemon was started with.
    """

    def __init__(
        self,
        *,
        pool: RelayPool | None,
        own: Sequence[str],
        identity: LocalIdentity,
        library: Library,
        invitations: Invitations,
        store: Store,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._pool = pool
        self._own = tuple(dict.fromkeys(own))
        self._identity = identity
        self._library = library
        self._invitations = invitations
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._held: Counter[str] = Counter()

    # ------------------------------------------------------------------ which

    def refresh(self) -> None:
        """Spaces, their preferences or what is held changed: use what is wanted now."""
        if self._pool is not None:
            self._pool.set_urls(self._wanted())

    def hold(self, url: str) -> Callable[[], None]:
        """Use the relay at `url` besides the others, until the returned function is called."""
        self._held[url] += 1
        self.refresh()
        is_held = True

        def release() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._held[url] -= 1
                if not self._held[url]:
                    del self._held[url]
                self.refresh()

        return release

    def on_change(self, callback: Callable[[], None]) -> None:
        """Hear whenever a relay came or went; the callback only enqueues."""
        if self._pool is not None:
            self._pool.on_change(callback)

    def is_connected(self, url: str) -> bool:
        """Whether messages can be sent over it right now."""
        relay = None if self._pool is None else self._pool.relay(url)
        return relay is not None and relay.status.state is RelayState.CONNECTED

    def connected(self) -> list[str]:
        """The relays we are connected with right now."""
        return [status.url for status in self.statuses() if status.state is RelayState.CONNECTED]

    def statuses(self) -> tuple[RelayStatus, ...]:
        """For people, most preferred first."""
        return () if self._pool is None else tuple(relay.status for relay in self._pool.relays())

    def of_space(self, host: SpaceHost) -> tuple[str, ...]:
        """The relays at which members of a space are met: our own first, then what the space says."""
        return tuple(dict.fromkeys([*self._own, *public_urls(host.space.preferences().relay_urls)]))

    def for_ticket(self, space_id: SpaceId) -> tuple[str, ...]:
        """What a ticket names, so that the newcomer finds us."""
        if self._pool is None:
            return ()
        host = self._library.host(space_id)
        return tuple(dict.fromkeys([*public_urls(host.space.preferences().relay_urls), *self._own]))[
            :RELAYS_MAX
        ]

    def _wanted(self) -> list[str]:
        by_spaces: Counter[str] = Counter()
        for host in self._library.hosts():
            by_spaces.update(set(self.of_space(host)))
        theirs = sorted(by_spaces, key=lambda url: (-by_spaces[url], url))
        return list(dict.fromkeys([*self._own, *self._held, *theirs]))

    # ------------------------------------------------------------------ who and what at each

    def meeting_places(self) -> dict[DeviceId, list[str]]:
        """Of every other device in my spaces: the connected relays where it may be met."""
        places: dict[DeviceId, dict[str, None]] = {}
        for host in self._library.hosts():
            urls = [url for url in self.of_space(host) if self.is_connected(url)]
            if urls:
                for device_id in host.space.membership.devices():
                    places.setdefault(device_id, {}).update(dict.fromkeys(urls))
        places.pop(self._identity.device.device_id, None)
        return {device_id: list(urls) for device_id, urls in places.items()}

    def serves(self, url: str, host: SpaceHost) -> bool:
        """Whether members of this space listen at this relay."""
        return url in self.of_space(host)

    def names(self, awaited: Mapping[RendezvousId, str | None]) -> dict[str, list[RendezvousId]]:
        """What this device answers to at each relay: answers it waits for, invitations, itself per space."""
        names: dict[str, list[RendezvousId]] = {url: [] for url in self._wanted()}
        for rid, url in awaited.items():
            if url in names:
                names[url].append(rid)
        for invitation in self._invitations.open_invitations():
            host = self._library.find(invitation.row.space_id)
            for url in () if host is None else self.of_space(host):
                names[url].append(invitation.keys.rendezvous_id)
        own = self._identity.device.device_id
        for host in self._library.hosts():
            for url in self.of_space(host):
                names[url] += host.space.rendezvous_ids(own)
        return names

    # ------------------------------------------------------------------ what a space says

    async def set_space(self, space_id: SpaceId, urls: Sequence[str]) -> None:
        """Choose a space's relays, for everybody in it.

        Raises:
            UsageError: not the address of a relay, one with a token in it, or too many.
            NotFound, NotAllowed: no such space; only owners choose.
        """
        try:
            chosen = tuple(dict.fromkeys(public_relay_url(url) for url in urls))
        except WireError as error:
            raise UsageError(str(error)) from error
        if len(chosen) > RELAYS_MAX:
            raise UsageError(f"a space has at most {RELAYS_MAX} relays")
        host = self._library.host(space_id)
        await self._write(host, chosen)
        await self._remember_offered(host, [*self._own, *chosen])

    async def offer_own(self) -> None:
        """Let the spaces we own use the relays this daemon was started with: each relay once, so that
        whoever takes it out again is not contradicted at the next start."""
        if self._pool is None or not self._own:
            return
        for host in list(self._library.hosts()):
            if host.role is not Role.OWNER:
                continue
            offered = await self._offered(host)
            known = host.space.preferences().relay_urls
            fresh = [url for url in self._own if url not in offered and url not in known]
            if not fresh:
                continue
            try:
                await self._write(host, (*known, *fresh)[:RELAYS_MAX])
                await self._remember_offered(host, [*offered, *fresh])
            except SheafError as error:
                logger.warning("could not offer our relays to a space", error=str(error))

    async def _write(self, host: SpaceHost, urls: Sequence[str]) -> None:
        op = authoring.prefs(
            host.space,
            self._identity.device,
            relay_urls=urls,
            now_ms=self._clock.wall_ms(),
            entropy=self._entropy,
        )
        host.add_ops([op])
        await host.flush()

    async def _offered(self, host: SpaceHost) -> list[str]:
        raw = await self._store.setting(_key(host))
        try:
            urls = [] if raw is None else cbor.decode(raw, bytes_max=OFFERED_BYTES_MAX)
        except WireError:
            return []
        return [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []

    async def _remember_offered(self, host: SpaceHost, urls: Iterable[str]) -> None:
        offered = list(dict.fromkeys([*await self._offered(host), *urls]))[-64:]
        await self._store.commit(WriteBatch(settings={_key(host): cbor.encode(offered)}))


def _key(host: SpaceHost) -> str:
    return f"relays offered to {host.space_id.text}"


def public_urls(urls: Iterable[str]) -> Iterable[str]:
    """Those that are addresses of relays; an owner with another Sheaf may have written anything."""
    for url in urls:
        try:
            yield public_relay_url(url)
        except WireError:
            continue
