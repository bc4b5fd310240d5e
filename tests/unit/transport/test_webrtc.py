"""WebRTC connections: what they survive, refuse and give back (FAULTS N6, N9, N19, N20)."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aioice import ice as aioice
from google_crc32c import value as crc32c

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.transport import ice_guard, webrtc
from sheaf.transport.webrtc import WebRtc
from sheaf.transport.webrtc_channel import WebRtcChannel
from tests.support.channels import Recorder, eventually, join_webrtc


@pytest.fixture
async def sides() -> AsyncIterator[tuple[WebRtc, WebRtc]]:
    made = WebRtc(addresses=lambda: ["127.0.0.1"]), WebRtc(addresses=lambda: ["127.0.0.1"])
    yield made
    for side in made:
        await side.close()


async def test_link_local_addresses_are_offered_on_the_lan_only() -> None:
    asked: list[bool] = []

    def links() -> list[str]:
        asked.append(True)
        return []

    side = WebRtc(addresses=lambda: ["127.0.0.1"], link_addresses=links)
    for use_stun in (True, False):
        attempt = await side.offer(use_stun=use_stun)
        await attempt.close()
        assert bool(asked) is not use_stun
    await side.close()


Joined = tuple[WebRtcChannel, WebRtcChannel, Recorder, Recorder]


async def joined(sides: tuple[WebRtc, WebRtc]) -> Joined:
    here, there = await join_webrtc(*sides)
    assert isinstance(here, WebRtcChannel)
    assert isinstance(there, WebRtcChannel)
    one, two = Recorder(), Recorder()
    here.attach(one)
    there.attach(two)
    return here, there, one, two


def local_port(channel: WebRtcChannel) -> int:
    return int(channel.description.partition(" ")[0].rpartition(":")[2])


def throw(datagrams: list[bytes], port: int) -> None:
    """Send datagrams from a port nobody knows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in datagrams:
            stranger.sendto(datagram, ("127.0.0.1", port))


async def still_works(link: Joined) -> None:
    here, there, one, two = link
    before = len(one.frames), len(two.frames)
    here.send(b"are you there")
    there.send(b"yes")
    await two.until(lambda: len(two.frames) == before[1] + 1)
    await one.until(lambda: len(one.frames) == before[0] + 1)
    assert one.farewells == two.farewells == []


# ------------------------------------------------------------------ connecting


async def test_connects_quickly_and_describes_the_path(sides: tuple[WebRtc, WebRtc]) -> None:
    await sides[0].warm_up()
    async with asyncio.timeout(5):  # aiortc's own stall for STUN, which must not be there
        link = await joined(sides)
    assert "127.0.0.1:" in link[0].description
    assert link[0].description.endswith("(udp, host)")
    await still_works(link)


