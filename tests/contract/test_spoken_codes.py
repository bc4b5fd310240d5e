"""Spoken codes between two nodes, over the relay in memory, a real one, and a fleet (PROTOCOL §8)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node.node import Node
from sheaf.node.spoken_codes import CODES_MAX
from sheaf.node.views import CodeState, CodeView
from sheaf.ports.relay import Relay, RelayPool, RelayState
from sheaf.signaling.relay_client import RelayWorld
from sheaf.signaling.relay_pool import RelayConnections
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver
from tests.support.code_town import code_of, invite, is_withdrawn, join_by, misheard, until_state
from tests.support.memory_network import MemoryLan
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nats import nats_server, needs_nats
from tests.support.nodes import machine, running, until
from tests.support.relay import RelayProcess


@dataclass
class Place:
    """Ann and Bob, somebody else at the same relay, and a way to end that relay."""

    ann: Node
    bob: Node
    other: Relay
    end_relay: Callable[[], None]


@dataclass
class Ground:
    """Where they meet: the relay of each of the three, and what ends Ann's."""

    urls: tuple[str, str, str]
    new_pool: Callable[[], RelayPool]
    end_relay: Callable[[], None]


def _in_memory() -> Ground:
    box = RelayBox("wss://relay.example")
    return Ground((box.url,) * 3, lambda: MemoryRelayPool(box), lambda: box.switch(is_up=False))


def _real(directory: Path, stack: AsyncExitStack) -> Ground:
    process = RelayProcess(directory).start()
    stack.callback(process.kill)
    return Ground((process.url,) * 3, _connections, process.kill)


def _fleet(directory: Path, stack: AsyncExitStack) -> Ground:
    """Three nodes of one fleet, each of the three people at another."""
    nats = stack.enter_context(nats_server(directory / "nats"))
    nodes = [RelayProcess(directory / f"node{number}", store=nats.url) for number in range(3)]
    for node in nodes:
        node.spawn()
        stack.callback(node.kill)
    for node in nodes:
        assert node.ready_or_ended() is None, node.log()
    ann, bob, other = (node.url for node in nodes)
    return Ground((ann, bob, other), _connections, nodes[0].kill)


def _connections() -> RelayPool:
    return RelayConnections(
        world=RelayWorld(
            door=RelayDoor(resolver=Resolver()), now=time.monotonic, wall_ms=lambda: 1, chance=lambda: 0.5
        )
    )


@pytest.fixture(params=["memory", "real", pytest.param("fleet", marks=needs_nats)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "memory":
                ground = _in_memory()
            case "real":
                ground = _real(tmp_path, stack)
            case _:
                ground = _fleet(tmp_path, stack)
        pools = [ground.new_pool() for _ in ground.urls]
        for pool in pools:
            stack.push_async_callback(pool.close)
        lan = MemoryLan()
        machines = [machine(lan, name) for name in ("ann", "bob")]
        for each, pool, url in zip(machines, pools, ground.urls, strict=False):
            each.relays, each.own_relays = pool, (url,)
        pools[2].set_urls([ground.urls[2]])
        ann, bob = await stack.enter_async_context(running(*machines))
        relays = [pool.relays()[0] for pool in pools]
        await until(lambda: all(relay.status.state is RelayState.CONNECTED for relay in relays))
        yield Place(ann, bob, relays[2], ground.end_relay)


def number_of(code: CodeView) -> int:
    return int(code.text.split("-")[0])


async def test_the_right_code_brings_somebody_in(place: Place) -> None:
    space, op, code = await invite(place.ann)
    joined = await join_by(place.bob, code.text)
    assert joined.error is None
    used = await until_state(place.ann, space, op, CodeState.USED)
    assert used.safety_words is not None
    assert used.safety_words == joined.safety_words
    with pytest.raises(RelayRefused):
        await place.other.claim_nameplate(number_of(code))


async def test_a_wrong_word_burns_it_and_both_are_told(place: Place) -> None:
    space, op, code = await invite(place.ann)
    failed = await join_by(place.bob, misheard(code))
    assert failed.error is not None
    assert failed.error[0] == "The code was not right"
    await until_state(place.ann, space, op, CodeState.BURNED)
    await until(lambda: is_withdrawn(place.ann.invitation(space, op)))
    again = await join_by(place.bob, code.text)
    assert again.error is not None
    assert again.error[0] == "Nobody waits for this code"


async def test_a_third_makes_it_worthless_for_all(place: Place) -> None:
    space, op, code = await invite(place.ann)
    await place.other.claim_nameplate(number_of(code))
    failed = await join_by(place.bob, code.text)
    assert failed.error is not None
    assert failed.error[0] == "Two used this code at the same time"
    burned = await until_state(place.ann, space, op, CodeState.BURNED)
    assert "Two came" in (burned.problem or "")


async def test_a_withdrawn_code_is_known_to_nobody(place: Place) -> None:
    space, op, code = await invite(place.ann)
    await place.ann.revoke_invitation(space, op)
    failed = await join_by(place.bob, code.text)
    assert failed.error is not None
    assert failed.error[0] == "Nobody waits for this code"


async def test_a_relay_that_ends_ends_the_code_in_words(place: Place) -> None:
    space, op, _ = await invite(place.ann)
    place.end_relay()
    await until_state(place.ann, space, op, CodeState.FAILED)
    assert "connection to the relay broke" in (code_of(place.ann, space, op).problem or "")


async def test_as_many_codes_may_wait_as_a_daemon_makes(place: Place) -> None:
    invited = [await invite(place.ann) for _ in range(CODES_MAX)]
    assert len({number_of(code) for _, _, code in invited}) == CODES_MAX
    joined = await join_by(place.bob, invited[-1][2].text)
    assert joined.error is None
    assert all(code_of(place.ann, space, op).state is CodeState.WAITING for space, op, _ in invited[:-1])


async def test_a_number_is_given_to_one_code_at_a_time(place: Place) -> None:
    _, _, first = await invite(place.ann)
    _, _, second = await invite(place.ann)
    assert number_of(first) != number_of(second)
    plate = await place.other.allocate_nameplate()
    assert plate.number not in (number_of(first), number_of(second))
    with pytest.raises(RelayRefused) as refused:
        await place.other.claim_nameplate(99_999)
    assert refused.value.code is RefusalCode.GONE
