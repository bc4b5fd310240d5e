"""A network as a daemon may find it, for tests of what is said about it."""

from __future__ import annotations

from typing import Any

from sheaf.core.base.ids import DeviceId, UserId
from sheaf.node.diagnostics import look_around
from sheaf.node.network_view import NetworkView
from sheaf.node.views import LanView, PeerState, PeerView
from sheaf.ports import (
    InterfaceStatus,
    MulticastStatus,
    NatKind,
    RelayState,
    RelayStatus,
    StunReport,
    StunServerStatus,
)

WIFI = InterfaceStatus("wlan0", ("192.168.1.4",), True, "it is up and has an address")
LOOPBACK = InterfaceStatus("lo", ("127.0.0.1",), False, "it reaches this computer only")
HEARD = MulticastStatus("on", is_announcing=True, hears_itself=True, others_now=1, others_ever=1)
RELAY = RelayStatus("wss://relay.example", RelayState.CONNECTED, rtt_s=0.031, stun="relay.example:7412")
STUN = StunReport(
    (StunServerStatus("203.0.113.1:7412", True, mapped="198.51.100.7:40211", rtt_ms=31.0),), NatKind.STABLE
)


def peer(**changes: Any) -> PeerView:
    """Grace at her desk, connected directly."""
    fields: dict[str, Any] = {
        "device_id": DeviceId(b"\2" * 32),
        "user_id": UserId(b"\3" * 32),
        "user_name": "Grace",
        "device_name": "desk",
        "state": PeerState.LIVE,
        "path": "webrtc",
        "description": "192.168.1.4:51234 ⇄ 192.168.1.5:40211 (udp, host)",
        "rtt_ms": 1.25,
        "spaces": (),
        "last_seen_ms": None,
        "path_reason": "direct: the same network",
    }
    return PeerView(**(fields | changes))


def surroundings(**changes: Any) -> NetworkView:
    """A laptop on a good network, with a relay; `changes` are arguments of `look_around`."""
    facts: dict[str, Any] = {
        "interfaces": (WIFI, LOOPBACK),
        "lan": LanView("0.0.0.0:51234", "on", ("192.168.1.4:51234",)),
        "multicast": HEARD,
        "stun": STUN,
        "relays": (RELAY,),
        "peers": (peer(),),
    }
    return look_around(**(facts | changes))
