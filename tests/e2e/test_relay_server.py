"""A real `sheaf relay`: restarts, kill -9, SIGTERM, TLS, many dawdlers, and a log that names nobody."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Error,
    Ping,
    Pong,
)
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxPut,
    MailboxStored,
)
from sheaf.core.wire.relay_words import ErrorCode
from tests.support.relay import HANDSHAKE, FrameClient, RelayProcess, frame_client

pytestmark = pytest.mark.e2e

RID = RendezvousId(b"R" * 16)
BOX, TOKEN = b"M" * 16, b"T" * 32


# ------------------------------------------------------------------ life and death


async def test_it_says_where_it_is_and_how_it_does(relay: RelayProcess) -> None:
    assert relay.url == f"ws://127.0.0.1:{relay.port}"
    assert relay.http("/healthz") == (200, "ok\n")
    async with frame_client(relay.url) as client:
        await client.ask(MailboxPut(1, BOX, TOKEN, b"item"), MailboxStored)
        metrics = relay.metrics()
        assert metrics["sheaf_relay_connections"] == 1
        assert metrics['sheaf_relay_frames_total{type="mailbox_put"}'] == 1
        assert metrics["sheaf_relay_store_up"] == 1


async def test_what_was_stored_survives_a_restart_at_the_same_address(relay: RelayProcess) -> None:
    async with frame_client(relay.url) as client:
        stored = await client.ask(MailboxPut(1, BOX, TOKEN, b"item"), MailboxStored)
    url = relay.url
    assert relay.stop() == 0
    relay.start()
    assert relay.url == url
    async with frame_client(relay.url) as client:
        page = await client.ask(MailboxGet(1, BOX, TOKEN, 0, 100), MailboxItems)
        assert page.items == ((stored.position, b"item"),)
        assert page.incarnation == stored.incarnation


@pytest.mark.timeout(240)
async def test_a9_after_kill_9_at_any_moment_it_starts_and_has_what_it_acknowledged(
    relay: RelayProcess, seeded_random: random.Random
) -> None:
    acknowledged: dict[bytes, int] = {}
    for _ in range(6):
        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(_write(relay.url, name, acknowledged)) for name in range(3)]
            group.create_task(_kill_after(relay, seeded_random.uniform(0.05, 0.5)))
        assert all(writer.done() for writer in writers)
        relay.start()
        assert acknowledged.items() <= (await _everything(relay.url)).items()
    assert len(acknowledged) > 20


async def _write(url: str, name: int, acknowledged: dict[bytes, int]) -> None:
    with contextlib.suppress(ConnectionClosed, OSError, EOFError):
        async with frame_client(url) as client:
            for n in range(100_000):
                item = b"%d/%d/%d" % (name, n, len(acknowledged))
                stored = await client.ask(MailboxPut(n, BOX, TOKEN, item), MailboxStored)
                acknowledged.setdefault(item, stored.position)


async def _kill_after(relay: RelayProcess, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    relay.kill()


async def _everything(url: str) -> dict[bytes, int]:
    held: dict[bytes, int] = {}
    after = 0
    async with frame_client(url) as client:
        while True:
            page = await client.ask(MailboxGet(1, BOX, TOKEN, after, 500_000), MailboxItems)
            if not page.items:
                return held
            held |= {data: position for position, data in page.items}
            after = page.items[-1][0]


async def test_a7_sigterm_tells_everybody_to_come_back_and_ends_within_ten_seconds(
    relay: RelayProcess,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(frame_client(relay.url)) for _ in range(30)]
        for client in clients:
            await client.ask(Ping(), Pong)
        assert relay.process is not None
        begun = time.monotonic()
        relay.process.send_signal(signal.SIGTERM)

        async def told_after(client: FrameClient) -> float:
            assert (await client.expect(Error)).code is ErrorCode.GOING_AWAY
            told_s = time.monotonic() - begun
            await client.ended()
            return told_s

        told = await asyncio.gather(*[told_after(client) for client in clients])
        assert max(told) - min(told) > 1, "not all at once: they would all come back at once"
        assert relay.stop() == 0
        assert time.monotonic() - begun < 10


async def test_a7_sigterm_with_clients_that_do_not_react(relay: RelayProcess) -> None:
    sockets = [relay.socket() for _ in range(20)]
    for each in sockets:
        each.sendall(HANDSHAKE)
        assert each.recv(12).startswith(b"HTTP/1.1 101")
    assert relay.stop(timeout_s=10) == 0
    for each in sockets:
        each.close()


def test_two_relays_do_not_share_a_store(relay: RelayProcess) -> None:
    second = RelayProcess(relay.directory)
    second.spawn()
    assert second.ready_or_ended() == 1
    assert "Another relay" in second.log()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--store", "ftp://x"], "sqlite:PATH"),
        (["--tls-cert", "cert.pem"], "belong together"),
        (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "cannot be used"),
        (["--token-file", "none"], "cannot be read"),
        (["--public-url", "http://x"], "ws://"),
        (["--log-format", "xml"], "text or json"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_usage_is_said_in_a_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "sheaf.cli.main", "relay", "--listen", "127.0.0.1:0"]
    result = subprocess.run(
        [*command, "--store", f"sqlite:{tmp_path}/relay.sqlite3", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_said_in_a_sentence(relay: RelayProcess, tmp_path: Path) -> None:
    second = RelayProcess(tmp_path / "second", port=relay.port)
    second.spawn()
    assert second.ready_or_ended() == 1
    assert "cannot listen on" in second.log()
    assert "Traceback" not in second.log()
