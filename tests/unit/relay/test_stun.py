"""The relay answers STUN Binding requests, and nothing that could be turned against anybody (RFC 8489)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.stun import PER_ADDRESS_BURST, StunResponder, answer_to, serve_stun

REQUEST = struct.pack("!HHI", 1, 0, 0x2112A442) + b"transaction!"
IP_UDP_BYTES = {4: 28, 6: 48}


def test_an_answer_is_what_another_implementation_reads() -> None:
    for host in ("192.0.2.7", "2001:db8::7", "::1"):
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        answer = answer_to(bytes(request), host, 54_321)
        assert answer is not None
        read = stun.parse_message(answer)
        assert read.message_class is stun.Class.RESPONSE
        assert read.transaction_id == request.transaction_id
        assert read.attributes["XOR-MAPPED-ADDRESS"] == (host, 54_321)


def test_the_example_of_rfc_5769_comes_out() -> None:
    transaction = bytes.fromhex("b7e7a701bc34d686fa87dfae")
    request = struct.pack("!HHI", 1, 0, 0x2112A442) + transaction
    four = answer_to(request, "192.0.2.1", 32_853)
    assert four is not None
    assert four[20:] == bytes.fromhex("002000080001a147e112a643")
    six = answer_to(request, "2001:db8:1234:5678:11:2233:4455:6677", 32_853)
    assert six is not None
    assert six[20:] == bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


def test_attributes_that_may_be_ignored_are() -> None:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["SOFTWARE"] = "somebody's client"
    request.add_fingerprint()
    answer = answer_to(bytes(request), "192.0.2.7", 1)
    assert answer is not None
    assert stun.parse_message(answer).message_class is stun.Class.RESPONSE


def test_attributes_that_must_be_understood_are_answered_420() -> None:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = "x"
    request.attributes["PRIORITY"] = 5
    answer = answer_to(bytes(request), "192.0.2.7", 1)
    assert answer is not None
    assert stun.parse_message(answer).attributes["ERROR-CODE"] == (420, "")
    assert answer[-8:] == struct.pack("!HHHH", 0x000A, 4, 0x0006, 0x0024)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        REQUEST[:-1],
        REQUEST + b"\0",
        b"\x01\x01" + REQUEST[2:],
        b"\x00\x11" + REQUEST[2:],
        REQUEST[:4] + bytes(4) + REQUEST[8:],
        struct.pack("!HHI", 1, 4, 0x2112A442) + REQUEST[8:] + struct.pack("!HH", 0x8022, 4),
        struct.pack("!HHI", 1, 496, 0x2112A442) + REQUEST[8:] + struct.pack("!HH", 0x8022, 492) + bytes(492),
    ],
    ids=["empty", "short", "long", "an answer", "indication", "no cookie", "attribute cut off", "too large"],
)
def test_what_is_no_request_has_no_answer(datagram: bytes) -> None:
    assert answer_to(datagram, "192.0.2.7", 1) is None


@given(
    st.one_of(
        st.binary(max_size=600),
        st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=6).map(
            lambda attributes: _request(attributes)
        ),
    ),
    st.sampled_from(["192.0.2.7", "2001:db8::7"]),
)
def test_n7_any_datagram_is_answered_small_or_not_at_all(datagram: bytes, host: str) -> None:
    answer = answer_to(datagram, host, 40_000)
    if answer is not None:
        headers = IP_UDP_BYTES[6 if ":" in host else 4]
        assert len(answer) + headers <= 2 * (len(datagram) + headers)
        assert len(answer) <= 60
        assert struct.unpack_from("!H", answer, 2)[0] == len(answer) - 20


async def test_one_address_is_answered_so_often_only_and_others_still_are() -> None:
    metrics, clock, sent = RelayMetrics(), [0.0], []

    class Transport:
        def sendto(self, data: bytes, addr: object) -> None:
            sent.append(addr)

    responder = StunResponder(metrics=metrics, now=lambda: clock[0])
    responder.connection_made(Transport())  # type: ignore[arg-type]
    for n in range(200):
        responder.datagram_received(REQUEST, ("192.0.2.7", 1000 + n))
    assert len(sent) == PER_ADDRESS_BURST
    responder.datagram_received(REQUEST, ("192.0.2.8", 1))
    assert sent[-1] == ("192.0.2.8", 1)
    for n in range(200):
        responder.datagram_received(REQUEST, (f"2001:db8::{n:x}", 7, 0, 0))
    assert len(sent) == 2 * PER_ADDRESS_BURST + 1, "a /64 is one address"
    clock[0] += 1.0
    responder.datagram_received(REQUEST, ("192.0.2.7", 1))
    assert sent[-1] == ("192.0.2.7", 1)


async def test_it_answers_on_a_socket() -> None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    transports = await serve_stun([bound], metrics=RelayMetrics(), now=asyncio.get_running_loop().time)
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.setblocking(False)
    asker.bind(("127.0.0.1", 0))
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(asker, os.urandom(100), bound.getsockname())
    await loop.sock_sendto(asker, REQUEST, bound.getsockname())
    async with asyncio.timeout(5):
        answer = await loop.sock_recv(asker, 1000)
    assert stun.parse_message(answer).attributes["XOR-MAPPED-ADDRESS"] == asker.getsockname()
    for transport in transports:
        transport.close()
    asker.close()


def _request(attributes: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(
        struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes
    )
    return struct.pack("!HHI", 1, len(body), 0x2112A442) + b"transaction!" + body
