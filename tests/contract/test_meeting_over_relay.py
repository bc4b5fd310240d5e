"""Nodes that share nothing but a real relay: signalling, tunnels, and WebRTC when it is let (PROTOCOL §5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import DocId
from sheaf.discovery.static import NoDiscovery
from sheaf.node.network import Network
from sheaf.node.node import Node
from sheaf.node.views import PeerState
from sheaf.ports import StunReport, StunServerStatus, WebRtcAttempt, WebRtcDescription
from sheaf.signaling.combined import CombinedSignaling
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.relay_pool import RelayConnections
from sheaf.signaling.websocket import dial_tunnel
from sheaf.transport.tls import TlsIdentity
from sheaf.transport.tunnel import Tunnel
from tests.support.memory_network import MemoryLan, MemoryPort
from tests.support.nodes import Machine, join, machine, new_text, text_of, until
from tests.support.relay import RelayProcess
from tests.support.relay_world import relay_world


@dataclass
class Udp:
    """WebRTC as the network lets it: not at all, or as in memory."""

    port: MemoryPort
    is_open: bool = False
    offers: list[bool] = field(default_factory=list)
    """Of each offer, whether STUN was to be used."""

    async def offer(self, *, use_stun: bool = False) -> WebRtcAttempt:
        self.offers.append(use_stun)
        if not self.is_open:
            raise TransportFailure("no UDP")
        return await self.port.offer(use_stun=use_stun)

    async def answer(self, offer: WebRtcDescription, *, use_stun: bool = False) -> WebRtcAttempt:
        if not self.is_open:
            raise TransportFailure("no UDP")
        return await self.port.answer(offer, use_stun=use_stun)

    async def close(self) -> None:
        return None


class Apart:
    """Machines on no LAN, all at one relay."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lan = MemoryLan()
        self.udp: dict[str, Udp] = {}
        self._closing: list[CombinedSignaling | Tunnel] = []

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[list[Node]]:
        machines = [machine(self.lan, name) for name in names]
        for each in machines:
            each.adapt = lambda network, each=each: self._apart(each, network)  # type: ignore[misc]  # bound now
        nodes = [await each.start() for each in machines]
        try:
            yield nodes
        finally:
            for node in nodes:
                await node.close()
            for adapter in self._closing:
                await adapter.close()

    def _apart(self, each: Machine, network: Network) -> Network:
        relays = RelayConnections(world=relay_world())
        tunnel = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel, join=relays.join_tunnel)
        signaling = CombinedSignaling(lan=LanSignaling(), relays=relays)
        self._closing += [tunnel, signaling]
        udp = self.udp[each.name] = Udp(each.port)
        return replace(
            network,
            webrtc=udp,
            tunnel=tunnel,
            signaling=signaling,
            discovery=NoDiscovery(),
            relays=relays,
            own_relays=(self.url,) if each.name == "ann" else (),
            stun=lambda: StunReport((StunServerStatus("stun.example:3478", is_alive=False),)),
        )


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path_factory.mktemp("relay")).start()
    yield relay
    relay.stop()


@pytest.fixture
def apart(process: RelayProcess) -> Apart:
    return Apart(process.url)


def paths(nodes: Sequence[Node]) -> list[str | None]:
    """How each node's only peer is connected, once in sync."""
    peers = [node.peers()[0] for node in nodes]
    return [peer.path if peer.state is PeerState.LIVE else None for peer in peers]


async def _has(node: Node, note: DocId, words: str) -> bool:
    return words in await text_of(node, note)


async def test_a_guest_joins_through_the_relay_of_the_ticket(apart: Apart) -> None:
    async with apart.running("ann", "bob") as (ann, bob):
        space = await ann.create_space("Home")
        note = await new_text(ann, space.space_id, content="hello")
        await join(ann, bob, space.space_id)
        await until(lambda: _has(bob, note, "hello"))
        await until(lambda: paths([ann, bob]) == ["relay", "relay"], timeout_s=25)
        assert bob.peers()[0].path_reason == (
            "relay: UDP does not get out of this network, no STUN server answers"
        )
        assert all(apart.udp["bob"].offers), "over a relay STUN is wanted"


async def test_when_udp_opens_the_better_path_takes_over_and_stays(apart: Apart) -> None:
    async with apart.running("ann", "bob") as (ann, bob):
        space = await ann.create_space("Home")
        note = await new_text(ann, space.space_id)
        await join(ann, bob, space.space_id)
        await until(lambda: paths([ann, bob]) == ["relay", "relay"], timeout_s=25)
        for udp in apart.udp.values():
            udp.is_open = True
        for node in (ann, bob):
            node.network_changed()
        await until(lambda: paths([ann, bob]) == ["memory", "memory"], timeout_s=25)
        await ann.append_content(note, "direct", agent=None)
        await until(lambda: _has(bob, note, "direct"))
        for udp in apart.udp.values():
            udp.is_open = False
        for node in (ann, bob):
            node.network_changed()
        await asyncio.sleep(0.3)  # whatever is tried now must not replace what works
        assert paths([ann, bob]) == ["memory", "memory"]


async def test_who_loses_the_direct_path_goes_on_through_the_relay(apart: Apart) -> None:
    async with apart.running("ann", "bob") as (ann, bob):
        space = await ann.create_space("Home")
        await join(ann, bob, space.space_id)
        for udp in apart.udp.values():
            udp.is_open = True
        ann.network_changed()
        await until(lambda: paths([ann, bob]) == ["memory", "memory"], timeout_s=25)
        for udp in apart.udp.values():
            udp.is_open = False
        for channel in apart.lan.channels:
            await channel.close()
        await until(lambda: paths([ann, bob]) == ["relay", "relay"], timeout_s=25)
