"""STUN: asked only when known to be alive, never waited for long (PROTOCOL §5, FAULTS N5, N19)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import CANDIDATES_MAX
from sheaf.ports import NatKind
from sheaf.task_set import TaskSet
from sheaf.transport import ice_guard, stun_probe
from sheaf.transport.stun_probe import Lookup, StunProbe
from sheaf.transport.stun_route import StunRoute
from sheaf.transport.webrtc import WebRtc
from tests.support.nodes import until

Where = tuple[str, int]
OUTSIDE = "203.0.113.9"
HERE = "127.0.0.1"
STALL_S = 4.5
"""A deadline that aiortc's own five seconds for a silent server would miss."""


class Server(asyncio.DatagramProtocol):
    """A STUN server that says what it is told to; `says` None: nothing."""

    def __init__(self, says: Callable[[Where], Where | None]) -> None:
        self.says = says
        self.asked = 0
        self.address: Where = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.asked += 1
        mapped = self.says((addr[0], addr[1]))
        if mapped is not None:
            assert self._transport is not None
            self._transport.sendto(answer(stun.parse_message(data).transaction_id, mapped), addr)


def answer(transaction_id: bytes, mapped: Where) -> bytes:
    return bytes(
        stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": mapped},
        )
    )


def outside(where: Where) -> Where:
    """A router that keeps port numbers."""
    return OUTSIDE, where[1]


@asynccontextmanager
async def serving(says: Callable[[Where], Where | None]) -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Server(says), local_addr=(HERE, 0))
    try:
        yield server
    finally:
        transport.close()


async def literal(host: str, port: int) -> Sequence[tuple[int, Any]]:
    if host.endswith(".example"):
        raise TransportFailure("no such name")
    return [(socket.AF_INET, (host, port))]


async def hanging(host: str, port: int) -> Sequence[tuple[int, Any]]:
    """DNS that swallows questions."""
    if host.endswith(".example"):
        await asyncio.Event().wait()
    return await literal(host, port)


@asynccontextmanager
async def probing(
    *servers: str, addresses: Sequence[str] = (HERE,), more: Sequence[str] = (), lookup: Lookup = literal
) -> AsyncIterator[StunProbe]:
    """A running probe of `servers`, and of those in `more`, which may grow."""
    tasks = TaskSet("test")
    probe = StunProbe(servers=lambda: [*servers, *more], addresses=lambda: list(addresses), lookup=lookup)
    tasks.spawn(probe.run(), "probe")
    try:
        yield probe
    finally:
        await tasks.close()


def text(server: Server) -> str:
    return f"{server.address[0]}:{server.address[1]}"


# ------------------------------------------------------------------ the probe


async def test_a_server_that_answers_is_a_route_and_tells_how_we_look() -> None:
    async with serving(outside) as server, probing(text(server)) as probe:
        assert await probe.routes() == [StunRoute(HERE, server.address)]
        (status,) = probe.report().servers
        assert status.is_alive
        assert str(status.mapped).startswith(OUTSIDE)
        assert status.rtt_ms is not None
        assert probe.report().nat is NatKind.UNKNOWN


async def test_a_dead_server_and_an_unknown_name_are_no_routes_and_hold_up_nobody() -> None:
    async with (
        serving(lambda _: None) as dead,
        serving(outside) as alive,
        probing(text(dead), "stun.example:3478", text(alive)) as probe,
    ):
        async with asyncio.timeout(STALL_S):
            assert await probe.routes() == [StunRoute(HERE, alive.address)]
        await until(lambda: dead.asked == 3)
        assert [server.is_alive for server in probe.report().servers] == [False, False, True]


async def test_a_name_that_cannot_be_looked_up_holds_up_no_other_server() -> None:
    async with serving(outside) as server, probing("a.example:1", text(server), lookup=hanging) as probe:
        assert await probe.routes() == [StunRoute(HERE, server.address)]


async def test_a_server_that_comes_is_asked_at_once_though_a_dead_one_is_waited_for() -> None:
    more: list[str] = []
    async with serving(outside) as server, probing("a.example:1", more=more, lookup=hanging) as probe:
        assert await probe.routes() == []
        more.append(text(server))
        probe.servers_changed()
        assert await probe.routes() == [StunRoute(HERE, server.address)]


async def test_without_an_answer_a_connection_waits_for_half_a_second_at_most() -> None:
    async with serving(lambda _: None) as dead, probing(text(dead)) as probe:
        async with asyncio.timeout(STALL_S):
            assert not await probe.routes()


@pytest.mark.parametrize(
    ("shift", "kind"), [(0, NatKind.STABLE), (1, NatKind.SYMMETRIC)], ids=["stable", "symmetric"]
)
async def test_two_servers_tell_the_kind_of_router(shift: int, kind: NatKind) -> None:
    async with (
        serving(outside) as one,
        serving(lambda where: (OUTSIDE, where[1] + shift)) as two,
        probing(text(one), text(two)) as probe,
    ):
        await until(lambda: probe.report().nat is kind)


