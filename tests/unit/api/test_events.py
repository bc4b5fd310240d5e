"""Server-sent events: shape, heartbeat, end of session, end of daemon."""

from __future__ import annotations

import asyncio

import httpx

from sheaf.api.auth import SESSION_IDLE_S
from sheaf.api.eventstream import encode_event, event_stream
from sheaf.api.hangups import Hangups
from sheaf.node.events import QUEUE_MAX, Event, EventBus
from tests.support.daemon import eventually
from tests.support.fake_node import FakeNode
from tests.support.local_door import RunningDoor


def test_an_event_is_one_line_of_json_whatever_the_names_hold() -> None:
    wire = encode_event(Event("join_changed", {"name": "a\n\nevent: forged\u2028", "done_bytes": 3}))
    assert wire.count(b"\n") == 3
    assert wire.startswith(b'event: join_changed\ndata: {"name": "a\\n\\nevent: forged')
    assert wire.endswith(b"\n\n")


async def test_changes_arrive_as_they_happen(door: RunningDoor, node: FakeNode) -> None:
    async with door.client() as client, client.stream("GET", "/api/v1/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        await node.update_profile(user_name="Grace")
        await node.create_space("Home")
        received = [await anext(lines) for _ in range(8)]
    assert [line for line in received if line] == [
        ": connected",
        "event: profile_changed",
        "data: {}",
        "event: spaces_changed",
        "data: {}",
    ]
    await eventually(lambda: not node.events._subscriptions)


async def test_a_stopping_daemon_ends_the_stream(door: RunningDoor, node: FakeNode) -> None:
    async with door.client() as client, client.stream("GET", "/api/v1/events") as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        door.server.stop()
        async with asyncio.timeout(5):
            assert [line async for line in lines] == [": connected", ""]


async def test_silence_is_filled_and_ends_with_the_session(node: FakeNode) -> None:
    alive = iter([True, True, False])
    stream = event_stream(
        node.events.subscribe(), hangups=Hangups(), is_signed_in=lambda: next(alive), heartbeat_s=0.01
    )
    assert [chunk async for chunk in stream] == [
        b"retry: 1000\n: connected\n\n",
        b": alive\n\n",
        b": alive\n\n",
    ]
    assert not node.events._subscriptions


async def test_a_listener_that_lags_is_told_to_refetch() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    for number in range(QUEUE_MAX + 1):
        bus.publish("documents_changed", number=number)
    assert (await anext(subscription)).kind == "resync"


async def test_an_open_stream_keeps_the_session(door: RunningDoor, client: httpx.AsyncClient) -> None:
    headers = await door.sign_in()
    async with door.client(is_signed_in=False) as browser:
        door.clock.advance(SESSION_IDLE_S - 1)
        async with browser.stream("GET", "/api/v1/events", headers=headers) as answer:
            await anext(answer.aiter_lines())
        door.clock.advance(SESSION_IDLE_S - 1)
        assert (await browser.get("/api/v1/status", headers=headers)).status_code == 200
