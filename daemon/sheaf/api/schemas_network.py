"""What `GET /network` says, as JSON (pydantic). Field names are those of `node.network_view`."""

from __future__ import annotations

from pydantic import BaseModel

from sheaf.api.schemas import Lan, iso
from sheaf.node.network_view import FindingLevel, NetworkPeerView, NetworkView
from sheaf.node.views import PeerState
from sheaf.ports import NatKind, RelayState


class NetworkInterface(BaseModel):
    """One interface of this machine; `reason` says why it is used or is not."""

    name: str
    addresses: list[str]
    is_used: bool
    reason: str


class Multicast(BaseModel):
    """Finding each other on the local network."""

    state: str
    is_announcing: bool
    hears_itself: bool
    others_now: int
    others_ever: int


class StunServer(BaseModel):
    """A server that tells which address it sees."""

    address: str
    is_alive: bool
    mapped: str | None
    rtt_ms: float | None


class NetworkRelay(BaseModel):
    """A relay this daemon uses."""

    url: str
    state: RelayState
    problem: str | None
    rtt_ms: float | None
    since: str | None
    stun: str | None


class NetworkPeer(BaseModel):
    """How one other device is reached: the ends of the connection, and why this path."""

    device_id: str
    user_name: str
    device_name: str
    state: PeerState
    path: str | None
    pair: str | None
    reason: str | None
    rtt_ms: float | None

    @classmethod
    def of(cls, view: NetworkPeerView) -> NetworkPeer:
        """From the node's view."""
        return cls(
            device_id=view.device_id.text,
            user_name=view.user_name,
            device_name=view.device_name,
            state=view.state,
            path=view.path,
            pair=view.pair,
            reason=view.reason,
            rtt_ms=view.rtt_ms,
        )


class NetworkFinding(BaseModel):
    """Something worth saying; `do` is what to change."""

    level: FindingLevel
    what: str
    do: str | None


class Network(BaseModel):
    """The network as this daemon finds it."""

    interfaces: list[NetworkInterface]
    lan: Lan
    multicast: Multicast
    stun: list[StunServer]
    nat: NatKind
    relays: list[NetworkRelay]
    peers: list[NetworkPeer]
    findings: list[NetworkFinding]

    @classmethod
    def of(cls, view: NetworkView) -> Network:
        """From the node's view."""
        cast = view.multicast
        return cls(
            interfaces=[
                NetworkInterface(
                    name=each.name, addresses=list(each.addresses), is_used=each.is_used, reason=each.reason
                )
                for each in view.interfaces
            ],
            lan=Lan(listening=view.lan.listening, mdns=view.lan.mdns, addresses=list(view.lan.addresses)),
            multicast=Multicast(
                state=cast.state,
                is_announcing=cast.is_announcing,
                hears_itself=cast.hears_itself,
                others_now=cast.others_now,
                others_ever=cast.others_ever,
            ),
            stun=[
                StunServer(
                    address=each.address, is_alive=each.is_alive, mapped=each.mapped, rtt_ms=each.rtt_ms
                )
                for each in view.stun.servers
            ],
            nat=view.stun.nat,
            relays=[
                NetworkRelay(
                    url=each.url,
                    state=each.state,
                    problem=each.problem,
                    rtt_ms=None if each.rtt_s is None else each.rtt_s * 1000,
                    since=None if each.since_ms is None else iso(each.since_ms),
                    stun=each.stun,
                )
                for each in view.relays
            ],
            peers=[NetworkPeer.of(peer) for peer in view.peers],
            findings=[NetworkFinding(level=each.level, what=each.what, do=each.do) for each in view.findings],
        )
