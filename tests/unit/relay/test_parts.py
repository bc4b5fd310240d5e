"""The relay's smaller parts: addresses to listen on, token files, a store that hangs, operators' pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sheaf.clock import SystemClock, system_entropy
from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Error, Ping, Pong, Refused, TunnelElsewhere, TunnelJoin
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStored,
    MailboxUnwatch,
    MailboxWatch,
    NameplateClaim,
    NameplateClosed,
    NameplateHeard,
    NameplateHeld,
)
from sheaf.core.wire.relay_words import ErrorCode, RefusalCode, RelayRefused
from sheaf.ports.relay import MailboxPage, MailboxStat, StoredItem
from sheaf.relay.client import Client
from sheaf.relay.fleet import Fleet, LocalFleet
from sheaf.relay.hub import Hub
from sheaf.relay.limits import Addresses, RelayLimits, is_private
from sheaf.relay.listening import bind_tcp, parse_listen, shown
from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.run import Relay, RelaySettings, read_tokens
from sheaf.relay.store import EMPTY_PAGE, EMPTY_STAT, MailboxStore, OnNews, StoreTotals
from tests.support.daemon import eventually
from tests.support.relay import frame_client, running_relay

BOX, TOKEN, RID = b"m" * 16, b"t" * 32, RendezvousId(b"r" * 16)
LIFE = b"lifetime"


# ------------------------------------------------------------------ listening


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:7412", ("127.0.0.1", 7412)),
        ("[::1]:0", ("::1", 0)),
        (":80", ("", 80)),
        ("relay.example:443", ("relay.example", 443)),
    ],
)
def test_an_address_to_listen_on_is_read(text: str, meant: tuple[str, int]) -> None:
    assert parse_listen(text) == meant
    if meant[0]:
        assert shown(*meant) == text


@pytest.mark.parametrize("text", ["", "7412", "host", "host:", "host:65536", "host:-1", "host:٣", "host:1x"])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_listen(text)


def test_every_address_means_both_families_at_one_port() -> None:
    sockets = bind_tcp("0.0.0.0", 0)
    assert len({each.getsockname()[1] for each in sockets}) == 1
    assert len({each.family for each in sockets}) == len(sockets)
    for each in sockets:
        each.close()


def test_an_address_that_is_not_ours_is_refused_with_advice() -> None:
    with pytest.raises(TransportFailure, match="--listen"):
        bind_tcp("192.0.2.1", 7412)


def test_private_addresses_are_told_from_public_ones() -> None:
    assert all(is_private(each) for each in ("127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fe80::1%eth0"))
    assert not any(is_private(each) for each in ("8.8.8.8", "2a00::1", "unknown", ""))


# ------------------------------------------------------------------ tokens


def test_a_token_file_has_a_token_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# since May\n  first \n\nsecond\r\n")
    assert read_tokens(path) == (b"first", b"second")


@pytest.mark.parametrize("content", ["", "# only this\n", "x" * 129])
def test_a_token_file_without_good_tokens_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(UsageError, match="one token a line"):
        read_tokens(path)


def test_settings_do_not_show_tokens() -> None:
    assert "secret" not in repr(RelaySettings(store="sqlite:x", tokens=(b"secret",)))


# ------------------------------------------------------------------ operators' pages


async def test_while_draining_health_says_so_and_new_clients_are_refused(tmp_path: Path) -> None:
    async with (
        running_relay(settings(tmp_path)) as (relay, ready),
        frame_client(ready.url) as first,
        frame_client(ready.url) as second,
    ):
        for each in (first, second):
            await each.ask(Ping(), Pong)
        assert await get(ready.port, "/healthz") == (200, b"ok\n")
        async with asyncio.TaskGroup() as group:
            told = [group.create_task(each.expect(Error)) for each in (first, second)]
            stopping = group.create_task(relay.stop())
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            assert await get(ready.port, "/healthz") == (503, b"draining\n")
            assert (await get(ready.port, "/sheaf"))[0] == 503
            await stopping
        assert [each.result().code for each in told] == [ErrorCode.GOING_AWAY] * 2


async def test_metrics_are_not_for_those_who_come_through_a_proxy(tmp_path: Path) -> None:
    async with running_relay(settings(tmp_path)) as (_, ready):
        assert (await get(ready.port, "/metrics"))[0] == 200
        assert await get(ready.port, "/metrics", "X-Forwarded-For: 10.0.0.1\r\n") == (404, b"")
        assert (await get(ready.port, "/healthz", "X-Forwarded-For: 10.0.0.1\r\n"))[0] == 200


# ------------------------------------------------------------------ stores and fleets that misbehave


class StrangeStore:
    """A `MailboxStore` that hangs, fails and falls back as told."""

    def __init__(self, on_news: OnNews) -> None:
        self.on_news = on_news
        self.hangs = False
        self.fails = False
        self.stat_of: MailboxStat = EMPTY_STAT
        self.watched: set[bytes] = set()
        self.watching = 0
        self.may_watch = asyncio.Event()
        self.may_watch.set()

    async def _work(self) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.fails:
            raise RelayRefused(RefusalCode.UNAVAILABLE)

    async def put(self, mailbox_id: bytes, token_hash: bytes, item: bytes) -> StoredItem:
        await self._work()
        return StoredItem(1, LIFE)

    async def read(self, mailbox_id: bytes, token_hash: bytes, after: int, bytes_max: int) -> MailboxPage:
        await self._work()
        return EMPTY_PAGE

    async def compact(
        self, mailbox_id: bytes, token_hash: bytes, expect_last: int, item: bytes
    ) -> StoredItem:
        await self._work()
        return StoredItem(2, LIFE)

    async def stat(self, mailbox_id: bytes, token_hash: bytes) -> MailboxStat:
        await self._work()
        return self.stat_of

    async def watch(self, mailbox_id: bytes) -> None:
        self.watching += 1
        await self.may_watch.wait()
        self.watched.add(mailbox_id)

    async def unwatch(self, mailbox_id: bytes) -> None:
        self.watched.remove(mailbox_id)

    async def expire(self, now_s: float) -> int:
        return 0

    async def totals(self) -> StoreTotals:
        await self._work()
        return StoreTotals(0, 0, 0)

    async def close(self) -> None:
        pass


class StrangeRelay(Relay):
    """A relay over a store and a fleet of ours."""

    fleet: Fleet = LocalFleet(now=lambda: 0.0, choose=lambda count: 0)

    async def _open_store(self, url: str, on_news: OnNews) -> tuple[MailboxStore, Fleet]:
        self.strange = StrangeStore(on_news)
        return self.strange, self.fleet


async def test_a_store_that_hangs_is_unavailable_and_signalling_goes_on(tmp_path: Path) -> None:
    limits = replace(RelayLimits(), store_s_max=0.1)
    relay = StrangeRelay(
        replace(settings(tmp_path), limits=limits), clock=SystemClock(), entropy=system_entropy
    )
    ready = await relay.start()
    async with frame_client(ready.url) as client:
        relay.strange.hangs = True
        assert await client.ask(MailboxPut(1, BOX, TOKEN, b"x"), Refused) == Refused(
            1, RefusalCode.UNAVAILABLE
        )
        assert await client.ask(MailboxWatch(2, BOX, TOKEN), Refused) == Refused(2, RefusalCode.UNAVAILABLE)
        assert relay.strange.watched == set()
        relay.strange.hangs, relay.strange.fails = False, True
        assert await client.ask(MailboxGet(3, BOX, TOKEN, 0, 9), Refused) == Refused(
            3, RefusalCode.UNAVAILABLE
        )
        relay.strange.fails = False
        await client.ask(MailboxPut(4, BOX, TOKEN, b"x"), MailboxStored)
        await client.ask(MailboxGet(5, BOX, TOKEN, 0, 9), MailboxItems)
    await relay.close()


async def test_a_mailbox_that_fell_back_is_told_as_it_stands_now(tmp_path: Path) -> None:
    relay = StrangeRelay(settings(tmp_path), clock=SystemClock(), entropy=system_entropy)
    ready = await relay.start()
    async with frame_client(ready.url) as client:
        relay.strange.stat_of = replace(EMPTY_STAT, last=9, incarnation=LIFE)
        assert await client.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews) == MailboxNews(BOX, LIFE, 9)
        relay.strange.on_news(BOX, 7, LIFE)  # late, from another node
        assert await client.expect(MailboxNews) == MailboxNews(BOX, LIFE, 9)
        relay.strange.stat_of = replace(EMPTY_STAT, last=4, incarnation=LIFE)
        relay.strange.on_news(BOX, 4, LIFE)
        assert await client.expect(MailboxNews) == MailboxNews(BOX, LIFE, 4)
        relay.strange.on_news(BOX, 5, LIFE)
        assert await client.expect(MailboxNews) == MailboxNews(BOX, LIFE, 5)
        await client.send(MailboxUnwatch(BOX), Ping())
        await client.expect(Pong)
        assert relay.strange.watched == set()
    await relay.close()


async def test_the_store_is_let_go_of_with_its_last_watcher(tmp_path: Path) -> None:
    relay = StrangeRelay(settings(tmp_path), clock=SystemClock(), entropy=system_entropy)
    ready = await relay.start()
    async with frame_client(ready.url) as staying:
        async with frame_client(ready.url) as leaving:
            for each in (leaving, staying):
                await each.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews)
            assert relay.strange.watched == {BOX}
        await staying.ask(Ping(), Pong)
        assert relay.strange.watched == {BOX}
    await eventually(lambda: not relay.strange.watched)
    await relay.close()


async def test_nobody_watches_before_the_store_does_whoever_was_first(tmp_path: Path) -> None:
    relay = StrangeRelay(settings(tmp_path), clock=SystemClock(), entropy=system_entropy)
    ready = await relay.start()
    relay.strange.may_watch.clear()
    async with frame_client(ready.url) as first, frame_client(ready.url) as second:
        for client in (first, second):
            await client.send(MailboxWatch(1, BOX, TOKEN))
        await eventually(lambda: relay.strange.watching == 2, what="both wait for the store")
        relay.strange.may_watch.set()
        for client in (first, second):
            await client.expect(MailboxNews)
    await relay.close()


class SlowFleet(LocalFleet):
    """A fleet in which a subscription takes until it is confirmed."""

    def __init__(self) -> None:
        super().__init__(now=lambda: 0.0, choose=lambda count: 0)
        self.waiting: list[list[RendezvousId]] = []
        self.confirmed = asyncio.Event()

    async def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        self.waiting.append(list(rids))
        await self.confirmed.wait()


async def test_no_subscription_counts_before_the_fleet_has_confirmed_it_whoever_was_first() -> None:
    fleet = SlowFleet()
    limits = RelayLimits()
    hub = Hub(
        fleet=fleet,
        limits=limits,
        addresses=Addresses(limits=limits, now=lambda: 0.0),
        metrics=RelayMetrics(),
        entropy=system_entropy,
    )
    clients = [cast(Client, SimpleNamespace(rids=None)) for _ in range(2)]
    first, second = (asyncio.create_task(hub.subscribe(client, [RID])) for client in clients)
    for _ in range(5):
        await asyncio.sleep(0)
    assert fleet.waiting == [[RID]]
    assert not first.done()
    assert not second.done()
    fleet.confirmed.set()
    assert await first
    assert await second
    assert await hub.subscribe(cast(Client, SimpleNamespace(rids=None)), [RID])
    assert [rids for rids in fleet.waiting if rids] == [[RID]]


class FarFleet(LocalFleet):
    """A fleet whose other node holds every tunnel, and where the other side is quick to speak."""

    async def hold_tunnel(self, token: bytes) -> str | None:
        return "wss://b.relay.example"

    async def start(self, listener: Any) -> None:
        self.listener = listener
        await super().start(listener)

    async def claim_nameplate(self, number: int, side: str) -> None:
        self.listener.heard(side, number, b"early")
        await asyncio.sleep(0.01)
        self.listener.heard(side, number, b"bird")
        self.listener.nameplate_closed(side, number, RefusalCode.GONE)


async def test_a_side_that_waits_elsewhere_is_named_by_its_url(tmp_path: Path) -> None:
    relay = StrangeRelay(settings(tmp_path), clock=SystemClock(), entropy=system_entropy)
    relay.fleet = FarFleet(now=lambda: 0.0, choose=lambda count: 0)
    ready = await relay.start()
    async with frame_client(ready.url) as client:
        await client.send(TunnelJoin(b"k" * 16))
        assert await client.expect(TunnelElsewhere) == TunnelElsewhere("wss://b.relay.example")
        await client.ended()
    await relay.close()


async def test_a_number_is_ones_own_before_anything_is_heard_there(tmp_path: Path) -> None:
    relay = StrangeRelay(settings(tmp_path), clock=SystemClock(), entropy=system_entropy)
    relay.fleet = FarFleet(now=lambda: 0.0, choose=lambda count: 0)
    ready = await relay.start()
    async with frame_client(ready.url) as client:
        await client.send(NameplateClaim(1, 7))
        assert [await client.receive() for _ in range(4)] == [
            NameplateHeld(1, 7),
            NameplateHeard(7, b"early"),
            NameplateHeard(7, b"bird"),
            NameplateClosed(7, RefusalCode.GONE),
        ]
    await relay.close()


# ------------------------------------------------------------------ helpers


def settings(directory: Path) -> RelaySettings:
    return RelaySettings(store=f"sqlite:{directory}/relay.sqlite3", listen="127.0.0.1:0", stun_port=0)


async def get(port: int, path: str, headers: str = "") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    async with asyncio.timeout(10):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body