async def test_the_wrong_certificate_is_refused(
    sides: tuple[WebRtc, WebRtc], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S_MAX", 1.0)
    offer = await sides[0].offer()
    answer = await sides[1].answer(offer.description)
    forged = dataclasses.replace(answer.description, fingerprint=bytes(32))
    waiting = asyncio.ensure_future(answer.connect())
    with pytest.raises(TransportFailure, match="handshake"):
        await offer.connect(forged)
    await offer.close()
    with pytest.raises(TransportFailure):
        await waiting
    await answer.close()


async def test_nobody_there_fails_within_the_deadline(
    sides: tuple[WebRtc, WebRtc], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S_MAX", 0.3)
    offer = await sides[0].offer()
    answer = await sides[1].answer(offer.description)
    await answer.close()
    with pytest.raises(TransportFailure):
        await offer.connect(answer.description)
    await offer.close()


async def test_a_computer_without_addresses_says_so() -> None:
    side = WebRtc(addresses=lambda: [])
    with pytest.raises(TransportFailure, match="no network address"):
        await side.offer()
    await side.close()


async def test_an_address_that_went_away_is_skipped() -> None:
    here = WebRtc(addresses=lambda: ["203.0.113.77", "127.0.0.1"])
    offer = await here.offer()
    assert [c.address for c in offer.description.candidates] == ["127.0.0.1"]
    await offer.close()
    await here.close()


async def test_a_malformed_offer_costs_no_socket(sides: tuple[WebRtc, WebRtc]) -> None:
    offer = await sides[0].offer()
    before = open_files()
    with pytest.raises(ProtocolViolation):
        await sides[1].answer(dataclasses.replace(offer.description, setup="active"))
    assert open_files() == before
    await offer.close()


async def test_half_open_attempts_are_capped(
    sides: tuple[WebRtc, WebRtc], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "HALF_OPEN_MAX", 2)
    attempts = [await sides[0].offer() for _ in range(2)]
    with pytest.raises(TransportFailure, match="too many"):
        await sides[0].offer()
    await attempts[0].close()
    await (await sides[0].offer()).close()
    await attempts[1].close()


# ------------------------------------------------------------------ strangers


async def test_n6_one_empty_datagram_does_not_end_the_connection(sides: tuple[WebRtc, WebRtc]) -> None:
    link = await joined(sides)
    for channel in link[:2]:
        throw([b""], local_port(channel))
    await still_works(link)
    await asyncio.sleep(0.05)  # the trap sprang within milliseconds
    await still_works(link)


async def test_without_the_guard_the_same_datagram_is_the_end(
    sides: tuple[WebRtc, WebRtc], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, aiortc was repaired and the guard can go."""
    link = await joined(sides)
    monkeypatch.setattr(
        ice_guard.GuardedStunProtocol, "datagram_received", aioice.StunProtocol.datagram_received
    )
    monkeypatch.setattr(ice_guard.GuardedConnection, "data_received", aioice.Connection.data_received)
    throw([b""], local_port(link[0]))
    await link[2].until(lambda: bool(link[2].farewells))


async def test_n6_twelve_thousand_junk_datagrams_do_no_harm(
    sides: tuple[WebRtc, WebRtc], seeded_random: random.Random
) -> None:
    link = await joined(sides)
    shapes: list[Callable[[], bytes]] = [
        lambda: seeded_random.randbytes(seeded_random.randrange(1, 1200)),
        lambda: bytes([22, 254, 253]) + seeded_random.randbytes(60),  # like DTLS
        lambda: bytes([128, 0]) + seeded_random.randbytes(40),  # like RTP
        lambda: bytes([0, 1, 0, 8]) + b"\x21\x12\xa4\x42" + seeded_random.randbytes(20),  # like STUN
        lambda: b"",
    ]
    port = local_port(link[0])
    for _ in range(12):
        throw([seeded_random.choice(shapes)() for _ in range(1000)], port)
        await still_works(link)
    assert link[0]._connection._queue.qsize() < 10


async def test_n6_junk_before_anybody_answered_is_not_kept(sides: tuple[WebRtc, WebRtc]) -> None:
    offer = await sides[0].offer()
    channel = offer._channel
    port = offer.description.candidates[0].port
    for _ in range(20):
        throw([b"\x16junk that looks like nothing" * 10] * 1000, port)
        await asyncio.sleep(0)
    assert channel._connection._queue.qsize() == 0
    answer = await sides[1].answer(offer.description)
    here, there = await asyncio.gather(offer.connect(answer.description), answer.connect())
    recorder = Recorder()
    there.attach(recorder)
    here.send(b"through all the noise")
    await recorder.until(lambda: recorder.frames == [b"through all the noise"])


async def test_early_data_of_the_peer_itself_is_kept_within_bounds(sides: tuple[WebRtc, WebRtc]) -> None:
    offer = await sides[0].offer()
    connection = offer._channel._connection
    for _ in range(1000):
        connection.data_received(b"\x16early", 1)
    assert connection._queue.qsize() == 64
    assert connection.dropped == 936
    await offer.close()


async def test_n1_one_lost_packet_costs_a_quarter_of_the_speed_and_no_data(
    sides: tuple[WebRtc, WebRtc], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiortc.rtcsctptransport import Chunk, DataChunk

    here, _, _, two = await joined(sides)
    sctp, count, windows = here._sctp, 0, []
    carry, acknowledged = sctp._send_chunk, here.acknowledged

    async def lose_one(chunk: Chunk) -> None:
        nonlocal count
        count += isinstance(chunk, DataChunk)
        if count != 200 or not isinstance(chunk, DataChunk):
            await carry(chunk)

    def watch() -> None:
        windows.append((sctp._cwnd, sctp._fast_recovery_exit is not None))
        acknowledged()

    monkeypatch.setattr(sctp, "_send_chunk", lose_one)
    monkeypatch.setattr(here, "acknowledged", watch)
    frames = [os.urandom(16_000) for _ in range(40)]
    for frame in frames:
        here.send(frame)
    await two.until(lambda: len(two.frames) == len(frames))
    assert two.frames == frames
    lost = next(number for number, (_, is_recovering) in enumerate(windows) if is_recovering)
    assert windows[lost][0] == int(windows[lost - 1][0] * 0.75)


# ------------------------------------------------------------------ members gone bad


async def test_n9_a_message_of_8_mib_is_cut_off_early_and_cheaply(sides: tuple[WebRtc, WebRtc]) -> None:
    here, _, one, two = await joined(sides)
    here._sctp._remote_max_message_size = 0  # the attacker ignores what was advertised
    begin = time.process_time()
    here._data.send(bytes(8 << 20))
    await two.until(lambda: bool(two.farewells))
    assert "does not end" in two.farewells[0]
    assert two.frames == []
    assert time.process_time() - begin < 1.0
    await one.until(lambda: bool(one.farewells))


async def test_n9_a_message_slightly_over_the_frame_limit_ends_the_channel(
    sides: tuple[WebRtc, WebRtc],
) -> None:
    here, _, _, two = await joined(sides)
    here._data.send(bytes(20_000))
    await two.until(lambda: bool(two.farewells))
    assert two.frames == []


@pytest.mark.parametrize("message", ["text", "", b""])
async def test_anything_but_binary_frames_ends_the_channel(
    sides: tuple[WebRtc, WebRtc], message: str | bytes
) -> None:
    here, _, _, two = await joined(sides)
    here._data.send(message)
    await two.until(lambda: bool(two.farewells))
    assert two.frames == []


async def test_a_second_channel_ends_the_connection(sides: tuple[WebRtc, WebRtc]) -> None:
    from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters

    here, _, _, two = await joined(sides)
    RTCDataChannel(here._sctp, RTCDataChannelParameters(label="another", id=7))
    await two.until(lambda: bool(two.farewells))
    assert "does not exist" in two.farewells[0]


async def test_bytes_that_are_not_text_do_not_raise_in_the_pump(sides: tuple[WebRtc, WebRtc]) -> None:
    here, _, _, two = await joined(sides)
    await here._sctp._send(0, 51, b"\xff\xfe")  # WEBRTC_STRING that is not UTF-8
    await two.until(lambda: bool(two.farewells))
    assert "binary" in two.farewells[0]


async def test_acknowledging_what_was_never_sent_ends_the_connection(sides: tuple[WebRtc, WebRtc]) -> None:
    from aiortc.rtcsctptransport import SackChunk

    here, _, _, two = await joined(sides)
    chunk = SackChunk()
    chunk.cumulative_tsn = here._sctp._last_received_tsn or 0
    chunk.gaps = [(2, 65535)] * 100
    await here._sctp._send_chunk(chunk)
    await two.until(lambda: bool(two.farewells))
    assert "acknowledged" in two.farewells[0]


async def test_a_stream_with_holes_is_bounded(sides: tuple[WebRtc, WebRtc]) -> None:
    from aiortc.rtcsctptransport import DataChunk

    here, there, _, two = await joined(sides)
    for number in range(1, 2000):
        chunk = DataChunk()
        chunk.tsn = (here._sctp._local_tsn + 2 * number) % 2**32
        chunk.flags, chunk.protocol, chunk.user_data = 3, 53, b"x"
        await here._sctp._send_chunk(chunk)
        if number % 50 == 0:
            await eventually(lambda n=number: len(there._sctp._sack_misordered) >= n or bool(two.farewells))
        if two.farewells:
            break
    assert "out of order" in two.farewells[0]
    assert len(there._sctp._sack_misordered) < 1600


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_n7_packets_of_a_mad_member_end_the_connection_or_nothing(
    sides: tuple[WebRtc, WebRtc], seeded_random: random.Random
) -> None:
    """Random and damaged SCTP, correctly encrypted: never a hang, never a frame out of nothing."""
    for _ in range(10):
        link = await joined(sides)
        here, _, _, two = link
        for _ in range(40):
            if here._dtls.state == "connected":
                await here._dtls._send_data(forged_packet(here, seeded_random))
        if not two.farewells:
            here.send(b"still here")
            await two.until(lambda t=two: bool(t.farewells) or t.frames[-1:] == [b"still here"])
        await asyncio.gather(link[0].close(), link[1].close())
        assert all(frame == b"still here" for frame in two.frames)


def forged_packet(sender: WebRtcChannel, rng: random.Random) -> bytes:
    """An SCTP packet with a valid checksum and tag, and one chunk of nonsense."""
    sctp = sender._sctp
    kind = rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 14, 130, 192, 255])
    body = rng.randbytes(rng.choice([0, 1, 4, 11, 12, 16, 20, 64]))
    if kind == 0 and len(body) >= 12:  # DATA of another protocol, so that no frame is expected
        body = body[:8] + (50).to_bytes(4, "big") + body[12:]
    chunk = bytes([kind, rng.randrange(256)]) + (len(body) + 4).to_bytes(2, "big") + body
    tag = 0 if kind == 1 else sctp._remote_verification_tag
    header = (5000).to_bytes(2, "big") * 2 + tag.to_bytes(4, "big")
    checksum = crc32c(header + bytes(4) + chunk)
    return header + checksum.to_bytes(4, "little") + chunk


# ------------------------------------------------------------------ nothing is left behind


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_n20_thirty_connections_leave_no_file_and_no_task() -> None:
    async def cycle(number: int) -> None:
        here, there = WebRtc(addresses=lambda: ["127.0.0.1"]), WebRtc(addresses=lambda: ["127.0.0.1"])
        link = await joined((here, there))
        if number % 3 == 0:
            await link[0].close()
        elif number % 3 == 1:
            link[0].send(b"bye")
        await here.close()
        await there.close()

    await cycle(0)
    gc.collect()
    files, tasks = open_files(), len(asyncio.all_tasks())
    for number in range(30):
        await cycle(number)
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)
    assert open_files() == files


async def test_n20_fifty_attempts_at_once_all_end(sides: tuple[WebRtc, WebRtc]) -> None:
    files = open_files()
    attempts = await asyncio.gather(*(sides[0].offer() for _ in range(50)))
    await asyncio.gather(*(attempt.close() for attempt in attempts))
    assert open_files() == files