async def test_who_is_seen_as_himself_is_behind_no_router() -> None:
    async with serving(lambda where: where) as server, probing(text(server)) as probe:
        # loopback is no address to be seen at; a real one is
        assert not await probe.routes()
        server.says = lambda _: ("198.51.100.7", 5000)
        probe._found[0].answers[StunRoute("198.51.100.7", server.address)] = ("198.51.100.7", 5000)
        assert probe.report().nat is NatKind.NONE


async def test_when_somebody_answers_again_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stun_probe, "ANSWER_S_MAX", 0.2)
    monkeypatch.setattr(stun_probe, "STALE_S", 0.0)
    async with serving(lambda _: None) as server, probing(text(server)) as probe:
        told: list[int] = []
        probe.on_alive(lambda: told.append(1))
        await until(lambda: server.asked and not probe._is_probing)
        assert told == []
        server.says = outside
        await until(probe.routes)  # who wants to know has them asked again
        await until(lambda: told == [1])


async def test_changed_addresses_make_what_was_found_worthless() -> None:
    async with serving(outside) as server, probing(text(server)) as probe:
        assert await probe.routes()
        server.says = lambda _: None
        probe.hurry()
        assert not await probe.routes()


@given(st.binary(max_size=200))
def test_junk_from_the_network_is_no_answer(data: bytes) -> None:
    stun_probe._Asker(stun).datagram_received(data, (HERE, 3478))


async def test_an_answer_from_somebody_else_or_to_a_third_party_is_none() -> None:
    for mapped in (("224.0.0.1", 5), ("0.0.0.0", 5), ("127.0.0.1", 5)):
        async with serving(lambda _, m=mapped: m) as server, probing(text(server)) as probe:  # type: ignore[misc]  # bound now
            assert not await probe.routes()
    asker = stun_probe._Asker(stun)
    future: asyncio.Future[Where] = asyncio.get_running_loop().create_future()
    asker._waiting[b"t" * 12] = ((HERE, 3478), future)
    asker.datagram_received(answer(b"t" * 12, (OUTSIDE, 5)), (HERE, 9999))
    assert not future.done()
    asker.datagram_received(answer(b"t" * 12, (OUTSIDE, 5)), (HERE, 3478))
    assert future.result() == (OUTSIDE, 5)


# ------------------------------------------------------------------ gathering


@asynccontextmanager
async def transport(*routes: StunRoute, addresses: Sequence[str] = (HERE,)) -> AsyncIterator[WebRtc]:
    async def given_routes() -> Sequence[StunRoute]:
        return routes

    made = WebRtc(addresses=lambda: list(addresses), stun_routes=given_routes)
    await made.warm_up()
    yield made
    await made.close()


async def test_over_a_relay_a_description_says_how_we_look_from_outside() -> None:
    async with serving(outside) as server, transport(StunRoute(HERE, server.address)) as webrtc:
        attempt = await webrtc.offer(use_stun=True)
        host, reflexive = attempt.description.candidates
        assert (host.kind, reflexive.kind) == ("host", "srflx")
        assert (reflexive.address, reflexive.port) == (OUTSIDE, host.port)
        assert reflexive.priority < host.priority
        await attempt.close()


async def test_on_the_lan_nobody_outside_is_asked() -> None:
    async with serving(outside) as server, transport(StunRoute(HERE, server.address)) as webrtc:
        attempt = await webrtc.offer()
        assert [candidate.kind for candidate in attempt.description.candidates] == ["host"]
        assert server.asked == 0
        await attempt.close()


async def test_a_server_that_died_since_costs_a_second_at_most() -> None:
    async with serving(lambda _: None) as server, transport(StunRoute(HERE, server.address)) as webrtc:
        async with asyncio.timeout(STALL_S):
            attempt = await webrtc.offer(use_stun=True)
        assert [candidate.kind for candidate in attempt.description.candidates] == ["host"]
        await attempt.close()


@pytest.mark.parametrize("lie", ["224.0.0.1", "127.0.0.1", "255.255.255.255", "0.0.0.0"])
async def test_a_server_that_lies_about_us_adds_nothing(lie: str) -> None:
    async with (
        serving(lambda where: (lie, where[1])) as server,
        transport(StunRoute(HERE, server.address)) as webrtc,
    ):
        attempt = await webrtc.offer(use_stun=True)
        assert [candidate.kind for candidate in attempt.description.candidates] == ["host"]
        await attempt.close()


async def test_candidates_stay_bounded_whatever_servers_say() -> None:
    ports = iter(range(2000, 60_000))
    async with serving(lambda _: (OUTSIDE, next(ports))) as server:
        routes = [StunRoute(HERE, server.address)] * 100
        async with transport(*routes, addresses=[HERE] * 40) as webrtc:
            attempt = await webrtc.offer(use_stun=True)
            assert len(attempt.description.candidates) <= CANDIDATES_MAX
            assert server.asked <= ice_guard.STUN_QUESTIONS_MAX
            await attempt.close()
