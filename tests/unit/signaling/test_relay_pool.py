"""All relays of a daemon: what each is told, and how many there may be (PROTOCOL §6)."""

from __future__ import annotations

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Auth, Frame, Sub, Welcome
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.signaling.relay_pool import POOL_MAX, RelayConnections
from tests.support.nodes import until
from tests.support.relay_world import relay_world
from tests.support.scripted_relay import Caller, after_welcome, listen, scripted_relay

ME, OTHER = (RendezvousId(letter * 16) for letter in (b"m", b"o"))


async def test_each_relay_hears_of_its_own_rids_only() -> None:
    async with (
        scripted_relay(after_welcome(listen)) as one,
        scripted_relay(after_welcome(listen)) as two,
    ):
        pool = RelayConnections(world=relay_world())
        pool.subscribe(one.url, [ME])
        pool.subscribe(two.url, [OTHER])
        pool.set_urls([one.url, two.url])
        await until(lambda: all(r.count and r.callers[0].heard for r in (one, two)))
        assert one.callers[0].heard[0] == Sub((ME,))
        assert two.callers[0].heard[0] == Sub((OTHER,))
        await pool.close()


async def test_at_most_so_many_relays_are_used_and_junk_is_left_out() -> None:
    pool = RelayConnections(world=relay_world())
    pool.set_urls(["junk", "https://x", *(f"ws://127.0.0.1:{9000 + n}" for n in range(POOL_MAX + 3))])
    assert [relay.url for relay in pool.relays()] == [f"ws://127.0.0.1:{9000 + n}" for n in range(POOL_MAX)]
    await pool.close()
    pool.set_urls(["ws://127.0.0.1:1"])
    assert list(pool.relays()) == []


async def test_a_token_given_to_this_daemon_is_used_for_the_public_name() -> None:
    seen: list[Frame] = []

    async def script(caller: Caller) -> None:
        await caller.socket.send(Welcome(1, True, 1000, 1000, 10, 0))
        seen.append(await caller.next())
        await caller.gone()

    async with scripted_relay(script) as relay:
        own = RelayUrl.parse(relay.url.replace("ws://", "ws://t0ken@"))
        pool = RelayConnections(world=relay_world(), own=[own])
        pool.set_urls([relay.url])
        await until(lambda: seen == [Auth(b"t0ken")])
        await pool.close()
