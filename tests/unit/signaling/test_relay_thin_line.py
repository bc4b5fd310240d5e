"""A relay on a thin line: an answer that waits behind a large message is no silent relay (decision 0069)."""

from __future__ import annotations

import asyncio

from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Deliver, Pong, encode_frame
from sheaf.signaling.relay_client import RelayTiming
from tests.support.nodes import until
from tests.support.relay_world import talking
from tests.support.scripted_relay import Caller

QUICK = RelayTiming(
    backoff_first_s=0.01, backoff_s_max=0.05, refused_s_min=0.02, ping_every_s=0.05, pong_s_max=0.2
)


async def test_a_pong_that_waits_behind_a_large_message_on_a_thin_line_is_waited_for() -> None:
    """The message takes several times as long as a PONG may; it comes a few bytes at a time."""
    large = encode_frame(Deliver(RendezvousId(bytes(16)), bytes(3000)))
    raw = WebSocketFrame(Opcode.BINARY, large).serialize(mask=False)
    arrived = asyncio.Event()

    async def script(caller: Caller) -> None:
        caller.is_answering_pings = False
        listening = asyncio.ensure_future(caller.next())
        for at in range(0, len(raw), 100):
            caller.socket._connection.transport.write(raw[at : at + 100])
            await asyncio.sleep(QUICK.pong_s_max / 5)
        caller.is_answering_pings = True
        await caller.socket.send(Pong())
        arrived.set()
        await listening

    async with talking(script, QUICK) as (held, relay):
        await until(lambda: arrived.is_set() or relay.count > 1)
        await until(lambda: held.client.status.rtt_s is not None or relay.count > 1)
        assert relay.count == 1
