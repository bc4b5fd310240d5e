"""Tunnels through relays: found on whichever node has the other side, and nowhere else (PROTOCOL §7.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_frames import Error, Frame, TunnelElsewhere, TunnelJoin, TunnelJoined
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.core.wire.relay_words import ErrorCode
from sheaf.signaling.relay_socket import HOPS_MAX, RelayDoor, _next_hop
from sheaf.signaling.resolver import Resolver
from tests.support.scripted_relay import WELCOME, Caller, Script, scripted_relay

TOKEN = b"t" * 16


def joins(answer: Callable[[], Frame]) -> Script:
    async def script(caller: Caller) -> None:
        await caller.socket.send(WELCOME)
        assert await caller.next() == TunnelJoin(TOKEN)
        await caller.socket.send(answer())
        await caller.gone()

    return script


async def test_a_tunnel_is_followed_to_the_node_that_has_the_other_side() -> None:
    async with (
        scripted_relay(joins(TunnelJoined)) as there,
        scripted_relay(joins(lambda: TunnelElsewhere(there.url))) as here,
    ):
        stream = await RelayDoor(resolver=Resolver()).join(RelayUrl.parse(here.url), TOKEN)
        assert stream.label == there.url
        await stream.close()


async def test_nodes_that_send_a_tunnel_back_and_forth_are_left() -> None:
    async with scripted_relay(joins(lambda: TunnelElsewhere(here.url))) as here:
        with pytest.raises(TransportFailure, match="back and forth"):
            await RelayDoor(resolver=Resolver()).join(RelayUrl.parse(here.url), TOKEN)
        assert here.count == HOPS_MAX


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("wss://relay.example", "ws://node.example"),
        ("wss://relay.example", "wss://127.0.0.1:9999"),
        ("wss://relay.example", "wss://[::1]"),
        ("wss://relay.example", "wss://localhost"),
        ("wss://relay.example", "wss://169.254.169.254"),
        ("wss://relay.example", "file:///etc/passwd"),
        ("ws://192.168.1.7:7412", "ws://127.0.0.1:631"),
    ],
)
def test_a_relay_cannot_aim_us_at_this_machine_or_take_tls_away(first: str, named: str) -> None:
    with pytest.raises(TransportFailure):
        _next_hop(RelayUrl.parse(first), named)


def test_another_node_of_the_same_operator_gets_the_same_token() -> None:
    url = _next_hop(RelayUrl.parse("wss://t0ken@relay.example"), "wss://node2.relay.example/a")
    assert (url.text, url.token) == ("wss://node2.relay.example/a", b"t0ken")


async def test_a_token_that_nobody_else_brings_is_no_tunnel() -> None:
    async with scripted_relay(joins(lambda: Error(ErrorCode.NOT_HERE))) as relay:
        with pytest.raises(TransportFailure):
            await RelayDoor(resolver=Resolver()).join(RelayUrl.parse(relay.url), TOKEN)
