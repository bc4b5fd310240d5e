"""What was seen on the network, bounded and without repetition.

Turns resolved mDNS records into `Sighting`s and refuses what is not Sheaf's or cannot be an
address of a host. FAULTS N18: a thousand fake peers cost 256 entries.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Final

from zeroconf import ServiceInfo, Zeroconf
from zeroconf.const import _CLASS_IN, _TYPE_SRV, _TYPE_TXT

from sheaf.discovery.txt import parse_txt
from sheaf.ports import Sighting

SERVICE_TYPE: Final = "_sheaf._tcp.local."
SIGHTINGS_MAX: Final = 256
ADDRESSES_MAX: Final = 16
PORT_MIN: Final = 1024


class SightingTable:
    """The daemons seen now.

    Invariants:
    1. A sighting is told when it is new or differs from the last one, and once more when gone.
    2. At most 256 instances are held; while the table is full, newcomers are ignored.
    3. The own announcement is never told.
    """

    def __init__(self, *, own_instance: str, emit: Callable[[Sighting], None]) -> None:
        self._own = own_instance
        self._emit = emit
        self._seen: dict[str, Sighting] = {}
        self.told = 0
        """How many instances were ever new."""

    @property
    def count(self) -> int:
        """How many instances are seen now."""
        return len(self._seen)

    def is_own(self, name: str) -> bool:
        """Whether `name` is this daemon's announcement."""
        return instance_of(name) == self._own

    def has_room_for(self, name: str) -> bool:
        """Whether a sighting under this name would be taken (2)."""
        return instance_of(name) in self._seen or len(self._seen) < SIGHTINGS_MAX

    def seen(self, sighting: Sighting) -> None:
        """A resolved announcement."""
        if sighting.instance == self._own or not self.has_room_for(sighting.instance):
            return
        self.told += sighting.instance not in self._seen
        if self._seen.get(sighting.instance) != sighting:
            self._seen[sighting.instance] = sighting
            self._emit(sighting)

    def gone(self, name: str) -> None:
        """A goodbye, or records that ran out."""
        last = self._seen.pop(instance_of(name), None)
        if last is not None:
            self._emit(Sighting(last.instance, last.nonce, last.tags, last.addresses, is_gone=True))


def read_info(info: ServiceInfo, *, is_loopback_allowed: bool) -> Sighting | None:
    """A sighting from resolved records, or None when they are not a Sheaf's.

    Loopback addresses count only when this machine has no others: then the other daemon is
    on it too. Otherwise a stranger could make this daemon knock at local ports. A link-local
    IPv6 address counts with the interface on which it was heard, and comes last: it may be one
    of another link of that computer.
    """
    advertised = parse_txt(info.properties)
    if advertised is None or info.port is None or not PORT_MIN <= info.port < 65536:
        return None
    addresses = _addresses(info.parsed_scoped_addresses(), info.port, is_loopback_allowed)
    if not addresses:
        return None
    return Sighting(instance_of(info.name), advertised.nonce, advertised.tags, addresses)


def forget_outdated(zeroconf: Zeroconf, name: str) -> None:
    """Leave one text and one service record of an announcement, the one heard last.

    For a second zeroconf keeps old and new side by side, reads whichever it did not know before, and
    does not tell when the other is heard again: an old one that comes late would be believed until it
    runs out. Forgotten, it is news when it is heard again.
    """
    for kind in (_TYPE_SRV, _TYPE_TXT):
        records = zeroconf.cache.get_all_by_details(name, kind, _CLASS_IN)
        records.sort(key=lambda record: (record.created, record.ttl))  # what is on its way out has ttl 1
        zeroconf.cache.async_remove_records(records[:-1])


def instance_of(name: str) -> str:
    """The instance label of a full service name."""
    return name.removesuffix(f".{SERVICE_TYPE}")


def _addresses(texts: list[str], port: int, is_loopback_allowed: bool) -> tuple[str, ...]:
    parsed = {ipaddress.ip_address(text) for text in texts}
    usable = [address for address in parsed if _can_be_dialled(address, is_loopback_allowed)]
    usable.sort(key=lambda address: (address.version, _is_link_local(address), int(address)))
    shown = (f"[{_named(a)}]:{port}" if a.version == 6 else f"{a}:{port}" for a in usable[:ADDRESSES_MAX])
    return tuple(shown)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _can_be_dialled(address: _Address, is_loopback_allowed: bool) -> bool:
    if address.is_loopback:
        return is_loopback_allowed
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    # zeroconf puts the interface it heard on as the scope; a record cannot say one itself.
    return not _is_link_local(address) or _scope(address) is not None


def _is_link_local(address: _Address) -> bool:
    return address.version == 6 and address.is_link_local


def _scope(address: _Address) -> str | None:
    return address.scope_id if isinstance(address, ipaddress.IPv6Address) else None


def _named(address: _Address) -> str:
    """With the name of the interface instead of its number, as people know it."""
    host, percent, scope = str(address).partition("%")
    if not scope.isdigit():
        return host + percent + scope
    try:
        return f"{host}%{socket.if_indextoname(int(scope))}"
    except OSError:  # the interface is gone
        return f"{host}%{scope}"
