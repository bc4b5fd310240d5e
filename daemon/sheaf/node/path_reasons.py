"""Why a connection goes the way it goes, in words, and how good that way is (PROTOCOL §5 "Paths")."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, assert_never

from sheaf.core.protocol.dial_lines import PathRank
from sheaf.ports import Channel, NatKind, PathKind, StunReport

_FAR_END: Final = re.compile(r"⇄ \[?([0-9a-f.:]+?)\]?:[0-9]+ \(udp, (\w+)\)")
"""In the description of a WebRTC channel: the other side's address and how it was found."""
_NEAR_END: Final = re.compile(r"\[?([0-9a-f.:]+?)\]?:[0-9]+ ⇄ ")
"""And this side's."""


def rank_of(path: PathKind) -> PathRank:
    """How good a kind of path is."""
    match path:
        case PathKind.WEBRTC | PathKind.MEMORY:
            return PathRank.DIRECT
        case PathKind.TUNNEL:
            return PathRank.TUNNEL
        case PathKind.RELAY:
            return PathRank.RELAY
        case _:
            assert_never(path)


def near_end(channel: Channel) -> str | None:
    """This computer's address of a WebRTC channel; None where the system itself ends what lost its own."""
    found = _NEAR_END.match(channel.description) if channel.path is PathKind.WEBRTC else None
    return None if found is None else found[1]


def path_reason(channel: Channel, stun: StunReport) -> str:
    """One clause for people: 'direct: …' or 'relay: …'."""
    match channel.path:
        case PathKind.WEBRTC:
            return f"direct: {_how_direct(channel.description)}"
        case PathKind.TUNNEL:
            return "direct, by TCP: UDP does not get through on this network"
        case PathKind.RELAY:
            return f"relay: {_why_relayed(stun)}"
        case PathKind.MEMORY:
            return "direct: in one process"
        case _:
            assert_never(channel.path)


def _how_direct(description: str) -> str:
    found = _FAR_END.search(description)
    if found is None:
        return "by UDP"
    address, kind = ipaddress.ip_address(found[1]), found[2]
    if kind != "host":
        return "through the router before the other computer"
    return "both are on one network" if address.is_private else "the other computer has a public address"


def _why_relayed(stun: StunReport) -> str:
    if stun.nat is NatKind.SYMMETRIC:
        return "the router here gives every connection another port (symmetric NAT)"
    if stun.servers and not any(server.is_alive for server in stun.servers):
        return "UDP does not get out of this network, no STUN server answers"
    if not stun.servers:
        return "no STUN server is known, so nobody can say how this computer looks from outside"
    return "UDP does not get through between these networks"
