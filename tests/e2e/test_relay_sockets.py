"""A real `sheaf relay`: what its connections cost, its own TLS, and STUN."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import struct
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Ping,
    Pong,
    Sub,
    Welcome,
)
from sheaf.core.wire.relay_requests import (
    MailboxNews,
    MailboxWatch,
)
from tests.support.certificate import self_signed
from tests.support.daemon import eventually
from tests.support.relay import FrameClient, RelayProcess, frame_client

pytestmark = pytest.mark.e2e

TOKEN = b"T" * 32


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


def _tls_connection(relay: RelayProcess) -> connect:
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return connect(f"{relay.url}/sheaf", ssl=trusting, proxy=None, compression=None)


async def _served_by(relay: RelayProcess) -> str:
    """Whose certificate a new connection is shown; it works as any other."""
    async with _tls_connection(relay) as connection:
        client = FrameClient(connection)
        await client.expect(Welcome)
        await client.ask(Ping(), Pong)
        shown = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    names = x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)


async def test_it_serves_tls_and_takes_a_new_certificate_at_sighup(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "first")
    relay = RelayProcess(
        tmp_path / "relay", arguments=["--tls-cert", str(certificate), "--tls-key", str(key)]
    ).start()
    assert relay.url.startswith("wss://127.0.0.1:")
    assert await _served_by(relay) == "first"
    self_signed(tmp_path, "second")
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


async def test_an_idle_tls_connection_costs_less_than_100_kib(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "first")
    arguments = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    relay = RelayProcess(tmp_path / "relay", arguments=arguments).start()
    count = 100
    async with contextlib.AsyncExitStack() as stack:

        async def connect_one() -> None:
            connection = await stack.enter_async_context(_tls_connection(relay))
            await FrameClient(connection).expect(Welcome)

        for _ in range(10):
            await connect_one()
        before = _resident_kib(relay)
        for _ in range(count):
            await connect_one()
        each_kib = (_resident_kib(relay) - before) / count
        print(f"{each_kib:.1f} KiB per idle TLS connection")
        assert each_kib < 100
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
