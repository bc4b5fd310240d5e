"""Order keys: always room for one more, short where lists grow at their ends."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.crdt.order import order_between
from tests.unit.core.crdt.support import seeded

KEYS = st.text(st.sampled_from("0129AZaz"), max_size=6)


@given(st.integers(0, 2**32))
def test_keys_inserted_anywhere_stay_in_order(choice: int) -> None:
    rng = random.Random(choice)
    keys: list[str] = []
    for _ in range(60):
        at = rng.choice([0, len(keys), rng.randint(0, len(keys))])
        low = keys[at - 1] if at else None
        high = keys[at] if at < len(keys) else None
        keys.insert(at, order_between(low, high, rng.randbytes))
    assert keys == sorted(set(keys))


@given(KEYS, KEYS, st.integers(0, 2**32))
def test_between_any_two_own_keys_there_is_room(left: str, right: str, choice: int) -> None:
    low, high = sorted((left.rstrip("0"), right.rstrip("0")))
    key = order_between(low or None, high or None, seeded(choice))
    assert key > low
    assert not high or high == low or key < high


@given(st.text(max_size=20), st.text(max_size=20))
def test_foreign_keys_are_survived(low: str, high: str) -> None:
    key = order_between(low, high, seeded(1))
    assert key
    assert key.isalnum()
    assert key.isascii()


def test_lists_that_grow_at_their_ends_keep_short_keys() -> None:
    entropy = seeded(5)
    key = order_between(None, None, entropy)
    first = last = key
    for _ in range(10_000):
        last = order_between(last, None, entropy)
        first = order_between(None, first, entropy)
    assert len(first) <= 4
    assert len(last) <= 4


def test_people_who_insert_at_one_place_get_different_keys() -> None:
    keys = {order_between("a1", "a2", seeded(seed)) for seed in range(200)}
    assert len(keys) > 190
    assert all("a1" < key < "a2" for key in keys)
