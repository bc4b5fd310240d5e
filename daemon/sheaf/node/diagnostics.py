"""Looks at the network as a helpful friend would: what is there, what is missing, what to change.

A pure function of what the adapters tell about themselves; it reads, and changes nothing. Every
finding that is not fine says what to do, in words for people who do not know the trade.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sheaf.node.network_view import FindingLevel, NetworkFinding, NetworkPeerView, NetworkView
from sheaf.node.views import CloneView, LanView, PeerState, PeerView
from sheaf.ports import (
    InterfaceStatus,
    MulticastStatus,
    NatKind,
    PathKind,
    RelayState,
    RelayStatus,
    StunReport,
)


def look_around(
    *,
    interfaces: Sequence[InterfaceStatus],
    lan: LanView,
    multicast: MulticastStatus,
    stun: StunReport,
    relays: Sequence[RelayStatus],
    peers: Sequence[PeerView],
    clones: Sequence[CloneView] = (),
) -> NetworkView:
    """Put it all together and judge it."""
    view = NetworkView(
        interfaces=tuple(interfaces),
        lan=lan,
        multicast=multicast,
        stun=stun,
        relays=tuple(relays),
        peers=tuple(_peer(peer) for peer in peers),
        findings=(),
        clones=tuple(clones),
    )
    found = tuple(finding for judge in _JUDGES for finding in judge(view))
    fine = NetworkFinding(FindingLevel.OK, "Nothing needs to be changed.")
    return replace(view, findings=found or (fine,))


def _peer(peer: PeerView) -> NetworkPeerView:
    return NetworkPeerView(
        device_id=peer.device_id,
        user_name=peer.user_name,
        device_name=peer.device_name,
        state=peer.state,
        path=peer.path,
        pair=peer.description,
        reason=peer.path_reason,
        rtt_ms=peer.rtt_ms,
    )


def _interfaces(view: NetworkView) -> Iterator[NetworkFinding]:
    used = [interface for interface in view.interfaces if interface.is_used]
    if not used or all(interface.name == "lo" for interface in used):
        yield _problem(
            "This computer is on no network: only daemons on this very computer can be reached.",
            "Connect it to a network, by cable or Wi-Fi. Sheaf notices by itself.",
        )
    elif _are_missing(view) and all(_is_of_link(each) for one in used for each in one.addresses):
        yield _hint(
            "This computer has link-local addresses only: no router gave it another. It reaches computers on "
            "the same cable or switch, and nobody else.",
            "For a cable between two computers that is enough. To reach others, connect it to a network with "
            "a router, by cable or Wi-Fi.",
        )


def _clones(view: NetworkView) -> Iterator[NetworkFinding]:
    for clone in view.clones:
        yield _problem(clone.what, clone.do)


def _is_of_link(address: str) -> bool:
    return ipaddress.ip_address(address).is_link_local


def _lan(view: NetworkView) -> Iterator[NetworkFinding]:
    if view.lan.listening is None:
        yield _problem(
            "The LAN listener is off, so nobody on this network can call this computer.",
            "Start Sheaf with another --lan HOST:PORT, or leave that option out.",
        )


def _multicast(view: NetworkView) -> Iterator[NetworkFinding]:
    cast = view.multicast
    if cast.state == "off":
        if _are_missing(view):
            yield _hint(
                "Looking for others on the local network is switched off (--no-mdns).",
                "Leave --no-mdns out, or name the others with --peer HOST:PORT.",
            )
    elif cast.state == "on" and cast.is_announcing and not cast.hears_itself:
        yield _problem(
            "Announcements of this computer do not even come back to itself: something here drops multicast.",
            "Let the firewall pass UDP port 5353 both ways, or name the others with --peer HOST:PORT.",
        )
    elif cast.state == "on" and cast.others_ever == 0 and _are_missing(view):
        yield _hint(
            "No other Sheaf was ever heard on this local network. Either none is here, or the network "
            "does not pass multicast on, as guest and company Wi-Fi often do not.",
            "If somebody is here: sheaf up --lan 0.0.0.0:47411 on one computer, and "
            "sheaf up --peer ADDRESS:47411 on the other. A relay does it as well.",
        )


def _relays(view: NetworkView) -> Iterator[NetworkFinding]:
    is_any_connected = any(relay.state is RelayState.CONNECTED for relay in view.relays)
    for relay in view.relays:
        if relay.state in (RelayState.UNREACHABLE, RelayState.REFUSED):
            reason = relay.problem or "It cannot be reached."
            what = reason if relay.url in reason else f"The relay {relay.url} is not connected. {reason}"
            yield (_hint if is_any_connected else _problem)(what, _relay_advice(relay))
    if not view.relays and _are_missing(view):
        yield _hint(
            "No relay is set, so only people on the same network can be reached.",
            "sheaf up --relay URL, with the address of a relay that everybody of the space can reach; "
            "`sheaf relay` runs one.",
        )


def _relay_advice(relay: RelayStatus) -> str:
    if relay.state is RelayState.REFUSED:
        return "Ask whoever runs the relay for its address and token: sheaf up --relay wss://TOKEN@HOST."
    return "Check its address and that this network lets connections out to it. Sheaf goes on trying."


def _stun(view: NetworkView) -> Iterator[NetworkFinding]:
    servers = view.stun.servers
    if servers and not any(server.is_alive for server in servers):
        yield _hint(
            "No STUN server answers: either UDP does not get out of this network, or the servers are dead. "
            "Connections to other networks go through the relay.",
            "If the network is yours, let UDP out; the relay's operator can check --stun-port.",
        )
    if view.stun.nat is NatKind.SYMMETRIC:
        yield _hint(
            "The router gives every connection another port (symmetric NAT). Two such networks meet only "
            "through the relay.",
            "Some routers have a switch: 'full cone', 'endpoint-independent', 'static port'. IPv6 helps too.",
        )


def _peers(view: NetworkView) -> Iterator[NetworkFinding]:
    for peer in view.peers:
        name = f"{peer.user_name} ({peer.device_name})"
        if peer.path == PathKind.RELAY:
            yield _hint(f"{name} is connected through the relay: {_because(peer)}", _relayed_advice(view))
        elif peer.path == PathKind.TUNNEL and not _is_alone(view):
            yield _hint(
                f"{name} is connected over TCP: {_because(peer)}",
                "It works; if a firewall between the two is yours, let UDP pass for less delay on bad lines.",
            )


def _because(peer: NetworkPeerView) -> str:
    """The reason as a sentence; its first words name the path, which was said already."""
    reason = (peer.reason or "no direct path was found").partition(": ")
    return f"{reason[2] or reason[0]}."


def _relayed_advice(view: NetworkView) -> str:
    if view.stun.nat is NatKind.SYMMETRIC:
        return "It works. A router with another kind of NAT, or IPv6, on one side allows a direct path."
    return "It works, encrypted from end to end. Sheaf keeps trying for a direct path."


def _is_alone(view: NetworkView) -> bool:
    """Only loopback is there: then UDP or TCP makes no difference."""
    return all(interface.name == "lo" for interface in view.interfaces if interface.is_used)


def _are_missing(view: NetworkView) -> bool:
    """Somebody we know is not connected."""
    return any(peer.state is PeerState.OFFLINE for peer in view.peers)


def _problem(what: str, do: str) -> NetworkFinding:
    return NetworkFinding(FindingLevel.PROBLEM, what, do)


def _hint(what: str, do: str) -> NetworkFinding:
    return NetworkFinding(FindingLevel.HINT, what, do)


_JUDGES: tuple[Callable[[NetworkView], Iterator[NetworkFinding]], ...] = (
    _clones,
    _interfaces,
    _lan,
    _multicast,
    _relays,
    _stun,
    _peers,
)
