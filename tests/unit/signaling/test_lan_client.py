"""The dialling half: connections are used again, but not across a change of addresses (FAULTS N4)."""

from __future__ import annotations

import asyncio

from sheaf.core.base.ids import RendezvousId
from sheaf.ports import SignalRoute
from sheaf.signaling.lan import LanSignaling
from tests.support.channels import eventually

RID = RendezvousId(bytes(16))


async def test_n4_after_a_change_of_addresses_the_next_signal_dials_anew() -> None:
    here, there = LanSignaling(), LanSignaling()
    try:
        await there.listen("127.0.0.1", 0)
        routes: list[SignalRoute] = []
        there.set_handler(lambda rid, sealed, route: routes.append(route))
        there.subscribe([RID])
        address = there.listening
        assert address is not None
        first = await here.send(address, RID, b"one")
        again = await here.send(address, RID, b"two")
        assert first is not None
        assert again is not None
        assert first.key is again.key
        here.network_changed()
        fresh = await here.send(address, RID, b"three")
        assert fresh is not None
        assert fresh.key is not first.key
        await eventually(lambda: len(routes) == 3)
        assert await here.reply(first, RID, b"too late") is False
    finally:
        await here.close()
        await there.close()
    assert len(asyncio.all_tasks()) == 1
