"""What the node tells about the network it is in, for `sheaf doctor network` (frozen snapshots).

`api/schemas_network` turns them into JSON with the same field names. Knows no adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sheaf.core.base.ids import DeviceId
from sheaf.node.views import CloneView, LanView, PeerState
from sheaf.ports import InterfaceStatus, MulticastStatus, RelayStatus, StunReport


class FindingLevel(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    HINT = "hint"
    """It works, and could work better."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class NetworkFinding:
    """Something worth saying about the network; `do` is what to change, None where nothing is to be done."""

    level: FindingLevel
    what: str
    do: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkPeerView:
    """How one other device is reached."""

    device_id: DeviceId
    user_name: str
    device_name: str
    state: PeerState
    path: str | None
    pair: str | None
    """The chosen ends: '192.168.1.4:51234 ⇄ 203.0.113.7:40211 (udp, srflx)'."""
    reason: str | None
    """Why this path and no better one; a sentence."""
    rtt_ms: float | None


@dataclass(frozen=True, slots=True)
class NetworkView:
    """Everything `sheaf doctor network` shows."""

    interfaces: tuple[InterfaceStatus, ...]
    lan: LanView
    multicast: MulticastStatus
    stun: StunReport
    relays: tuple[RelayStatus, ...]
    peers: tuple[NetworkPeerView, ...]
    findings: tuple[NetworkFinding, ...]
    clones: tuple[CloneView, ...] = ()
