"""Receipts: what is said is read back, and nobody can say it for another (PROTOCOL §5, §7)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DocId, LogId, OpId, SpaceId
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.protocol.receipt import (
    RECEIPT_BYTES_MAX,
    SEEN_DOCUMENTS_MAX,
    Receipt,
    Seen,
    read_receipt,
    sign_receipt,
)
from sheaf.core.protocol.receipt_book import KEPT_MAX, SEEN_KEPT_MAX, ReceiptBook
from sheaf.core.wire import cbor

SPACE = SpaceId(b"s" * 32)
ANN = DeviceKeys(b"a" * 32, b"b" * 32)
BEN = DeviceKeys(b"c" * 32, b"d" * 32)
LOGS = [LogId(bytes([number]) * 16) for number in range(1, 6)]
DOC = DocId(b"D" * 16)

versions = st.dictionaries(
    st.binary(min_size=16, max_size=16).map(LogId), st.integers(0, 2**53 - 1), max_size=8
)
seen_maps = st.dictionaries(
    st.binary(min_size=16, max_size=16).map(DocId),
    st.builds(Seen, st.integers(0, 2**50), versions),
    max_size=5,
)


def said(
    counter: int,
    holds: dict[LogId, int] | None = None,
    *,
    full: bool = False,
    seen: dict[DocId, Seen] | None = None,
    keys: DeviceKeys = ANN,
    heads: tuple[OpId, ...] = (),
) -> Receipt:
    return sign_receipt(
        keys,
        space_id=SPACE,
        counter=counter,
        is_full=full,
        made_ms=counter * 1000,
        heads=heads,
        holds=holds or {},
        seen=seen or {},
    )


@given(
    counter=st.integers(0, 2**53 - 1),
    full=st.booleans(),
    holds=versions,
    seen=seen_maps,
    heads=st.lists(st.binary(min_size=32, max_size=32).map(OpId), max_size=4),
)
def test_what_was_said_is_read_back(
    counter: int, full: bool, holds: dict[LogId, int], seen: dict[DocId, Seen], heads: list[OpId]
) -> None:
    receipt = sign_receipt(
        ANN,
        space_id=SPACE,
        counter=counter,
        is_full=full,
        made_ms=7,
        heads=tuple(heads),
        holds=holds,
        seen=seen,
    )
    assert read_receipt(receipt.raw, SPACE) == receipt


@given(st.binary(max_size=300))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read_receipt(junk, SPACE)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_one_changed_byte_is_noticed(at: int, flip: int) -> None:
    raw = bytearray(said(3, {LOGS[0]: 9}, seen={DOC: Seen(5, {LOGS[0]: 4})}).raw)
    raw[at % len(raw)] ^= flip
    with pytest.raises(ProtocolViolation):
        read_receipt(bytes(raw), SPACE)


def test_a_receipt_counts_in_its_own_space_only() -> None:
    with pytest.raises(ProtocolViolation, match="another space"):
        read_receipt(said(1).raw, SpaceId(b"t" * 32))


def test_a_receipt_signed_by_another_device_is_refused() -> None:
    body = said(1, {LOGS[0]: 2}).raw[:-64]
    forged = body + said(1, {LOGS[0]: 2}, keys=BEN).raw[-64:]
    with pytest.raises(ProtocolViolation, match="did not sign"):
        read_receipt(forged, SPACE)


def test_signed_nonsense_is_refused_too() -> None:
    body = cbor.encode({0: SPACE, 1: ANN.device_id, 2: 1})
    with pytest.raises(WireError):
        read_receipt(body + ANN.sign(body), SPACE)


def test_the_largest_full_receipt_fits_and_gives_up_what_was_seen_longest_ago() -> None:
    holds = {LogId(hashlib.sha256(b"%d" % n).digest()[:16]): 2**20 for n in range(16_384)}
    seen = {DocId(n.to_bytes(16, "big")): Seen(n, {LOGS[0]: 2**40}) for n in range(2000)}
    receipt = said(1, holds, full=True, seen=seen, heads=(OpId(b"o" * 32),) * 32)
    assert len(receipt.raw) <= RECEIPT_BYTES_MAX
    assert len(receipt.seen) == SEEN_DOCUMENTS_MAX
    assert min(each.at_ms for each in receipt.seen.values()) == 2000 - SEEN_DOCUMENTS_MAX
    assert read_receipt(receipt.raw, SPACE).holds == holds


# ------------------------------------------------------------------ merged


def test_partial_statements_add_up_in_any_order() -> None:
    receipts = [said(1, {LOGS[0]: 5}, full=True), said(2, {LOGS[1]: 3}), said(3, {LOGS[0]: 9})]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]):
        book = ReceiptBook(SPACE)
        assert all(book.take(receipts[index]) for index in order)
        word = book.of(ANN.device_id)
        assert word is not None
        assert word.holds == {LOGS[0]: 9, LOGS[1]: 3}
        assert word.counter == 3


def test_a_replayed_receipt_changes_nothing() -> None:
    book = ReceiptBook(SPACE)
    first = said(4, {LOGS[0]: 5}, full=True)
    assert book.take(first)
    assert not book.take(first)
    assert not book.take(said(2, {LOGS[0]: 50}))
    word = book.of(ANN.device_id)
    assert word is not None
    assert word.holds == {LOGS[0]: 5}


def test_a_newer_full_statement_takes_back_what_the_device_lost_but_not_what_was_seen() -> None:
    book = ReceiptBook(SPACE)
    book.take(said(1, {LOGS[0]: 50, LOGS[1]: 2}, full=True, seen={DOC: Seen(1, {LOGS[0]: 50})}))
    book.take(said(5, {LOGS[0]: 20}, full=True))
    word = book.of(ANN.device_id)
    assert word is not None
    assert word.holds == {LOGS[0]: 20}
    assert word.has_seen(DOC, {LOGS[0]: 50})
    assert not word.holds_all({LOGS[0]: 21})


def test_who_knows_some_gets_only_the_rest() -> None:
    book = ReceiptBook(SPACE)
    for counter in (1, 2, 3):
        book.take(said(counter, {LOGS[counter]: 5}, full=counter == 1))
    book.take(said(1, {LOGS[0]: 5}, full=True, keys=BEN))
    assert len(book.newer_than({})) == 4
    assert [r.counter for r in book.newer_than({ANN.device_id: 2, BEN.device_id: 1})] == [3]
    copy = ReceiptBook(SPACE)
    for receipt in reversed(book.newer_than({})):
        copy.take(receipt)
    assert dict(copy.items()) == dict(book.items())


def test_while_somebody_types_only_the_newest_partial_is_kept() -> None:
    book = ReceiptBook(SPACE)
    book.take(said(1, {LOGS[0]: 1}, full=True))
    for counter in range(2, 500):
        book.take(said(counter, {LOGS[0]: counter}))
    word = book.of(ANN.device_id)
    assert word is not None
    assert [r.counter for r in word.receipts] == [1, 499]


def test_what_a_device_says_takes_bounded_room() -> None:
    book = ReceiptBook(SPACE)
    for counter in range(1, 60):
        doc = DocId(counter.to_bytes(16, "big"))
        log = LogId(counter.to_bytes(16, "big"))
        book.take(said(counter, {log: 5}, seen={doc: Seen(counter, {log: 5})}))
    word = book.of(ANN.device_id)
    assert word is not None
    assert len(word.receipts) <= KEPT_MAX
    assert len(word.seen) <= SEEN_KEPT_MAX
    assert len(word.holds) == 59, "what was learnt is not forgotten with the receipt it came by"


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.booleans(), st.dictionaries(st.sampled_from(LOGS), st.integers(1, 9)))
    )
)
def test_a_stored_word_comes_back_as_it_was(words: list[tuple[int, bool, dict[LogId, int]]]) -> None:
    book = ReceiptBook(SPACE)
    for counter, full, holds in words:
        book.take(said(counter, holds, full=full, seen={DOC: Seen(counter, holds)}))
    copy = ReceiptBook(SPACE)
    for device_id, _ in book.items():
        copy.restore(device_id, book.encode(device_id))
    assert dict(copy.items()) == dict(book.items())


def test_when_the_book_is_full_those_who_left_make_room_for_newcomers() -> None:
    book, crowd = ReceiptBook(SPACE), [DeviceKeys(b"%032d" % number, b"b" * 32) for number in range(513)]
    for device in crowd[:512]:
        assert book.take(said(1, full=True, keys=device))
    newcomer = said(1, full=True, keys=crowd[512])
    assert not book.take(newcomer), "all of them may be members"
    assert not book.take(newcomer, is_member=lambda _: True)
    gone = {crowd[3].device_id, crowd[4].device_id}
    assert book.take(newcomer, is_member=lambda device_id: device_id not in gone)
    assert book.of(crowd[512].device_id) is not None
    assert [book.of(device_id) for device_id in gone] == [None, None]
    assert book.of(crowd[0].device_id) is not None
