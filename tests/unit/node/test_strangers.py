"""People who hold an open invitation, or were members once, and bring too much."""

from __future__ import annotations

import asyncio

from sheaf.core.protocol.pairing import InviteKeys
from sheaf.core.wire.ticket import Ticket
from sheaf.node import peer_links
from sheaf.node.connector import DialTarget
from sheaf.core.space.roles import Role
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
