"""What a node remembers of a mailbox."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sheaf.relay.nats_index import Entry, Indexes, MailboxIndex

SIZES = st.lists(st.integers(0, 100), max_size=20)


def item(position: int, size: int = 10, *, stored_s: float = 0.0, is_rollup: bool = False) -> Entry:
    return Entry(position, hashlib.sha256(b"%d" % position).digest(), size, stored_s, is_rollup)


def index_of(*entries: Entry) -> MailboxIndex:
    index = MailboxIndex()
    for entry in entries:
        index.add(entry)
    return index


def test_an_item_is_found_by_its_hash() -> None:
    index = index_of(item(3), item(7))
    assert index.position_of(item(7).digest) == 7
    assert index.position_of(item(8).digest) is None


def test_a_rollup_leaves_itself_alone() -> None:
    index = index_of(item(3), item(7), item(9, 4, is_rollup=True), item(11, 2))
    assert [entry.position for entry in index.page(0, 1000, 10)] == [9, 11]
    assert (index.size_bytes, index.position_of(item(3).digest)) == (6, None)


def test_a_marker_holds_no_item_and_the_last_position() -> None:
    index = index_of(item(3), Entry(8, b"", 0, 1.0, is_rollup=True, marked_last=3))
    assert (len(index), index.size_bytes, index.oldest) == (0, 0, None)
    assert index.newest is not None
    assert (index.head, index.newest.last) == (8, 3)


def test_what_is_too_old_is_forgotten() -> None:
    index = index_of(item(1, stored_s=10.0), item(2, stored_s=20.0))
    index.drop_before(20.0)
    assert index.position_of(item(1).digest) is None
    assert (len(index), index.size_bytes, index.head) == (1, 10, 2)


def test_a_head_that_fell_back_or_is_another_message_does_not_follow() -> None:
    index = index_of(item(3), item(7))
    assert index.is_followed_by(item(7))
    assert index.is_followed_by(item(9))
    assert not index.is_followed_by(item(3))
    assert not index.is_followed_by(Entry(7, item(8).digest, 10, 0.0))
    assert MailboxIndex().is_followed_by(item(1))


@given(SIZES, st.integers(0, 25), st.integers(0, 300), st.integers(1, 8))
def test_a_page_is_the_longest_run_that_fits_and_never_empty_without_need(
    sizes: list[int], after: int, bytes_max: int, items_max: int
) -> None:
    entries = [item(position, size) for position, size in enumerate(sizes, 1)]
    page = index_of(*entries).page(after, bytes_max, items_max)
    rest = entries[after:]
    assert list(page) == rest[: len(page)]
    if rest:
        assert 1 <= len(page) <= items_max
        fits = sum(entry.size_bytes for entry in rest[: len(page) + 1]) <= bytes_max
        assert len(page) in (items_max, len(rest)) or not fits
    assert len(page) <= 1 or sum(entry.size_bytes for entry in page) <= bytes_max


def test_the_least_recently_used_mailboxes_are_forgotten_first() -> None:
    indexes = Indexes(entries_max=11)
    for name in (b"a", b"b"):
        for position in (1, 2):
            indexes.get(name, b"life").add(item(position))
    indexes.get(b"a", b"life")
    indexes.shrink()
    assert len(indexes.get(b"a", b"life")) == 2
    assert len(indexes.get(b"b", b"life")) == 0


def test_another_life_of_a_mailbox_is_another_mailbox() -> None:
    indexes = Indexes()
    indexes.get(b"a", b"first").add(item(1))
    assert len(indexes.get(b"a", b"second")) == 0
    indexes.forget(b"a", b"first")
    assert len(indexes.get(b"a", b"first")) == 0
