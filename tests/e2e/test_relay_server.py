"""A real `sheaf relay`: restarts, kill -9, SIGTERM, TLS, many dawdlers, and a log that names nobody."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

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
    Welcome,
    encode_frame,
)
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
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
from sheaf.core.wire.relay_words import ErrorCode
from tests.support.daemon import eventually
from tests.support.relay import FrameClient, RelayProcess, frame_client

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
        told = []
        for client in clients:
            assert (await client.expect(Error)).code is ErrorCode.GOING_AWAY
            told.append(time.monotonic() - begun)
            await client.ended()
        assert told[-1] - told[0] > 0.5, "not all at once: they would all come back at once"
        assert relay.stop() == 0
        assert time.monotonic() - begun < 10


async def test_a7_sigterm_with_clients_that_do_not_react(relay: RelayProcess) -> None:
    sockets = [relay.socket() for _ in range(20)]
    for each in sockets:
        each.sendall(_HANDSHAKE)
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


# ------------------------------------------------------------------ strangers

_HANDSHAKE = (
    b"GET /sheaf HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_a3_500_dawdlers_are_closed_in_10_s_and_others_are_served_meanwhile(
    relay: RelayProcess,
) -> None:
    begun = time.monotonic()
    dawdlers = []
    for n in range(500):
        each = relay.socket()
        each.sendall((b"", b"GET /she", b"GET /sheaf HTTP/1.1\r\nHost: x\r\n", _HANDSHAKE)[n % 4])
        each.setblocking(False)
        dawdlers.append(each)
    opened = time.monotonic()
    waits: list[float] = []
    async with frame_client(relay.url) as client:
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
    assert waits[int(len(waits) * 0.99)] < 0.2
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
            each.sendall(_HANDSHAKE)
            each.recv(1000)
            while True:
                each.sendall(blob)

    waits: list[float] = []
    async with frame_client(relay.url) as client:
        flooding = asyncio.gather(*[asyncio.to_thread(flood, each) for each in floods])
        async with asyncio.timeout(30):
            while not flooding.done() or len(waits) < 100:
                asked = time.monotonic()
                await client.ask(Ping(), Pong)
                waits.append(time.monotonic() - asked)
                await asyncio.sleep(0.01)
    waits.sort()
    print(f"A5 {kind}: p99 {waits[int(len(waits) * 0.99)]:.3f} s, at most {waits[-1]:.3f} s")
    assert waits[int(len(waits) * 0.95)] < 0.2
    assert waits[-1] < 2.0
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
    assert lines[0]["event"] == "ready"
    forbidden = [RID, BOX, TOKEN, b"K" * 16, b"SomethingSaid", b"OperatorSecret", b"WrongSecret"]
    forbidden += [b"SealedSignal", b"SealedItem", b"NotAFrame", b"SecretPath"]
    for secret in forbidden:
        for form in (bytes(secret).decode(), bytes(secret).hex(), str(RID)):
            assert form not in log
    rest = "".join(json.dumps(line) for line in lines[1:])
    assert "127.0.0.1" not in rest
    assert f":{own_port}" not in rest


async def test_an_idle_connection_costs_less_than_30_kib(relay: RelayProcess) -> None:
    count = 500
    async with contextlib.AsyncExitStack() as stack:

        async def connect_one() -> None:
            client = await stack.enter_async_context(frame_client(relay.url))
            await client.send(Sub(tuple(RendezvousId(os.urandom(16)) for _ in range(4))))
            await client.ask(MailboxWatch(1, os.urandom(16), TOKEN), MailboxNews)

        for _ in range(20):  # what everybody shares is loaded by now
            await connect_one()
        before = _resident_kib(relay)
        for _ in range(count):
            await connect_one()
        each_kib = (_resident_kib(relay) - before) / count
        print(f"{each_kib:.1f} KiB per idle connection")
        assert each_kib < 30


def _resident_kib(relay: RelayProcess) -> int:
    assert relay.process is not None
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


# ------------------------------------------------------------------ TLS and STUN


def _certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "cert.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_path, key_path


async def _served_by(relay: RelayProcess) -> str:
    """Whose certificate a new connection is shown; it works as any other."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    async with connect(f"{relay.url}/sheaf", ssl=trusting, proxy=None, compression=None) as connection:
        client = FrameClient(connection)
        await client.expect(Welcome)
        await client.ask(Ping(), Pong)
        shown = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    names = x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)


async def test_it_serves_tls_and_takes_a_new_certificate_at_sighup(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "first")
    relay = RelayProcess(
        tmp_path / "relay", arguments=["--tls-cert", str(certificate), "--tls-key", str(key)]
    ).start()
    assert relay.url.startswith("wss://127.0.0.1:")
    assert await _served_by(relay) == "first"
    _certificate(tmp_path, "second")
    assert relay.process is not None
    relay.process.send_signal(signal.SIGHUP)

    async def is_second() -> bool:
        return await _served_by(relay) == "second"

    await eventually(is_second)
    certificate.write_text("no certificate")
    relay.process.send_signal(signal.SIGHUP)
    await eventually(lambda: "the certificate was not reloaded" in relay.log())
    assert await _served_by(relay) == "second"
    with relay.socket() as silent:  # no TLS handshake: closed like any dawdler
        silent.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1) == b""
    assert relay.stop() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_answers_stun_at_the_port_that_welcome_names(tmp_path: Path, host: str) -> None:
    relay = RelayProcess(tmp_path / "relay", host=host).start()
    assert relay.stun_port == relay.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.bind((host, 0))
        transaction = os.urandom(12)
        asker.sendto(struct.pack("!HHI", 1, 0, 0x2112A442) + transaction, (host, relay.stun_port))
        answer = asker.recv(1000)
        own_port = asker.getsockname()[1]
    kind, _, _ = struct.unpack_from("!HHI", answer)
    port = struct.unpack_from("!H", answer, 26)[0] ^ 0x2112
    assert (kind, answer[8:20], port) == (0x0101, transaction, own_port)
    assert relay.stop() == 0


def test_stun_can_be_switched_off_or_put_elsewhere(tmp_path: Path) -> None:
    off = RelayProcess(tmp_path / "off", arguments=["--stun-port", "0"]).start()
    assert off.stun_port == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        refused = RelayProcess(tmp_path / "taken", arguments=["--stun-port", str(taken)])
        refused.spawn()
        assert refused.ready_or_ended() == 1
        assert "--stun-port" in refused.log()
    elsewhere = RelayProcess(tmp_path / "elsewhere", arguments=["--stun-port", str(taken)]).start()
    assert elsewhere.stun_port == taken
    for each in (off, elsewhere):
        assert each.stop() == 0
