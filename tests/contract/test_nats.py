"""What a NATS behind a relay may do to it: go away, forget, fall back, be the wrong one (FAULTS A9, A10).

`test_mailbox_store.py` and `test_fleet.py` have the contracts; this is what only NATS can do.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.js import api

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.nats_address import parse_nats_address
from sheaf.relay.nats_fleet import NatsFleet
from sheaf.relay.nats_link import NatsLink
from sheaf.relay.store import EMPTY_PAGE, NO_INCARNATION, StoreLimits, hash_token
from tests.support.certificate import self_signed
from tests.support.daemon import eventually
from tests.support.mailbox_stores import NatsBed
from tests.support.nats import NatsServer, nats_server, needs_nats

pytestmark = needs_nats

BOX, OTHER = b"m" * 16, b"n" * 16
TOKEN = hash_token(b"t" * 32)
RID = RendezvousId(b"r" * 16)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
async def bed(server: NatsServer) -> AsyncIterator[NatsBed]:
    made = NatsBed(server.url)
    yield made
    await made.close()


async def restart(server: NatsServer, bed: NatsBed, *, keep: str = "") -> None:
    """kill -9, and start again once everybody has noticed; what it stored is copied aside."""
    server.kill()
    await eventually(lambda: not any(link.is_up for link in bed.links), what="the links are down")
    if keep:
        server.keep(keep)
    server.start()
    await eventually(lambda: all(link.is_up for link in bed.links), what="the links are up again")


# ------------------------------------------------------------------ two nodes, one store


async def test_what_one_node_stored_the_other_reads_and_appends_to(bed: NatsBed) -> None:
    first, second = (await bed.open(StoreLimits())).store, (await bed.open(StoreLimits())).store
    stored = await first.put(BOX, TOKEN, b"one")
    assert (await second.read(BOX, TOKEN, 0, 1000)).last == stored.position
    assert await second.put(BOX, TOKEN, b"one") == stored
    await second.put(BOX, TOKEN, b"two")
    await first.put(BOX, TOKEN, b"three")
    for store in (first, second):
        page = await store.read(BOX, TOKEN, 0, 1000)
        assert [item.data for item in page.items] == [b"one", b"two", b"three"]


async def test_news_of_what_one_node_stored_come_to_the_other(bed: NatsBed) -> None:
    first, second = await bed.open(StoreLimits()), await bed.open(StoreLimits())
    await second.store.watch(BOX)
    stored = await first.store.put(BOX, TOKEN, b"one")
    await eventually(lambda: second.news == [(BOX, stored.position, stored.incarnation)])
    assert first.news == []


async def test_the_largest_item_fits_through_a_nats_as_it_comes(bed: NatsBed) -> None:
    first, second = (await bed.open(StoreLimits())).store, (await bed.open(StoreLimits())).store
    item = bytes(range(256)) * (ITEM_BYTES_MAX // 256)
    await first.put(BOX, TOKEN, item)
    page = await second.read(BOX, TOKEN, 0, 2**20)
    assert [each.data for each in page.items] == [item]
    assert (await second.put(BOX, TOKEN, b"next")).position == page.last + 1


async def test_nodes_that_write_and_compact_at_once_lose_nothing_and_store_nothing_twice(
    bed: NatsBed,
) -> None:
    stores = [(await bed.open(StoreLimits())).store for _ in range(3)]
    merged: list[bytes] = []

    async def compact() -> None:
        for n in range(10):
            page = await stores[2].read(BOX, TOKEN, 0, 10**6)
            with contextlib.suppress(RelayRefused):
                await stores[2].compact(BOX, TOKEN, page.last, b"merged %d" % n)
                merged.extend(item.data for item in page.items)

    items = [b"item %d" % n for n in range(60)]
    await asyncio.gather(compact(), *[store.put(BOX, TOKEN, item) for item in items for store in stores[:2]])
    left = [item.data for item in (await stores[0].read(BOX, TOKEN, 0, 10**6)).items]
    assert set(items) <= set(merged) | set(left)
    assert len(left) == len(set(left))


async def test_an_item_is_known_again_long_after_nats_itself_would_have_forgotten_it(bed: NatsBed) -> None:
    """NATS's own message ids are kept for two minutes, and outlive a compaction: they are not used."""
    first = (await bed.open(StoreLimits())).store
    stored = await first.put(BOX, TOKEN, b"one")
    assert await (await bed.open(StoreLimits())).store.put(BOX, TOKEN, b"one") == stored
    merged = await first.compact(BOX, TOKEN, stored.position, b"all")
    assert (await first.put(BOX, TOKEN, b"one")).position > merged.position


