"""FAULTS N19: a member who aims this daemon at somebody else gets little out of it, counted on the wire.

The third computer hears everything that is sent to it, and to everybody, with a packet socket.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.ports import Candidate, WebRtcDescription
from sheaf.transport.webrtc import WebRtc
from tests.support import netns
from tests.support.netns import Computer, Lan

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

VICTIM = "10.77.0.3"
CHECKS_PER_CANDIDATE_MAX = 10
CHECK_BYTES_MAX = 200
_ETH_P_IP = 0x0800
_UDP = 17


@pytest.fixture
def room() -> Iterator[Lan]:
    with netns.lan(3) as made:
        yield made


class Wiretap:
    """What arrives at a computer by UDP over IPv4: (destination address, port, payload)."""

    def __init__(self, computer: Computer) -> None:
        with computer.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))

    def heard(self) -> list[tuple[str, int, bytes]]:
        """Everything so far."""
        found = []
        while select.select([self._socket], [], [], 0)[0]:
            frame = self._socket.recv(65_536)
            packet = frame[14:]
            if packet[9] == _UDP:
                datagram = packet[(packet[0] & 15) * 4 :]
                port = struct.unpack_from("!H", datagram, 2)[0]
                found.append((socket.inet_ntoa(packet[16:20]), port, datagram[8:]))
        return found

    def close(self) -> None:
        self._socket.close()


def candidate(address: str, port: int, number: int = 0) -> Candidate:
    return Candidate(
        foundation=f"f{number}",
        component=1,
        protocol="udp",
        priority=2130706431 - number,
        address=address,
        port=port,
        kind="host",
    )


def offer(*candidates: Candidate) -> WebRtcDescription:
    return WebRtcDescription(
        ufrag="evil",
        pwd="p" * 22,
        setup="actpass",
        sctp_port=5000,
        message_bytes_max=65_536,
        fingerprint=bytes(32),
        candidates=candidates,
    )


def answered(computer: Computer, description: WebRtcDescription) -> BaseException | None:
    """Let a daemon's transport on `computer` answer it and try to connect; what it failed with."""

    async def try_it() -> BaseException | None:
        transport = WebRtc(addresses=lambda: [str(computer.address)])
        try:
            attempt = await transport.answer(description)
            await attempt.connect()
        except (TransportFailure, ProtocolViolation) as error:
            return error
        finally:
            await transport.close()
        return None

    with computer.entered():
        return asyncio.run(try_it())


def test_n19_two_thousand_candidates_cause_no_packet_at_all(room: Lan) -> None:
    tap = Wiretap(room[2])
    many = [candidate(VICTIM, 2000 + number, number) for number in range(2000)]
    assert isinstance(answered(room[0], offer(*many)), ProtocolViolation)
    assert tap.heard() == []
    tap.close()


def test_n19_services_broadcast_multicast_and_our_own_loopback_are_never_knocked_at(room: Lan) -> None:
    tap, at_home = Wiretap(room[2]), Wiretap(room[0])
    forbidden = [
        *(candidate(VICTIM, port) for port in (1, 22, 53, 123, 161, 443, 1023)),
        *(candidate(a, 5353) for a in ("224.0.0.251", "239.255.255.250", "255.255.255.255", "0.0.0.0")),
        *(candidate(a, 8080) for a in ("127.0.0.1", "127.0.0.53", "240.0.0.1", "evil.example", "")),
    ]
    assert isinstance(answered(room[0], offer(*forbidden)), TransportFailure)
    assert tap.heard() == []
    assert at_home.heard() == []
    for each in (tap, at_home):
        each.close()


def test_n19_a_bystander_gets_a_few_small_checks_and_nothing_else(room: Lan) -> None:
    tap = Wiretap(room[2])
    aimed = [candidate(VICTIM, 20_000 + number, number) for number in range(32)]
    assert isinstance(answered(room[0], offer(*aimed)), TransportFailure)
    heard = tap.heard()
    assert 0 < len(heard) <= 32 * CHECKS_PER_CANDIDATE_MAX
    assert {address for address, _, _ in heard} == {VICTIM}
    assert {port for _, port, _ in heard} <= {each.port for each in aimed}
    assert all(payload[:1] <= b"\x03" and len(payload) <= CHECK_BYTES_MAX for _, _, payload in heard)
    print(f"N19: {len(heard)} checks of {max(len(p) for _, _, p in heard)} bytes at a bystander")
    tap.close()
