"""The TLS tunnel: who gets in, what ends it (PROTOCOL §5, §7)."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from sheaf.core.base.errors import TransportFailure
from sheaf.ports import TunnelDescription
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.websocket import dial, dial_tunnel
from sheaf.transport import tunnel
from sheaf.transport.tls import TlsIdentity, TlsSession
from sheaf.transport.tunnel import Tunnel
from sheaf.transport.tunnel_channel import TunnelChannel
from tests.support.channels import Recorder, eventually, join_tunnel

TOKEN = bytes(range(1, 17))
Ends = tuple[Tunnel, Tunnel, LanSignaling]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    here = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel)
    there = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel)
    listener = LanSignaling(door=there)
    await listener.listen("127.0.0.1", 0)
    yield here, there, listener
    await here.close()
    await there.close()
    await listener.close()


def address(ends: Ends) -> str:
    assert ends[2].listening is not None
    return ends[2].listening


async def test_a_token_opens_one_tunnel_only(ends: Ends) -> None:
    here, there, _ = ends
    expectation = there.expect(TOKEN, here.fingerprint)
    remote = TunnelDescription(there.fingerprint, TOKEN)
    await here.connect(address(ends), remote)
    await expectation.channel()
    with pytest.raises(TransportFailure, match="does not expect"):
        await here.connect(address(ends), remote)


async def test_an_unknown_token_is_refused(ends: Ends) -> None:
    with pytest.raises(TransportFailure, match="does not expect"):
        await ends[0].connect(address(ends), TunnelDescription(ends[1].fingerprint, TOKEN))


async def test_the_dialler_refuses_another_certificate(ends: Ends) -> None:
    here, there, _ = ends
    expectation = there.expect(TOKEN, here.fingerprint)
    with pytest.raises(TransportFailure, match="not the expected"):
        await here.connect(address(ends), TunnelDescription(bytes(32), TOKEN))
    with pytest.raises(TransportFailure):
        await expectation.channel()


async def test_the_listener_refuses_another_certificate(ends: Ends) -> None:
    here, there, _ = ends
    expectation = there.expect(TOKEN, bytes(32))
    channel = await here.connect(address(ends), TunnelDescription(there.fingerprint, TOKEN))
    recorder = Recorder()
    channel.attach(recorder)
    with pytest.raises(TransportFailure, match="not the expected"):
        await expectation.channel()
    await recorder.until(lambda: bool(recorder.farewells))


async def test_nobody_comes(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "EXPECT_S_MAX", 0.05)
    expectation = ends[1].expect(TOKEN, bytes(32))
    with pytest.raises(TransportFailure, match="in time"):
        await expectation.channel()
    with pytest.raises(TransportFailure, match="does not expect"):
        await ends[0].connect(address(ends), TunnelDescription(ends[1].fingerprint, TOKEN))


async def test_a_cancelled_expectation_refuses_the_token(ends: Ends) -> None:
    expectation = ends[1].expect(TOKEN, bytes(32))
    expectation.cancel()
    with pytest.raises(TransportFailure, match="not wanted"):
        await expectation.channel()
    with pytest.raises(TransportFailure, match="does not expect"):
        await ends[0].connect(address(ends), TunnelDescription(ends[1].fingerprint, TOKEN))


async def test_a_tunnel_that_nobody_takes_is_closed(ends: Ends) -> None:
    here, there, _ = ends
    expectation = there.expect(TOKEN, here.fingerprint)
    channel = await here.connect(address(ends), TunnelDescription(there.fingerprint, TOKEN))
    recorder = Recorder()
    channel.attach(recorder)
    await eventually(lambda: expectation._arrived is not None)
    expectation.cancel()
    await recorder.until(lambda: bool(recorder.farewells))


async def test_expectations_are_capped(ends: Ends) -> None:
    for number in range(tunnel.EXPECTED_MAX):
        ends[1].expect(bytes([number + 1]) * 16, bytes(32))
    with pytest.raises(TransportFailure):
        ends[1].expect(TOKEN, bytes(32))


async def test_a_stranger_with_a_token_but_no_tls_is_shown_out(ends: Ends) -> None:
    expectation = ends[1].expect(TOKEN, bytes(32))
    stream = await dial_tunnel(address(ends), TOKEN)
    await stream.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TransportFailure, match="handshake failed"):
        await expectation.channel()
    while await stream.receive() is not None:
        pass
    await stream.close()


async def test_empty_messages_are_passed_over(ends: Ends) -> None:
    here, there = await join_tunnel(*ends)
    assert isinstance(here, TunnelChannel)
    recorder = Recorder()
    there.attach(recorder)
    await here._stream.send(b"")
    here.send(b"after nothing")
    await recorder.until(lambda: recorder.frames == [b"after nothing"])


async def test_too_much_before_the_handshake_is_over_ends_it(ends: Ends) -> None:
    expectation = ends[1].expect(TOKEN, bytes(32))
    stream = await dial_tunnel(address(ends), TOKEN)
    record = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"  # the beginning of a ClientHello of 16 KiB
    await stream.send(record + bytes(8000))
    await stream.send(bytes(500))
    with pytest.raises(TransportFailure):
        await expectation.channel()
    await stream.close()


async def test_a_listener_without_a_door_knows_no_tunnels() -> None:
    listener = LanSignaling()
    await listener.listen("127.0.0.1", 0)
    assert listener.listening is not None
    with pytest.raises(TransportFailure, match="does not expect"):
        await dial_tunnel(listener.listening, TOKEN)
    await listener.close()


async def test_closing_the_listener_ends_its_tunnels(ends: Ends) -> None:
    here, there = await join_tunnel(*ends)
    one, two = Recorder(), Recorder()
    here.attach(one)
    there.attach(two)
    await ends[2].close()
    await one.until(lambda: bool(one.farewells))
    await two.until(lambda: bool(two.farewells))


@pytest.mark.parametrize("length", [0, 16_401, 2**32 - 1])
async def test_a_frame_length_that_lies_ends_the_channel(ends: Ends, length: int) -> None:
    here, there = await join_tunnel(*ends)
    assert isinstance(here, TunnelChannel)
    recorder = Recorder()
    there.attach(recorder)
    here._tls.write(length.to_bytes(4, "big") + b"rest")
    here._collect()
    await recorder.until(lambda: bool(recorder.farewells))
    assert recorder.frames == []


async def test_a_peer_that_stops_reading_shows_as_a_backlog_and_nothing_more(ends: Ends) -> None:
    token = os.urandom(16)
    expectation = ends[1].expect(token, ends[0].fingerprint)
    link = await dial(address(ends))
    await link.close()
    channel = await ends[0].connect(address(ends), TunnelDescription(ends[1].fingerprint, token))
    far = await expectation.channel()
    assert isinstance(far, TunnelChannel)
    far._stream._socket._connection.transport.pause_reading()  # type: ignore[attr-defined]  # the far process hangs
    for _ in range(200):
        channel.send(bytes(16_384))
    await asyncio.sleep(0.1)
    assert channel.buffered_bytes > 1 << 20


# ------------------------------------------------------------------ TLS alone


def shake_hands(client: TlsSession, server: TlsSession) -> None:
    sink = bytearray()
    client.handshake()
    for _ in range(4):
        server.feed(client.outgoing(), sink)
        client.feed(server.outgoing(), sink)
    assert not sink


def sessions(client_pins: bytes | None = None) -> tuple[TlsSession, TlsSession]:
    one, two = TlsIdentity.make(), TlsIdentity.make()
    client = TlsSession(identity=one, is_server=False, peer_fingerprint=client_pins or two.fingerprint)
    server = TlsSession(identity=two, is_server=True, peer_fingerprint=one.fingerprint)
    return client, server


def test_only_tls_1_3_is_spoken() -> None:
    client, server = sessions()
    shake_hands(client, server)
    assert client._connection.get_protocol_version_name() == "TLSv1.3"


def test_a_client_without_a_certificate_is_refused() -> None:
    _, server = sessions()
    bare = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    bare.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        bare.do_handshake()
    sink = bytearray()
    server.feed(bare.bio_read(65536), sink)
    bare.bio_write(server.outgoing())
    bare.do_handshake()
    bare.send(b"let me in")
    with pytest.raises(TransportFailure):
        server.feed(bare.bio_read(65536), sink)
    assert not sink
    assert not server.is_ready


def test_plaintext_that_came_with_the_farewell_is_not_lost() -> None:
    client, server = sessions()
    shake_hands(client, server)
    client.write(b"last words")
    client.shutdown()
    received = bytearray()
    with pytest.raises(TransportFailure, match="closed by the peer"):
        server.feed(client.outgoing(), received)
    assert received == b"last words"


@settings(max_examples=60)
@given(junk=st.binary(max_size=600), at=st.integers(0, 400))
def test_junk_at_any_moment_is_a_transport_failure_and_never_plaintext(junk: bytes, at: int) -> None:
    client, server = sessions()
    client.handshake()
    hello = client.outgoing()
    sink = bytearray()
    try:
        server.feed(hello[:at] + junk + hello[at:], sink)
        client.feed(server.outgoing(), sink)
        server.feed(client.outgoing(), sink)
    except TransportFailure:
        pass
    assert not sink


@given(sizes=st.lists(st.integers(1, 16_400), max_size=8), cuts=st.lists(st.integers(1, 5000), min_size=1))
@settings(max_examples=40)
def test_frames_survive_any_cutting_of_the_stream(sizes: list[int], cuts: list[int]) -> None:
    client, server = sessions()
    shake_hands(client, server)
    channel = TunnelChannel(stream=_NoStream(), tls=server)
    recorder = Recorder()
    channel.attach(recorder)
    frames = [bytes([n]) * size for n, size in enumerate(sizes)]
    for frame in frames:
        client.write(len(frame).to_bytes(4, "big") + frame)
    wire = deque(client.outgoing())
    turn = 0
    while wire:
        piece = bytes(wire.popleft() for _ in range(min(cuts[turn % len(cuts)], len(wire))))
        server.feed(piece, channel._incoming)
        assert channel._deliver() is None
        turn += 1
    assert recorder.frames == frames


class _NoStream:
    label = "nowhere"

    async def receive(self) -> bytes | None:
        raise AssertionError("not used")

    async def send(self, data: bytes) -> None:
        raise AssertionError("not used")

    async def close(self) -> None:
        raise AssertionError("not used")
