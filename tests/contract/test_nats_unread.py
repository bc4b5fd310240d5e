"""A node that wrote last writes again without reading first: it must not miss what others did meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import nats
import pytest

from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.store import MailboxStore, StoreLimits, hash_token
from tests.support.mailbox_stores import NatsBed
from tests.support.nats import NatsServer, nats_server, needs_nats

pytestmark = needs_nats

BOX, TOKEN = b"m" * 16, hash_token(b"t" * 32)
LIMITS = StoreLimits()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def bed(server: NatsServer) -> AsyncIterator[NatsBed]:
    made = NatsBed(server.url)
    yield made
    await made.close()
    await _delete_streams(server)


async def _delete_streams(server: NatsServer) -> None:
    client = await nats.connect(server.url)
    stream = client.jetstream()
    for info in await stream.streams_info():
        await stream.delete_stream(info.config.name or "")
    await client.close()


async def _items(store: MailboxStore) -> list[bytes]:
    return [item.data for item in (await store.read(BOX, TOKEN, 0, 100_000)).items]


async def test_nodes_that_write_in_turn_lose_and_double_nothing(bed: NatsBed) -> None:
    here, there = (await bed.open(LIMITS)).store, (await bed.open(LIMITS)).store
    positions = []
    for number in range(12):
        node = (here, here, there)[number % 3]
        positions.append((await node.put(BOX, TOKEN, b"item %d" % number)).position)
    assert positions == sorted(set(positions))
    for node in (here, there):
        assert await _items(node) == [b"item %d" % number for number in range(12)]


async def test_what_another_node_stored_is_not_stored_again(bed: NatsBed) -> None:
    here, there = (await bed.open(LIMITS)).store, (await bed.open(LIMITS)).store
    await here.put(BOX, TOKEN, b"first")
    theirs = await there.put(BOX, TOKEN, b"second")
    assert await here.put(BOX, TOKEN, b"second") == theirs
    assert await _items(here) == [b"first", b"second"]


async def test_room_that_another_node_made_is_used(bed: NatsBed) -> None:
    small = replace(LIMITS, mailbox_bytes_max=10_000)
    here, there = (await bed.open(small)).store, (await bed.open(small)).store
    stored = [await here.put(BOX, TOKEN, bytes([number]) * 4000) for number in range(2)]
    with pytest.raises(RelayRefused, match="room"):
        await here.put(BOX, TOKEN, b"x" * 4000)
    await there.compact(BOX, TOKEN, stored[-1].position, b"all in one")
    await here.put(BOX, TOKEN, b"x" * 4000)
    assert await _items(there) == [b"all in one", b"x" * 4000]


async def test_streams_that_vanish_under_it_show_in_the_incarnation(bed: NatsBed, server: NatsServer) -> None:
    here = (await bed.open(LIMITS)).store
    before = [await here.put(BOX, TOKEN, b"before %d" % number) for number in range(2)]
    await _delete_streams(server)
    after = await here.put(BOX, TOKEN, b"after")
    assert after.incarnation != before[-1].incarnation
    assert await _items(here) == [b"after"]


async def test_who_wrote_last_does_not_open_the_mailbox_to_another_token(bed: NatsBed) -> None:
    here = (await bed.open(LIMITS)).store
    await here.put(BOX, TOKEN, b"mine")
    with pytest.raises(RelayRefused) as refused:
        await here.put(BOX, hash_token(b"another"), b"not mine")
    assert refused.value.code is RefusalCode.WRONG_TOKEN
    assert await _items(here) == [b"mine"]