# ------------------------------------------------------------------ NATS goes away


async def test_while_nats_is_away_requests_are_refused_and_then_it_goes_on(
    server: NatsServer, bed: NatsBed
) -> None:
    store = (await bed.open(StoreLimits())).store
    stored = await store.put(BOX, TOKEN, b"one")
    server.kill()
    await eventually(lambda: not bed.links[0].is_up)
    for request in (
        store.put(BOX, TOKEN, b"two"),
        store.read(BOX, TOKEN, 0, 100),
        store.stat(BOX, TOKEN),
        store.compact(BOX, TOKEN, 1, b"x"),
        store.watch(BOX),
        store.totals(),
        store.expire(0.0),
    ):
        with pytest.raises(RelayRefused) as refusal:
            await request
        assert refusal.value.code is RefusalCode.UNAVAILABLE
    server.start()
    await eventually(lambda: bed.links[0].is_up)
    assert (await store.read(BOX, TOKEN, 0, 100)).incarnation == stored.incarnation
    assert (await store.put(BOX, TOKEN, b"two")).position > stored.position


async def test_a_nats_that_is_silent_costs_a_request_seconds_and_not_for_ever(
    server: NatsServer, bed: NatsBed
) -> None:
    store = (await bed.open(StoreLimits())).store
    await store.put(BOX, TOKEN, b"one")
    server.pause()
    async with asyncio.timeout(9):  # a client waits ten
        with pytest.raises(RelayRefused) as refusal:
            await store.put(BOX, TOKEN, b"two")
    assert refusal.value.code is RefusalCode.UNAVAILABLE
    server.go_on()

    async def is_stored() -> bool:
        with contextlib.suppress(RelayRefused):
            await store.put(BOX, TOKEN, b"two")
            return True
        return False

    await eventually(is_stored)
    assert [item.data for item in (await store.read(BOX, TOKEN, 0, 100)).items] == [b"one", b"two"]


async def test_watchers_hear_what_happened_while_nats_was_away(server: NatsServer, bed: NatsBed) -> None:
    watching = await bed.open(StoreLimits())
    stored = await watching.store.put(BOX, TOKEN, b"one")
    await watching.store.watch(BOX)
    await restart(server, bed)
    await eventually(lambda: watching.news[-1:] == [(BOX, stored.position, stored.incarnation)])


# ------------------------------------------------------------------ NATS forgets


async def test_a_nats_that_lost_everything_shows_in_the_incarnation(server: NatsServer, bed: NatsBed) -> None:
    watching = await bed.open(StoreLimits())
    store = watching.store
    before = await store.put(BOX, TOKEN, b"one")
    await store.watch(BOX)
    server.kill()
    server.wipe()
    server.start()
    await eventually(lambda: (BOX, 0, NO_INCARNATION) in watching.news)
    assert await store.read(BOX, TOKEN, 0, 100) == EMPTY_PAGE
    after = await store.put(BOX, TOKEN, b"one")
    assert after.incarnation not in (before.incarnation, NO_INCARNATION)


async def test_streams_that_are_deleted_under_a_running_node_are_made_again(
    server: NatsServer, bed: NatsBed
) -> None:
    watching = await bed.open(StoreLimits())
    before = await watching.store.put(BOX, TOKEN, b"one")
    await watching.store.watch(BOX)
    client = await nats.connect(server.url)
    for number in range(4):
        await client.jetstream().delete_stream(f"MBX_{number:02x}")
    await client.close()
    assert await watching.store.read(BOX, TOKEN, 0, 100) == EMPTY_PAGE
    await eventually(lambda: (BOX, 0, NO_INCARNATION) in watching.news)
    after = await watching.store.put(BOX, TOKEN, b"two")
    assert after.incarnation != before.incarnation


