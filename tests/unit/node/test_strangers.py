"""People who hold an open invitation, or were members once, and bring too much."""

from __future__ import annotations

import asyncio

from sheaf.core.base.ids import RendezvousId
from sheaf.core.protocol.messages import CLONED
from sheaf.core.protocol.pairing import InviteKeys
from sheaf.core.protocol.signaling import OpenedSignal
from sheaf.core.space.roles import Role
from sheaf.core.wire.ticket import Ticket
from sheaf.node import peer_links
from sheaf.node.connector import Connection, DialTarget
from sheaf.ports import SignalRoute
from tests.support.memory_network import MemoryLan
from tests.support.nodes import join, machine, running, until


async def test_devices_that_share_no_space_with_us_cannot_fill_the_table_of_connections(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(peer_links, "STRANGERS_MAX", 2)
    lan = MemoryLan()
    names = ["mallory", "mallet", "malvolio", "malkin"]
    async with running(machine(lan, "ann"), *(machine(lan, name) for name in names)) as (ann, *strangers):
        space = (await ann.create_space("Home")).space_id
        view = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert view.ticket is not None
        keys = InviteKeys(Ticket.decode(view.ticket).secret)
        target = DialTarget(keys.rendezvous_id, keys.kem_public, None)
        for stranger in strangers:
            connection = await stranger._peers.dial(target, lan.ports[0].address)
            stranger._peers.adopt_link(connection, expected=None)
        await until(lambda: ann._peers.links.connections_made >= 2)
        await asyncio.sleep(0.05)
        assert len(ann._peers.links.online_devices()) == 2
        honest = machine(lan, "bob")
        async with running(honest) as (bob,):
            await join(ann, bob, space)


async def test_a_recorded_offer_played_again_is_answered_once() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        port = lan.ports[0]
        seen: list[tuple[RendezvousId, bytes, SignalRoute]] = []
        handler = port._handler
        assert handler is not None

        def record(rid: RendezvousId, sealed: bytes, route: SignalRoute) -> None:
            seen.append((rid, sealed, route))
            handler(rid, sealed, route)

        port.set_handler(record)
        await join(ann, bob, space)
        answered: list[OpenedSignal] = []
        answer = ann._peers._connector.answer

        async def count(opened: OpenedSignal, route: SignalRoute) -> Connection:
            answered.append(opened)
            return await answer(opened, route)

        ann._peers._connector.answer = count  # type: ignore[method-assign]  # to count
        assert seen
        for _ in range(5):
            for signal in list(seen):
                handler(*signal)
        await until(lambda: ann._peers._signals.is_idle)
        await asyncio.sleep(0.01)
        assert answered == []


async def test_a_stranger_cannot_say_that_our_identity_is_used_elsewhere() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "mallory"), machine(lan, "bob")) as nodes:
        ann, mallory, bob = nodes
        space = (await ann.create_space("Home")).space_id
        view = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert view.ticket is not None
        keys = InviteKeys(Ticket.decode(view.ticket).secret)
        target = DialTarget(keys.rendezvous_id, keys.kem_public, None)
        connection = await mallory._peers.dial(target, lan.ports[0].address)
        mallory._peers.adopt_link(connection, expected=None)
        await until(lambda: ann._peers.links.online_devices())
        mallory._peers.links._links[ann._identity.device.device_id].close(CLONED)
        await until(lambda: not ann._peers.links.online_devices())
        assert ann._peers.clones.cloned() == {}
        await join(ann, bob, space)
        bob._peers.links._links[ann._identity.device.device_id].close(CLONED)
        await until(lambda: ann._peers.clones.cloned())
