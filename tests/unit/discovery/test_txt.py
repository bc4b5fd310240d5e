"""The text record (PROTOCOL §6)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.discovery.txt import NONCE_BYTES, TAGS_MAX, build_txt, parse_txt

NONCE = bytes(range(NONCE_BYTES))
PADDING = [os.urandom(6) for _ in range(TAGS_MAX)]
tags = st.lists(st.binary(min_size=6, max_size=6), max_size=140, unique=True)


@given(tags)
def test_every_tag_that_was_announced_is_read_back(wanted: list[bytes]) -> None:
    read = parse_txt(dict(build_txt(NONCE, wanted, PADDING)))
    assert read is not None
    assert read.nonce == NONCE
    assert set(wanted[:TAGS_MAX]) <= read.tags
    assert len(read.tags) <= TAGS_MAX


@pytest.mark.parametrize(
    ("real", "shown"),
    [(0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (17, 32), (32, 32), (33, 64), (100, 128), (200, 128)],
)
def test_the_number_of_tags_is_padded(real: int, shown: int) -> None:
    read = parse_txt(dict(build_txt(NONCE, [os.urandom(6) for _ in range(real)], PADDING)))
    assert read is not None
    assert len(read.tags) == shown


def test_padding_stays_the_same_so_that_it_does_not_give_itself_away() -> None:
    one = parse_txt(dict(build_txt(NONCE, [b"aaaaaa"], PADDING)))
    two = parse_txt(dict(build_txt(NONCE, [b"aaaaaa", b"bbbbbb"], PADDING)))
    assert one is not None
    assert two is not None
    assert len(one.tags & two.tags) == 7


def test_the_order_says_nothing() -> None:
    assert build_txt(NONCE, [b"aaaaaa", b"bbbbbb"], PADDING) == build_txt(
        NONCE, [b"bbbbbb", b"aaaaaa"], PADDING
    )


@given(tags)
def test_every_string_fits_a_text_record(wanted: list[bytes]) -> None:
    built = build_txt(NONCE, wanted, PADDING)
    assert all(len(key) + 1 + len(value) <= 255 for key, value in built.items())
    assert sum(len(key) + 2 + len(value) for key, value in built.items()) < 1000


keys = st.sampled_from([b"v", b"n", b"t", b"t1", b"t2", b"t3", b"x"])


@given(st.dictionaries(keys, st.none() | st.binary(max_size=255)))
def test_n18_garbage_is_refused_or_read_within_bounds(properties: dict[bytes, bytes | None]) -> None:
    read = parse_txt(properties)
    if read is not None:
        assert len(read.nonce) == NONCE_BYTES
        assert all(len(tag) == 6 for tag in read.tags)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {b"v": b"1"},
        {b"v": b"2", b"n": NONCE, b"t": b""},
        {b"v": b"1", b"n": NONCE[1:], b"t": b""},
        {b"v": b"1", b"n": NONCE, b"t": b"12345"},
        {b"v": None, b"n": None, b"t": None},
    ],
)
def test_n18_what_is_not_sheafs_is_passed_over(properties: dict[bytes, bytes | None]) -> None:
    assert parse_txt(properties) is None
