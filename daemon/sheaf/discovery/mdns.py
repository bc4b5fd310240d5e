"""Finds other daemons by multicast DNS, and lets them find this one (PROTOCOL §6).

Hints only: anybody can announce anything, so a sighting is an address to try and never an
identity. Has no other effect on the daemon: no interface, no multicast, a network that
changes all the time, hostile records are all survived (FAULTS N4, N18).
Knows tags as opaque bytes. Decision 0018.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from sheaf.core.base.machine import Entropy
from sheaf.discovery.network import InterfaceAddress, NetworkWatch
from sheaf.discovery.sightings import SERVICE_TYPE, SightingTable, forget_outdated, read_info
from sheaf.discovery.txt import NONCE_BYTES, TAG_BYTES, TAGS_MAX, build_txt
from sheaf.ports import Announcement, MulticastStatus, Sighting
from sheaf.task_set import TaskSet

_log = logging.getLogger(__name__)

RETRY_S: Final = 3.0
REPEAT_FIRST_S: Final = 1.5
"""News is said again after this long, and after twice that, and so on: a burst of datagrams may be lost
whole, and zeroconf passes over what it heard less than a second ago."""
REPEAT_S: Final = 60.0
"""Announced anew at least this often, for whoever missed it or slept meanwhile."""
TTL_S: Final = 120
"""For every record. (zeroconf keeps pointers for 19 minutes at least; a sighting may outlive
a daemon that was killed by that much.)"""
RESOLVE_MS_MAX: Final = 3000
RESOLVING_MAX: Final = 32
CLOSE_S_MAX: Final = 3.0
_NAME_ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyz234567"


class MdnsDiscovery:
    """The `Discovery` port over zeroconf.

    Invariants:
    1. Everything that touches zeroconf's registration happens in one task, in order.
    2. Nothing raised by zeroconf or the network leaves this class.
    3. Name, host name and nonce are random and new at every start.
    4. What was announced last is what others hear last: an older announcement is not repeated.
    """

    def __init__(self, *, watch: NetworkWatch, entropy: Entropy) -> None:
        self._watch = watch
        self._entropy = entropy
        self._instance = _random_name(entropy)
        self._host = _random_name(entropy)
        self._nonce = entropy(NONCE_BYTES)
        self._padding = [entropy(TAG_BYTES) for _ in range(TAGS_MAX)]
        self._tasks = TaskSet("mdns")
        self._wake = asyncio.Event()
        self._state = "off"
        self._table: SightingTable | None = None
        self._announcement: Announcement | None = None
        self._announced: ServiceInfo | None = None
        self._broadcasts: asyncio.Future[Any] | None = None
        self._repeat_s = REPEAT_FIRST_S
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._interfaces: list[str | int] = []
        self._resolving: set[str] = set()
        self._is_stale = False
        self._has_echo = False

    @property
    def state(self) -> str:
        """'on', 'off' or 'no interface'."""
        return self._state

    @property
    def multicast(self) -> MulticastStatus:
        """What goes out and what comes in."""
        return MulticastStatus(
            state=self._state,
            is_announcing=self._announced is not None,
            hears_itself=self._has_echo,
            others_now=0 if self._table is None else self._table.count,
            others_ever=0 if self._table is None else self._table.told,
        )

    async def start(self, on_sighting: Callable[[Sighting], None]) -> None:
        """Begin to look; never fails."""
        self._table = SightingTable(own_instance=self._instance, emit=on_sighting)
        self._state = "no interface"
        logging.getLogger("zeroconf").setLevel(logging.ERROR)
        self._watch.on_change(self._network_changed)
        self._tasks.spawn(self._run(), "run")

    async def announce(self, announcement: Announcement) -> None:
        """Announce, or re-announce with new tags; goes out within a moment."""
        self._announcement = announcement
        self._wake.set()

    async def close(self) -> None:
        """Say goodbye and stop. Idempotent."""
        await self._tasks.close()
        await self._shut()
        self._state = "off"

    # ------------------------------------------------------------------ the one task

    async def _run(self) -> None:
        is_repeat = False
        while True:
            self._wake.clear()
            is_stale, self._is_stale = self._is_stale, False
            await self._follow_interfaces()
            if is_stale:
                await self._browse()
            is_settled = await self._follow_announcement(is_repeat=is_repeat or is_stale)
            is_repeat = False
            try:
                async with asyncio.timeout(self._repeat_s if is_settled else RETRY_S):
                    await self._wake.wait()
            except TimeoutError:
                is_repeat = True
                self._repeat_s = min(REPEAT_S, 2 * self._repeat_s)

    def _network_changed(self) -> None:
        self._is_stale = True
        self._wake.set()

    async def _follow_interfaces(self) -> None:
        wanted = _for_zeroconf(self._watch.addresses)
        if not wanted:
            await self._shut()
        elif self._zeroconf is None:
            await self._open(wanted)
        elif wanted != self._interfaces:
            await self._move(wanted)
        self._state = "on" if self._zeroconf is not None else "no interface"

    async def _open(self, wanted: list[str | int]) -> None:
        try:
            self._zeroconf = AsyncZeroconf(interfaces=wanted, ip_version=_ip_version(wanted))
            await self._zeroconf.zeroconf.async_wait_for_start()
            self._interfaces = wanted
            await self._browse()
        except (OSError, RuntimeError, ZeroconfError) as error:
            _log.info("mdns is not possible now error=%r", error)
            await self._shut()

    async def _browse(self) -> None:
        """Ask who is there, now: after the start, on another network, after a sleep."""
        if self._zeroconf is None:
            return
        if self._browser is not None:
            await self._browser.async_cancel()
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._service_changed]
        )

    async def _move(self, wanted: list[str | int]) -> None:
        """The network changed: other sockets, and other addresses in the announcement."""
        assert self._zeroconf is not None
        try:
            await self._zeroconf.async_update_interfaces(wanted, ip_version=_ip_version(wanted))
            self._interfaces = wanted
        except (OSError, RuntimeError, ZeroconfError) as error:
            _log.info("mdns starts anew after a network change error=%r", error)
            await self._shut()
            await self._open(wanted)

    async def _follow_announcement(self, *, is_repeat: bool) -> bool:
        """Bring the announcement up to date, or say it once more; False when that failed."""
        if self._zeroconf is None or self._announcement is None:
            return self._zeroconf is not None
        info = self._info(self._announcement)
        is_news = self._announced is None or not _says_the_same(info, self._announced)
        if not is_news and not is_repeat:
            return True
        self._stop_broadcasts()
        try:
            if self._announced is None:
                # No probing: 40 random bits do not clash, and probing would cost 1.6 s.
                sending = await self._zeroconf.async_register_service(info, cooperating_responders=True)
            else:
                sending = await self._zeroconf.async_update_service(info)
        except (OSError, RuntimeError, ZeroconfError) as error:
            _log.warning("mdns announcement failed error=%r", error)
            return False
        self._announced = info
        assert isinstance(sending, asyncio.Future), "zeroconf has the sending under way already"
        self._broadcasts = sending
        self._tasks.spawn(_finish(self._broadcasts), "announcing")
        if is_news:
            _log.debug("announced instance=%s text=%08x", self._instance, crc32(info.text))
            self._repeat_s = REPEAT_FIRST_S
        return True

    def _stop_broadcasts(self) -> None:
        """zeroconf says everything three times within half a second; after news the old is not said (4)."""
        if self._broadcasts is not None:
            self._broadcasts.cancel()
            self._broadcasts = None

    async def _shut(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        self._announced = None
        self._has_echo = False
        self._interfaces = []
        self._stop_broadcasts()
        if zeroconf is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                if browser is not None:
                    await browser.async_cancel()
                await zeroconf.async_close()
        except (OSError, RuntimeError, ZeroconfError, TimeoutError) as error:
            _log.info("mdns did not close in order error=%r", error)

    def _info(self, announcement: Announcement) -> ServiceInfo:
        tags = announcement.tags_for(self._nonce)
        addresses = list(dict.fromkeys(a.address for a in self._watch.addresses))
        if self._announced is not None and sorted(self._announced.parsed_addresses()) != sorted(addresses):
            # Others keep the addresses of a host name for two minutes; a new name has only the new.
            self._host = _random_name(self._entropy)
        return ServiceInfo(
            SERVICE_TYPE,
            f"{self._instance}.{SERVICE_TYPE}",
            port=announcement.port,
            properties=build_txt(self._nonce, tags, self._padding),
            server=f"{self._host}.local.",
            host_ttl=TTL_S,
            other_ttl=TTL_S,
            parsed_addresses=addresses,
        )

    # ------------------------------------------------------------------ told by zeroconf

    def _service_changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        assert self._table is not None
        if state_change is ServiceStateChange.Removed:
            self._table.gone(name)
            return
        if self._table.is_own(name):
            self._has_echo = True
        if self._table.is_own(name) or not self._table.has_room_for(name):
            return
        forget_outdated(zeroconf, name)
        info = ServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf) and (sighting := self._read(info)) is not None:
            self._table.seen(sighting)
        elif len(self._resolving) < RESOLVING_MAX and name not in self._resolving:
            self._resolving.add(name)
            self._tasks.spawn(self._resolve(zeroconf, info), "resolve")

    def _read(self, info: ServiceInfo) -> Sighting | None:
        _log.debug("heard name=%s text=%08x", info.name, crc32(info.text or b""))
        is_alone = all(a.is_loopback for a in self._watch.addresses)
        return read_info(info, is_loopback_allowed=is_alone)

    async def _resolve(self, zeroconf: Zeroconf, info: ServiceInfo) -> None:
        assert self._table is not None
        try:
            if (
                await info.async_request(zeroconf, RESOLVE_MS_MAX)
                and (sighting := self._read(info)) is not None
            ):
                self._table.seen(sighting)
        except (OSError, RuntimeError, ZeroconfError) as error:
            _log.debug("mdns name not resolved error=%r", error)
        finally:
            self._resolving.discard(info.name)


async def _finish(broadcasts: asyncio.Future[Any]) -> None:
    try:
        await broadcasts
    except (OSError, RuntimeError, ZeroconfError) as error:
        _log.info("mdns broadcast failed error=%r", error)


def _random_name(entropy: Entropy) -> str:
    return bytes(_NAME_ALPHABET[byte & 31] for byte in entropy(8)).decode("ascii")


def _for_zeroconf(addresses: tuple[InterfaceAddress, ...]) -> list[str | int]:
    """zeroconf wants IPv4 addresses, and interface numbers for IPv6."""
    four = sorted({a.address for a in addresses if not a.is_v6})
    six = sorted({a.index for a in addresses if a.is_v6})
    return [*four, *six]


def _ip_version(interfaces: list[str | int]) -> IPVersion:
    has_four = any(isinstance(item, str) for item in interfaces)
    has_six = any(isinstance(item, int) for item in interfaces)
    if has_four and has_six:
        return IPVersion.All
    return IPVersion.V6Only if has_six else IPVersion.V4Only


def _says_the_same(one: ServiceInfo, other: ServiceInfo) -> bool:
    return (
        one.port == other.port
        and one.text == other.text
        and sorted(one.parsed_addresses()) == sorted(other.parsed_addresses())
    )
