"""Addresses given by a person (`--peer HOST:PORT`, or after the @ of a ticket).

For networks that block multicast: every wanted device is asked for at each of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from sheaf.core.base.errors import UsageError
from sheaf.ports import Announcement, MulticastStatus, Sighting

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


def parse_address(text: str) -> str:
    """Check and normalise 'host:port' or '[ipv6]:port'.

    Args:
        text: what the person typed.

    Returns:
        The form `Signaling.send` takes.

    Raises:
        UsageError: not an address, with an example of one.
    """
    host, separator, port = text.strip().rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not an address. Write HOST:PORT, for example 192.168.1.7:4320")
    if host.startswith("[") and host.endswith("]"):
        return f"[{_ipv6(host[1:-1], text)}]:{int(port)}"
    if ":" in host:
        return f"[{_ipv6(host, text)}]:{int(port)}"
    if not _NAME.fullmatch(host):
        raise UsageError(f"{text!r} has no host name or address before the colon")
    return f"{host.lower()}:{int(port)}"


def _ipv6(host: str, text: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(host)
    except ipaddress.AddressValueError as error:
        raise UsageError(f"{text!r} does not contain an IPv6 address") from error


class NoDiscovery:
    """The `Discovery` port switched off: finds nobody and announces nothing."""

    @property
    def state(self) -> str:
        """Always 'off'."""
        return "off"

    @property
    def multicast(self) -> MulticastStatus:
        """Switched off."""
        return MulticastStatus(state="off")

    async def start(self, on_sighting: Callable[[Sighting], None]) -> None:
        """Nothing to look for."""

    async def announce(self, announcement: Announcement) -> None:
        """Nobody is told."""

    async def close(self) -> None:
        """Nothing to end."""
