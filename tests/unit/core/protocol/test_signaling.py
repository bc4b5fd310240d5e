"""Sealed signalling: round trip, for one reader only, typed fields only (FAULTS N7, N12, N19)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import CANDIDATES_MAX, SIGNAL_BYTES_MAX
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.sealing import seal_box
from sheaf.core.protocol.signaling import (
    CandidateWire,
    SignalBody,
    SignalKind,
    TunnelWire,
    WebRtcWire,
    answer_rendezvous,
    offer_hash,
    open_signal,
    seal_signal,
    transcript,
)
from sheaf.core.wire import cbor
from tests.unit.core.protocol.pretend_wire import ALICE, BOB, CAROL

RID = RendezvousId(b"r" * 16)
OTHER_RID = RendezvousId(b"o" * 16)
CANDIDATE = CandidateWire("1", 1, "udp", 2130706431, "192.168.1.4", 51234, "host")
WEBRTC = WebRtcWire("ufra", "p" * 22, "actpass", 5000, 262144, b"f" * 32, (CANDIDATE,))
OFFER = SignalBody(
    kind=SignalKind.OFFER,
    sender=ALICE.certificate,
    to=BOB.device_id,
    session_id=b"s" * 16,
    created_ms=1_800_000_000_000,
    webrtc=WEBRTC,
    tunnel=TunnelWire(b"t" * 32, bytes(16)),
)
entropy = random.Random(5).randbytes


def sealed(body: SignalBody = OFFER, rid: RendezvousId = RID) -> bytes:
    return seal_signal(body, ALICE.device, BOB.device.kem_public, rid, entropy)


def test_a_message_opens_for_its_reader() -> None:
    opened = open_signal(sealed(), BOB.device.open_box, RID)
    assert opened.body == OFFER
    assert opened.body_bytes == OFFER.encode()


def test_only_the_reader_at_that_rendezvous_can_open_it() -> None:
    for open_box, rid in ((CAROL.device.open_box, RID), (BOB.device.open_box, OTHER_RID)):
        with pytest.raises(ProtocolViolation):
            open_signal(sealed(), open_box, rid)


def test_nobody_can_sign_for_somebody_else() -> None:
    forged = replace(OFFER, sender=CAROL.certificate)
    with pytest.raises(ProtocolViolation, match="signed"):
        open_signal(sealed(forged), BOB.device.open_box, RID)


def test_a_reader_cannot_pass_a_message_on_as_if_sent_to_another_rendezvous() -> None:
    raw = OFFER.encode()
    signature = ALICE.device.sign(domain_bytes("signal", RID, raw))
    signed = cbor.encode({0: raw, 1: signature})
    plaintext = len(signed).to_bytes(4, "big") + signed
    passed_on = seal_box(CAROL.device.kem_public, plaintext, domain_bytes("sig", OTHER_RID))
    with pytest.raises(ProtocolViolation, match="signed"):
        open_signal(passed_on, CAROL.device.open_box, OTHER_RID)


def test_sizes_come_in_steps_of_two_kibibytes() -> None:
    many = replace(OFFER, webrtc=replace(WEBRTC, candidates=(CANDIDATE,) * CANDIDATES_MAX))
    poke = replace(OFFER, kind=SignalKind.POKE, webrtc=None, tunnel=None)
    sizes = {len(sealed(body)) for body in (OFFER, many, poke)}
    assert all(size % 2048 == 0 for size in sizes)
    assert max(sizes) <= SIGNAL_BYTES_MAX
    assert len(sealed(poke)) == 2048


def test_transcripts_and_answers_bind_to_one_offer() -> None:
    answer = replace(
        OFFER, kind=SignalKind.ANSWER, sender=BOB.certificate, offer_hash=offer_hash(OFFER.encode())
    )
    other = replace(OFFER, session_id=b"x" * 16)
    assert SignalBody.decode(answer.encode()).offer_hash == offer_hash(OFFER.encode())
    assert offer_hash(other.encode()) != offer_hash(OFFER.encode())
    values = {
        transcript(OFFER.encode(), answer.encode()),
        transcript(answer.encode(), OFFER.encode()),
        transcript(other.encode(), answer.encode()),
        transcript(OFFER.encode(), answer.encode()[:-1]),
    }
    assert len(values) == 4
    assert answer_rendezvous(OFFER.session_id) != answer_rendezvous(other.session_id)


@pytest.mark.parametrize(
    "body",
    [
        replace(OFFER, offer_hash=bytes(32)),
        replace(OFFER, kind=SignalKind.ANSWER),
        replace(OFFER, webrtc=replace(WEBRTC, candidates=(CANDIDATE,) * (CANDIDATES_MAX + 1))),
        replace(OFFER, webrtc=replace(WEBRTC, fingerprint=b"f" * 64)),
        replace(OFFER, webrtc=replace(WEBRTC, setup="holdconn")),
        replace(OFFER, webrtc=replace(WEBRTC, ufrag="a\r\na=candidate:1")),
        replace(OFFER, webrtc=replace(WEBRTC, pwd="short")),
        replace(OFFER, webrtc=replace(WEBRTC, sctp_port=0)),
        replace(OFFER, tunnel=TunnelWire(b"t" * 32, b"short")),
        replace(OFFER, session_id=b"s"),
    ],
)
def test_bodies_that_break_the_rules_are_refused(body: SignalBody) -> None:
    with pytest.raises(WireError):
        SignalBody.decode(body.encode())


@pytest.mark.parametrize(
    "address",
    ["224.0.0.251", "0.0.0.0", "255.255.255.255", "::", "ff02::fb", "example.com", "192.168.001.004",
     "fe80::1%eth0", "FE80::1", "x.local", ""],
)  # fmt: skip
def test_addresses_that_are_not_plain_unicast_are_refused(address: str) -> None:
    body = replace(OFFER, webrtc=replace(WEBRTC, candidates=(replace(CANDIDATE, address=address),)))
    with pytest.raises(WireError):
        SignalBody.decode(body.encode())


@pytest.mark.parametrize("address", ["10.0.0.1", "fe80::1", "2001:db8::5", "127.0.0.2"])
def test_unicast_addresses_pass(address: str) -> None:
    body = replace(OFFER, webrtc=replace(WEBRTC, candidates=(replace(CANDIDATE, address=address),)))
    assert SignalBody.decode(body.encode()) == body


@settings(max_examples=1500)
@given(st.data())
def test_n19_mutated_bodies_are_refused_or_read_exactly(data: st.DataObject) -> None:
    raw = bytearray(OFFER.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        body = SignalBody.decode(bytes(raw))
    except ProtocolViolation:
        return
    assert body.encode() == bytes(raw)


@given(st.binary(max_size=400))
def test_any_bytes_inside_the_box_are_refused(plaintext: bytes) -> None:
    box = seal_box(BOB.device.kem_public, plaintext, domain_bytes("sig", RID))
    with pytest.raises(ProtocolViolation):
        open_signal(box, BOB.device.open_box, RID)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        open_signal(data, BOB.device.open_box, RID)
    with pytest.raises(ProtocolViolation):
        SignalBody.decode(data)
