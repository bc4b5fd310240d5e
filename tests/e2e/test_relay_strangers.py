"""A real `sheaf relay` among strangers: dawdlers, floods, and a log that names nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path

import pytest

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Accepted,
    Auth,
    Deliver,
    Error,
    Ping,
    Pong,
    Send,
    Sent,
    Sub,
    TunnelJoin,
    TunnelJoined,
    encode_frame,
)
from sheaf.core.wire.relay_requests import (
    MailboxNews,
    MailboxPut,
    MailboxStored,
    MailboxWatch,
    NameplateAllocate,
    NameplateClaim,
    NameplateHeard,
    NameplateHeld,
    NameplateSay,
)
from tests.support.relay import HANDSHAKE, RelayProcess, frame_client
from tests.support.relay_witness import lateness

pytestmark = [pytest.mark.e2e, pytest.mark.long]

RID = RendezvousId(b"R" * 16)
BOX, TOKEN = b"M" * 16, b"T" * 32


async def test_a3_500_dawdlers_are_closed_in_10_s_and_others_are_served_meanwhile(
    relay: RelayProcess,
) -> None:
    begun = time.monotonic()
    dawdlers = []
    for n in range(500):
        each = relay.socket()
        each.sendall((b"", b"GET /she", b"GET /sheaf HTTP/1.1\r\nHost: x\r\n", HANDSHAKE)[n % 4])
        each.setblocking(False)
        dawdlers.append(each)
    opened = time.monotonic()
    waits: list[float] = []
    async with frame_client(relay.url) as client, lateness() as late:
        open_ones = dawdlers
        while open_ones:
            asked = time.monotonic()
            await client.ask(Ping(), Pong)
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(0.02)
            open_ones = [each for each in open_ones if not _is_closed(each)]
            assert time.monotonic() - opened < 10, f"{len(open_ones)} are still open"
    assert time.monotonic() - begun > 4, "they were given a chance"
    waits.sort()
    assert waits[int(len(waits) * 0.99)] < 0.2 + late.of_a_trip_s
    for each in dawdlers:
        each.close()


def _is_closed(each: socket.socket) -> bool:
    try:
        while each.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


_FLOODS = {
    "frames": bytes([0x82, 0x83]) + bytes(4) + encode_frame(Ping()),
    "no frames": bytes([0x82, 0x80]) + bytes(4),
    "pieces": bytes([0x02, 0x80]) + bytes(4) + (bytes([0x00, 0x80]) + bytes(4)) * 20,
    "pings of the library": bytes([0x89, 0x80]) + bytes(4),
    "half a message": bytes([0x02, 0x80]) + bytes(4),
}


@pytest.mark.parametrize("kind", _FLOODS)
async def test_a5_floods_of_tiny_frames_do_not_hold_up_others(relay: RelayProcess, kind: str) -> None:
    blob = _FLOODS[kind] * (200_000 // len(_FLOODS[kind]))
    floods = [relay.socket() for _ in range(10)]
    for each in floods:
        each.settimeout(0.5)

    def flood(each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.sendall(HANDSHAKE)
            each.recv(1000)
            while True:
                each.sendall(blob)

    waits: list[float] = []
    async with frame_client(relay.url) as client, lateness() as late:
        flooding = asyncio.gather(*[asyncio.to_thread(flood, each) for each in floods])
        async with asyncio.timeout(30):
            while not flooding.done() or len(waits) < 100:
                asked = time.monotonic()
                await client.ask(Ping(), Pong)
                waits.append(time.monotonic() - asked)
                await asyncio.sleep(0.01)
    waits.sort()
    print(f"A5 {kind}: p99 {waits[int(len(waits) * 0.99)]:.3f} s, at most {waits[-1]:.3f} s")
    assert waits[int(len(waits) * 0.95)] < 0.2 + late.of_a_trip_s
    assert waits[-1] < 2.0 + late.of_a_trip_s
    for each in floods:
        each.close()


async def test_the_log_names_nobody_and_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# ours\nOperatorSecret\n")
    relay = RelayProcess(tmp_path / "relay", arguments=["--token-file", str(tokens), "--log-level", "debug"])
    relay.start()
    async with frame_client(relay.url) as ada, frame_client(relay.url) as ben:
        for client in (ada, ben):
            await client.ask(Auth(b"OperatorSecret"), Accepted)
        await ada.send(Sub((RID,)))
        await ada.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews)
        await ben.ask(Send(RID, b"SealedSignal"), Sent)
        await ada.expect(Deliver)
        await ben.ask(MailboxPut(1, BOX, TOKEN, b"SealedItem"), MailboxStored)
        await ada.expect(MailboxNews)
        held = await ada.ask(NameplateAllocate(1), NameplateHeld)
        await ada.send(NameplateSay(held.number, b"SomethingSaid"))
        await ben.ask(NameplateClaim(1, held.number), NameplateHeld)
        await ben.expect(NameplateHeard)
        await ben.send(TunnelJoin(b"K" * 16))
        await ada.send(TunnelJoin(b"K" * 16))
        for client in (ada, ben):
            while not isinstance(await client.receive(), TunnelJoined):
                pass
    async with frame_client(relay.url) as guesser:
        await guesser.send(Auth(b"WrongSecret"))
        await guesser.expect(Error)
    async with frame_client(relay.url) as rude:
        await rude.connection.send(b"NotAFrame")
        await rude.expect(Error)
    with relay.socket() as stranger:
        own_port = stranger.getsockname()[1]
        stranger.sendall(b"GET /SecretPath HTTP/1.1\r\n\r\n")
        stranger.recv(100)
    relay.http("/metrics")
    assert relay.stop() == 0
    log = relay.log()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines[:2]] == ["started", "ready"]
    forbidden = [RID, BOX, TOKEN, b"K" * 16, b"SomethingSaid", b"OperatorSecret", b"WrongSecret"]
    forbidden += [b"SealedSignal", b"SealedItem", b"NotAFrame", b"SecretPath"]
    for secret in forbidden:
        for form in (bytes(secret).decode(), bytes(secret).hex(), str(RID)):
            assert form not in log
    rest = "".join(json.dumps(line) for line in lines[2:])
    assert "127.0.0.1" not in rest
    assert f":{own_port}" not in rest
