"""Receipts over a session: passed on whole, refused when forged, bounded (PROTOCOL §5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, LogId, SpaceId
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.message_codec import decode_message, encode_message
from sheaf.core.protocol.messages import Kind, ReceiptHeads, Receipts
from sheaf.core.protocol.mux import Message
from sheaf.core.protocol.receipt import Receipt, sign_receipt
from sheaf.core.protocol.receipt_gate import BURST, PER_S, in_messages
from sheaf.core.wire.frames import Stream
from tests.unit.core.protocol.pretend_wire import SPACE, Side, Wire, live_pair

KEYS = DeviceKeys(b"x" * 32, b"y" * 32)
LOG = LogId(b"l" * 16)


def said(counter: int, space_id: SpaceId = SPACE) -> Receipt:
    return sign_receipt(
        KEYS,
        space_id=space_id,
        counter=counter,
        is_full=False,
        made_ms=1,
        heads=(),
        holds={LOG: counter + 1},
        seen={},
    )


def tell(wire: Wire, side: Side, *raws: bytes, counters: dict[DeviceId, int] | None = None) -> None:
    side.perform(side.session.tell_receipts(SPACE, counters, raws), wire.now)
    wire.run(0.1)


def test_receipts_and_questions_arrive_verified() -> None:
    wire, alice, bob = live_pair()
    receipts = [said(1), said(2)]
    tell(wire, alice, *(receipt.raw for receipt in receipts), counters={KEYS.device_id: 2})
    assert [effect.receipts for effect in bob.seen(fx.ReceiptsCame)] == [tuple(receipts)]
    assert [effect.counters for effect in bob.seen(fx.ReceiptHeadsCame)] == [{KEYS.device_id: 2}]


def test_a_forged_receipt_ends_the_session_as_the_senders_fault() -> None:
    wire, alice, bob = live_pair()
    raw = bytearray(said(1).raw)
    raw[-1] ^= 1
    tell(wire, alice, bytes(raw))
    assert bob.closed is not None
    assert bob.closed.is_peer_fault
    assert not bob.seen(fx.ReceiptsCame)


def test_a_receipt_of_another_space_ends_the_session_as_the_senders_fault() -> None:
    wire, alice, bob = live_pair()
    tell(wire, alice, said(1, SpaceId(b"o" * 32)).raw)
    assert bob.closed is not None
    assert bob.closed.is_peer_fault


def test_a_flood_of_receipts_is_dropped_beyond_any_honest_rate() -> None:
    wire, alice, bob = live_pair()
    count = int(BURST) + 200
    for counter in range(count):
        alice.perform(alice.session.tell_receipts(SPACE, None, [said(counter + 1).raw]), wire.now)
    wire.run(1.0)
    assert BURST <= len(bob.seen(fx.ReceiptsCame)) <= BURST + 2 * PER_S
    assert bob.closed is None


def test_somebody_who_asks_over_and_over_is_not_answered_each_time() -> None:
    wire, alice, bob = live_pair()
    for _ in range(50):
        tell(wire, alice, counters={})
    assert len(bob.seen(fx.ReceiptHeadsCame)) < 8


def test_many_receipts_are_cut_into_messages_that_fit() -> None:
    raws = [bytes([number]) * 100_000 for number in range(20)]
    messages = list(in_messages(3, raws))
    assert [raw for message in messages for raw in message.receipts] == raws
    assert all(decode_message(Stream.CONTROL, encode_message(message)) == message for message in messages)


@given(
    st.dictionaries(st.binary(min_size=32, max_size=32).map(DeviceId), st.integers(0, 2**53 - 1), max_size=5),
    st.lists(st.binary(max_size=50), min_size=1, max_size=5),
)
def test_the_messages_are_read_as_they_were_written(counters: dict[DeviceId, int], raws: list[bytes]) -> None:
    for message in (ReceiptHeads(3, counters), Receipts(3, tuple(raws))):
        assert decode_message(Stream.CONTROL, encode_message(message)) == message


@given(kind=st.sampled_from([Kind.RECEIPTS, Kind.RECEIPT_HEADS]), payload=st.binary(max_size=80))
def test_junk_is_refused_whole(kind: Kind, payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(Stream.CONTROL, Message(kind, payload))