async def test_a_nats_that_fell_back_shows_it_and_takes_items_again(server: NatsServer, bed: NatsBed) -> None:
    """The incarnation is the old one: clients see that the last position fell (FAULTS A10)."""
    watching = await bed.open(StoreLimits())
    store = watching.store
    first = await store.put(BOX, TOKEN, b"one")
    await restart(server, bed, keep="backup")
    second = await store.put(BOX, TOKEN, b"two")
    await store.watch(BOX)
    server.kill()
    server.bring_back("backup")
    server.start()
    await eventually(lambda: (BOX, first.position, first.incarnation) in watching.news)
    page = await store.read(BOX, TOKEN, 0, 100)
    assert ([item.data for item in page.items], page.last) == ([b"one"], first.position)
    assert page.incarnation == second.incarnation
    await store.put(BOX, TOKEN, b"three")
    await store.put(BOX, TOKEN, b"two")
    page = await store.read(BOX, TOKEN, 0, 100)
    assert [item.data for item in page.items] == [b"one", b"three", b"two"]


async def test_what_is_in_the_stream_and_not_ours_is_no_item(server: NatsServer, bed: NatsBed) -> None:
    store = (await bed.open(StoreLimits())).store
    await store.put(OTHER, TOKEN, b"one")
    client = await nats.connect(server.url)
    await client.jetstream().publish(f"mbx.{BOX[0] % 4:02x}.{BOX.hex()}", b"junk")
    await client.close()
    with pytest.raises(RelayRefused) as refusal:
        await store.read(BOX, TOKEN, 0, 100)
    assert refusal.value.code is RefusalCode.UNAVAILABLE
    assert len((await store.read(OTHER, TOKEN, 0, 100)).items) == 1


# ------------------------------------------------------------------ the wrong NATS


async def problem_of(address: str, limits: StoreLimits | None = None) -> str:
    bed = NatsBed(address)
    try:
        await bed.open(limits or StoreLimits())
        link = bed.links[0]
        assert not link.is_up
        assert link.problem is not None
        return link.problem
    finally:
        await bed.close()


async def test_a_nats_that_is_not_there_is_named(server: NatsServer) -> None:
    server.kill()
    problem = await problem_of(server.url.replace("nats://", "nats://relay:s3cret@"))
    assert server.url.removeprefix("nats://") in problem
    assert "s3cret" not in problem
    server.start()


async def test_a_nats_without_jetstream_is_told_what_it_lacks(tmp_path: Path) -> None:
    with nats_server(tmp_path, has_jetstream=False) as bare:
        assert "start nats-server with -js" in await problem_of(bare.url)


async def test_a_nats_with_tls_and_a_password_is_used_if_both_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path, "nats")
    arguments = [
        "--tls",
        "--tlscert",
        str(certificate),
        "--tlskey",
        str(key),
        "--user",
        "relay",
        "--pass",
        "s3cret",
    ]
    with nats_server(tmp_path, arguments=arguments) as strict:
        right = strict.url.replace("nats://", "tls://relay:s3cret@")
        assert "certificate verify failed" in await problem_of(right)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bed = NatsBed(right)
        store = (await bed.open(StoreLimits())).store
        assert (await store.put(BOX, TOKEN, b"one")).position == 1
        await bed.close()
        assert "Authorization" in await problem_of(right.replace("s3cret", "wrong"))


async def test_a_nats_whose_messages_are_too_small_is_told_so(server: NatsServer) -> None:
    large = replace(StoreLimits(), item_bytes_max=2**20)
    assert "max_payload" in await problem_of(server.url, large)


async def test_nodes_must_agree_on_the_number_of_shards(server: NatsServer, bed: NatsBed) -> None:
    await bed.open(StoreLimits())
    assert "give every node the same ?shards=" in await problem_of(f"{server.url}?shards=8")


async def test_replicas_are_refused_where_there_is_no_cluster_fit_for_them(server: NatsServer) -> None:
    """Too old, or alone. In a cluster of 2.9.10, two writes that name the same last message both succeed."""
    assert "replicas" in await problem_of(f"{server.url}?replicas=3")


