"""What one side says of itself so that the other can connect, and what is believed of it.

Descriptions arrive sealed and signed by a member or an invited device (PROTOCOL §5), yet
a member may still try to aim this daemon at somebody else. So every candidate is weighed
here (FAULTS N19; decision 0016):

- literal unicast addresses only, IPv4 or IPv6; no names, so nothing is resolved;
- private and public addresses alike: many campus and all IPv6 networks number their hosts
  publicly, and a LAN connection must work there. What bounds the harm is the cap of 32,
  the port floor and ICE itself: a few 100-byte checks go out, nothing else, until the
  other end has proved that it knows the password;
- loopback only when this machine itself has nothing but loopback: then the peer is here too;
- link-local IPv6 only when this side offers such addresses too: then the peer was met on the
  LAN. It comes without a scope and is tried on our own links (decision 0072);
- no multicast, broadcast, unspecified or reserved;
- no port below 1024: a host candidate is an ephemeral port, and services live below.

Knows nothing of aiortc; there is no SDP text anywhere (decision 0015).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.limits import CANDIDATES_MAX
from sheaf.ports import Candidate, WebRtcDescription

PORT_MIN: Final = 1024
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_ICE_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_ICE_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_KINDS = ("host", "srflx")
_PRIORITY_MAX: Final = 2**31 - 1
"""RFC 8445 section 5.1.2."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_description(remote: WebRtcDescription, *, setup: str) -> None:
    """Refuse a description that no honest daemon sends.

    Args:
        remote: as opened from the sealed message.
        setup: what this side expects, 'actpass' in offers and 'active' in answers.

    Raises:
        ProtocolViolation: a field is out of range.
    """
    is_sound = (
        _ICE_UFRAG.fullmatch(remote.ufrag)
        and _ICE_PWD.fullmatch(remote.pwd)
        and remote.setup == setup
        and 0 < remote.sctp_port < 65536
        and 0 < remote.message_bytes_max <= 2**31
        and len(remote.fingerprint) == 32
        and len(remote.candidates) <= CANDIDATES_MAX
    )
    if not is_sound:
        raise ProtocolViolation("the connection description is malformed")


def usable_candidates(
    remote: Sequence[Candidate], *, is_loopback_allowed: bool, is_link_allowed: bool = False
) -> tuple[Candidate, ...]:
    """The candidates that may be tried, in the peer's order, without doubles."""
    kept: dict[tuple[str, int], Candidate] = {}
    for candidate in remote[:CANDIDATES_MAX]:
        if is_usable(candidate, is_loopback_allowed=is_loopback_allowed, is_link_allowed=is_link_allowed):
            kept.setdefault((candidate.address, candidate.port), candidate)
    return tuple(kept.values())


def is_usable(candidate: Candidate, *, is_loopback_allowed: bool, is_link_allowed: bool = False) -> bool:
    """Whether checks may be sent to this candidate (the list in the module docstring)."""
    address = _literal(candidate.address)
    return (
        address is not None
        and (
            is_link_allowed
            if is_link_local(address)
            else is_reachable_unicast(address, is_loopback_allowed=is_loopback_allowed)
        )
        and PORT_MIN <= candidate.port < 65536
        and candidate.component == 1
        and candidate.protocol == "udp"
        and candidate.kind in _KINDS
        and 0 <= candidate.priority <= _PRIORITY_MAX
        and _ICE_FOUNDATION.fullmatch(candidate.foundation) is not None
    )


def is_link_local(address: IpAddress) -> bool:
    """Whether `address` says where only together with an interface (IPv6)."""
    return isinstance(address, ipaddress.IPv6Address) and address.is_link_local


def is_reachable_unicast(address: IpAddress, *, is_loopback_allowed: bool) -> bool:
    """Whether `address` alone can be one other host on a network."""
    if address.is_loopback:
        return is_loopback_allowed
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return not address.is_link_local and address.ipv4_mapped is None
    return int(address) >> 24 != 0


def _literal(text: str) -> IpAddress | None:
    """The address, or None for anything that is not its canonical text (scopes, names, zeros)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address if str(address) == text and "%" not in text else None
