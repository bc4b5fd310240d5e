"""FAULTS A7: SIGTERM under load, with clients that are stuck in every way."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.daemon import Daemon
from tests.support.typist import Typist, verdict
from tests.support.world import (
    Town,
    make_document,
    make_space,
    shared_document,
    text,
    until_equal,
    until_live,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

STOP_S_MAX = 5.0


async def test_a7_sigterm_under_load_ends_in_time_and_keeps_what_was_acknowledged(
    here: Town, seeded_random: random.Random
) -> None:
    ada, _ = here.start("ada", "ben")
    document_id = make_document(ada, make_space(ada))
    typists = [
        Typist(f"t{number}", ada, document_id, choice=seeded_random, pause_s=0.002) for number in range(3)
    ]
    with stuck_clients(ada, document_id):
        async with asyncio.TaskGroup() as group:
            for typist in typists:
                group.create_task(typist.run())
            for typist in typists:
                await typist.until(lambda typist=typist: len(typist.acknowledged) > 20)  # type: ignore[misc]
            began = time.monotonic()
            assert await asyncio.to_thread(ada.stop, STOP_S_MAX) == 0
            print(f"A7: stopped in {time.monotonic() - began:.2f} s")
            acknowledged = set().union(*(typist.acknowledged for typist in typists))
            await asyncio.to_thread(ada.start)
            there = text(ada, document_id)
            missing = [word for word in acknowledged if word not in there]
            assert missing == []
            for typist in typists:
                typist.is_typing = False
    result = verdict(text(ada, document_id), *typists)
    assert (result["lost"], result["doubled"], result["unknown"]) == ([], [], 0)


async def test_a7_a_daemon_whose_peer_was_just_killed_stops_in_time(
    here: Town, seeded_random: random.Random
) -> None:
    """It still holds words for a connection that nobody reads any more."""
    ada, ben = here.start("ada", "ben")
    document_id = shared_document(ada, ben)
    typist = Typist("ada", ada, document_id, choice=seeded_random, pause_s=0.002)
    async with asyncio.TaskGroup() as group:
        group.create_task(typist.run())
        for is_ben_back in (True, False):
            await asyncio.to_thread(until_live, ada, ben)
            before = len(typist.acknowledged)
            await typist.until(lambda before=before: len(typist.acknowledged) > before)  # type: ignore[misc]
            await asyncio.to_thread(ben.kill)
            if is_ben_back:
                await asyncio.to_thread(ben.start)
                await asyncio.to_thread(until_live, ada, ben)
            assert await asyncio.to_thread(ada.stop, STOP_S_MAX) == 0
            for daemon in (ada,) if is_ben_back else (ada, ben):
                await asyncio.to_thread(daemon.start)
        typist.is_typing = False
    until_live(ada, ben)
    until_equal(ada, ben, document_id=document_id)
    result = verdict(text(ben, document_id), typist)
    assert (result["lost"], result["doubled"], result["unknown"]) == ([], [], 0)


@contextmanager
def stuck_clients(daemon: Daemon, document_id: str) -> Iterator[None]:
    """A tab that does not read, events nobody reads, half a request, and a join that finds nobody."""
    with ExitStack() as stack:
        for begin in (_handshake(daemon, document_id), _events(daemon), b"PUT /api/v1/doc"):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.sendall(begin)
        space_id = make_space(daemon, "Nobody else's")
        ticket = daemon.post(f"/spaces/{space_id}/invitations", {"role": "editor"})["ticket"]
        daemon.request("DELETE", f"/spaces/{space_id}")
        daemon.post("/join", {"ticket": ticket}, status=202)
        yield


def _handshake(daemon: Daemon, document_id: str) -> bytes:
    return (
        f"GET /sync/{document_id} HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: sheaf.bearer.{daemon.token}, sheaf\r\n\r\n"
    ).encode()


def _events(daemon: Daemon) -> bytes:
    return (
        f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n"
        f"Authorization: Bearer {daemon.token}\r\n\r\n"
    ).encode()