async def test_a_changed_retention_is_taken_over(server: NatsServer, bed: NatsBed) -> None:
    stored = await (await bed.open(StoreLimits())).store.put(BOX, TOKEN, b"one")
    shorter = await bed.open(replace(StoreLimits(), retention_s=3600))
    assert (await shorter.store.stat(BOX, TOKEN)).last == stored.position
    client = await nats.connect(server.url)
    found: api.StreamInfo = await client.jetstream().stream_info("MBX_00")
    await client.close()
    assert found.config.max_age is not None
    assert found.config.max_age < 40 * 86_400


def test_without_the_library_the_operator_is_told_how_to_get_it() -> None:
    program = "import sys; sys.modules['nats'] = None; sys.argv = ['sheaf', 'relay', '--store', 'nats://x'];"
    program += "sys.argv += ['--listen', '127.0.0.1:0']; from sheaf.cli.main import main; main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2, result.stderr
    assert "`pipx inject sheafd nats-py`" in result.stderr
    assert "`pip install nats-py`" in result.stderr


# ------------------------------------------------------------------ the fleet


class Listener:
    """A node's clients."""

    def __init__(self) -> None:
        self.rids: set[RendezvousId] = set()
        self.heard_of: list[tuple[str, object]] = []

    def deliver(self, rid: RendezvousId, payload: bytes) -> bool:
        return rid in self.rids

    def heard(self, side: str, number: int, payload: bytes) -> None:
        self.heard_of.append((side, payload))

    def nameplate_closed(self, side: str, number: int, code: RefusalCode) -> None:
        self.heard_of.append((side, code))


async def node(server: NatsServer, name: str) -> tuple[NatsFleet, Listener]:
    fleet = NatsFleet(
        link=NatsLink(address=parse_nats_address(server.url), name=name),
        node=name,
        url=f"ws://{name}.example",
        replicas=1,
        now=asyncio.get_running_loop().time,
        choose=lambda _: 0,
    )
    listener = Listener()
    await fleet.start(listener)
    return fleet, listener


async def test_without_nats_a_node_serves_its_own_clients_and_refuses_nameplates(server: NatsServer) -> None:
    fleet, listener = await node(server, "alone")
    server.kill()
    await eventually(lambda: not fleet.is_up)
    listener.rids.add(RID)
    await fleet.subscribe([RID])
    assert await fleet.send(RID, b"here")
    assert not await fleet.send(RendezvousId(b"o" * 16), b"nobody")
    assert await fleet.hold_tunnel(b"t" * 16) is None
    with pytest.raises(RelayRefused) as refusal:
        await fleet.allocate_nameplate("ada")
    assert refusal.value.code is RefusalCode.UNAVAILABLE
    server.start()
    await eventually(lambda: fleet.is_up)
    other, _ = await node(server, "other")
    assert await other.send(RID, b"subscribed meanwhile, and found now")
    await other.close()
    await fleet.close()


@pytest.mark.parametrize("ending", ["first", "second"])
async def test_when_a_node_ends_the_other_side_of_its_nameplates_is_told(
    server: NatsServer, ending: str
) -> None:
    first, ada = await node(server, "first")
    second, ben = await node(server, "second")
    number = await first.allocate_nameplate("ada")
    await second.claim_nameplate(number, "ben")
    ended, staying, told, side = (
        (first, second, ben, "ben") if ending == "first" else (second, first, ada, "ada")
    )
    await ended.close()

    async def is_told() -> bool:
        await staying.tick()
        return told.heard_of == [(side, RefusalCode.GONE)]

    await eventually(is_told)
    if ending == "first":
        with pytest.raises(RelayRefused) as refusal:
            await staying.claim_nameplate(number, "late")
        assert refusal.value.code is RefusalCode.GONE
    await staying.close()


async def test_junk_between_nodes_changes_nothing(server: NatsServer) -> None:
    fleet, listener = await node(server, "first")
    client = await nats.connect(server.url)
    for junk in (b"junk", b"\x85\x01", b"\xff" * 5000):
        await client.publish("sheafnode.first", junk)
    await client.flush()
    listener.rids.add(RID)
    await fleet.subscribe([RID])
    assert await fleet.send(RID, b"still there")
    assert listener.heard_of == []
    await client.close()
    await fleet.close()
