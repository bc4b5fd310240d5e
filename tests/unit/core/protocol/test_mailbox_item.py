"""Mailbox items: only members open them, the same batch is the same item, sizes tell little (PROTOCOL §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, LogId, SpaceId
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.protocol.mailbox_item import (
    MailboxBatch,
    content_bytes_max,
    open_item,
    padme,
    seal_item,
)
from sheaf.core.space.run import Run
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX

KEYS = SpaceKeys(b"e" * 32, SpaceId(b"s" * 32))
OTHER_EPOCH = SpaceKeys(b"f" * 32, SpaceId(b"s" * 32))
LOG = LogId(b"l" * 16)

runs = st.builds(
    Run,
    st.binary(min_size=16, max_size=16).map(LogId),
    st.integers(1, 2**40),
    st.none() | st.binary(max_size=60),
    st.lists(st.binary(max_size=80), max_size=4).map(tuple),
)
batches = st.builds(
    MailboxBatch,
    st.lists(st.binary(max_size=60), max_size=4).map(tuple),
    st.lists(runs, max_size=4).map(tuple),
    st.lists(st.binary(max_size=60), max_size=4).map(tuple),
)


@given(batches)
def test_what_was_sealed_is_opened(batch: MailboxBatch) -> None:
    item = seal_item(batch, KEYS)
    assert open_item(item, KEYS) == batch
    assert seal_item(batch, KEYS) == item, "the relay stores what is put twice once"


@given(st.binary(max_size=400))
def test_junk_does_not_open(junk: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        open_item(junk, KEYS)


@given(batch=batches, at=st.integers(0, 5000), flip=st.integers(1, 255))
def test_one_changed_byte_is_noticed(batch: MailboxBatch, at: int, flip: int) -> None:
    item = bytearray(seal_item(batch, KEYS))
    item[at % len(item)] ^= flip
    with pytest.raises(ProtocolViolation):
        open_item(bytes(item), KEYS)


def test_an_item_swapped_into_another_mailbox_does_not_open() -> None:
    with pytest.raises(ProtocolViolation):
        open_item(seal_item(MailboxBatch(ops=(b"op",)), KEYS), OTHER_EPOCH)


@given(st.integers(0, 10**7))
def test_padding_costs_at_most_an_eighth_and_leaves_few_sizes(length: int) -> None:
    padded = padme(length)
    assert length <= padded <= length + length // 8 + 1
    assert padme(padded) == padded
    if length > 1024:
        assert padded % 32 == 0


@pytest.mark.parametrize("item_bytes_max", [16 * 1024, 100_000, ITEM_BYTES_MAX])
def test_content_of_the_promised_size_fits_an_item(item_bytes_max: int) -> None:
    size = content_bytes_max(item_bytes_max)
    batch = MailboxBatch(receipts=(b"r" * (size // 2), b"q" * (size - size // 2)))
    if size > 352 * 1024:
        batch = MailboxBatch(runs=(Run(LOG, 1, None, (b"x" * (200 * 1024), b"y" * (size - 200 * 1024))),))
    assert len(seal_item(batch, KEYS)) <= item_bytes_max


# ------------------------------------------------------------------ coverage


def test_stretches_that_touch_become_one_and_holes_are_found() -> None:
    coverage = Coverage()
    coverage.add_run(LOG, 10, 20)
    coverage.add_run(LOG, 20, 25)
    coverage.add_run(LOG, 5, 12)
    assert coverage.spans[LOG] == (5, 25)
    assert coverage.lacks(LOG, 1, 30) == [(1, 5), (25, 30)]
    assert coverage.lacks(LOG, 1, 4) == [(1, 4)]
    assert coverage.lacks(LOG, 26, 30) == [(26, 30)]
    assert coverage.has(LOG, 5, 25)
    coverage.add_run(LOG, 40, 41)
    assert coverage.spans[LOG] == (40, 41), "of two stretches the newer one counts"


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30))), st.integers(1, 30), st.integers(1, 31))
def test_coverage_never_claims_what_was_not_there(added: list[tuple[int, int]], low: int, high: int) -> None:
    coverage, there = Coverage(), set[int]()
    for first, size in added:
        coverage.add_run(LOG, first, first + size)
        there |= set(range(first, first + size))
    lacking = {seq for a, b in coverage.lacks(LOG, low, high) for seq in range(a, b)}
    assert set(range(low, high)) - lacking <= there
    assert lacking <= set(range(low, high))


@given(
    st.dictionaries(
        st.binary(min_size=16, max_size=16).map(LogId), st.tuples(st.integers(1, 99), st.integers(100, 2**40))
    )
)
def test_stored_stretches_come_back(spans: dict[LogId, tuple[int, int]]) -> None:
    coverage, again = Coverage(spans=dict(spans)), Coverage()
    again.decode_spans(coverage.encode_spans())
    assert again.spans == spans


def test_what_a_relay_let_go_is_counted_only_where_somebody_still_needs_it() -> None:
    before, after = Coverage(), Coverage()
    before.add_run(LOG, 1, 100)
    after.add_run(LOG, 40, 60)
    assert after.shrunk_since(before, {LOG: 1}) == 79
    assert after.shrunk_since(before, {LOG: 50}) == 40
    assert after.shrunk_since(before, {}) == 0
    after.add_receipt(DeviceId(b"d" * 32), 5)
    after.add_receipt(DeviceId(b"d" * 32), 3)
    assert after.receipts == {DeviceId(b"d" * 32): 5}
