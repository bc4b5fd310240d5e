"""The update inspector: what it accepts, what it refuses, what it says about an update."""

from __future__ import annotations

import random
import time
import tracemalloc

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.inspector import UpdateLimits, inspect_update
from sheaf.core.crdt.state_vector import encode_uvar
from sheaf.core.crdt.text import EMBED
from tests.unit.core.crdt.support import (
    documents_of_yjs,
    history,
    larger_set,
    mutate,
    replica,
)


def _update(
    structs: bytes, *, count: int = 1, client: int = 1, clock: int = 0, deletes: bytes = b"\0"
) -> bytes:
    return bytes([1, count, client, clock]) + structs + deletes


@pytest.mark.parametrize("seed", range(20))
def test_every_update_that_native_code_writes_is_accepted(seed: int) -> None:
    group, updates = history(seed, writers=1 + seed % 5, steps=60)
    for update in [*updates, *(writer.replica.encode_state() for writer in group)]:
        inspect_update(update)
        inspect_update(pycrdt.merge_updates(update))


def test_every_update_that_yjs_writes_is_accepted_and_gives_its_text() -> None:
    documents = documents_of_yjs()
    assert len(documents) == 48
    assert sum(len(updates) for updates, _ in documents) > 500
    for updates, text in [*documents, *larger_set()]:
        document = replica()
        for update in updates:
            document.apply(update)
        assert document.text().replace(EMBED, "") == text


def test_a_summary_names_what_is_written_needed_and_deleted() -> None:
    # Client 7 writes "hé😀" (4 UTF-16 units) from clock 3 between items of clients 8 and 9, and deletes.
    update = (
        b"\x01\x02\x07\x03"
        b"\xc4\x08\x05\x09\x0a\x07h\xc3\xa9\xf0\x9f\x98\x80"
        b"\x04\x01\x04body\x01x"
        b"\x02\x07\x01\x00\x02\x0b\x02\x04\x01\x06\x03"
    )
    summary = inspect_update(update)
    assert summary.clients == {7: (3, 8)}
    assert summary.dependencies == {7: 3, 8: 6, 9: 11, 11: 9}
    assert summary.deletes == {7: ((0, 2),), 11: ((4, 1), (6, 3))}
    assert summary.roots == {"body"}
    assert summary.struct_count == 2
    assert not summary.is_empty
    assert inspect_update(b"\0\0").is_empty


def test_what_the_update_brings_itself_is_no_dependency() -> None:
    first = replica(1)
    first.append_text("one ")
    second = replica(2)
    second.apply(first.encode_state())
    second.append_text("two")
    assert inspect_update(second.encode_state()).dependencies == {}
    later = inspect_update(second.diff(first.state_vector()))
    assert later.dependencies == {first.client_id: 4}


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (b"", "cut short"),
        (b"\0", "cut short"),
        (b"\0\0\0", "bytes follow"),
        (b"\x01\x00\x01\x00\x00", "count"),
        (b"\x02\x01\x01\x00\x00\x01\x01\x01\x01\x00\x01\x00", "client twice"),
        (b"\x00\x02\x01\x01\x00\x01\x01\x01\x05\x01", "client twice"),
        (b"\x00\x01\x01\x00", "count"),
        (b"\x00\x01\x01\x01\x05\x00", "out of range"),
        (_update(b"\x00\x00"), "out of range"),
        (_update(b"\x80\x01"), "item flags|cut short|unknown"),
        (_update(b"\x0a\x05"), "unknown or unsupported|malformed"),
        (_update(b"\x04\x02\x01a\x01x"), "parent reference"),
        (_update(b"\x04\x01\x01a\x01\xff"), "UTF-8"),
        (_update(b"\x04\x01\x01a\x00"), "out of range"),
        (_update(b"\x07\x01\x01a\x05\x01h"), "type"),
        (_update(b"\x07\x01\x01a\x07"), "type"),
        (_update(b"\x09\x01\x01a\x01g\x76\x00"), "unknown or unsupported"),
        (_update(b"\x0b\x01\x01a\x00"), "unknown or unsupported"),
        (_update(b"\x08\x01\x01a\x01\x73"), "unknown kind"),
        (_update(b"\x08\x01\x01a\x01\x7c\x00\x00"), "past its end"),
        (_update(b"\x84\x01\x00\x01x"), "later one"),
        (_update(b"\x44\x01\x05\x01x"), "later one"),
        (_update(b"\xc4\x02\x03\x02\x03\x01x"), "both sides"),
        (_update(b"\x04\x00\x01\x00\x01x"), "later one"),
        (_update(b"\x04\x01\x01a\x01x\x04\x00\x01\x00\x01y", count=2), "cannot hold"),
        (_update(b"\x05\x01\x01a\x03{a}"), "malformed"),
        (_update(b"\x05\x01\x01a\x03NaN"), "malformed"),
        (_update(b"\x05\x01\x01a\x05" + b"1e999"), "malformed"),
        (_update(b'\x05\x01\x01a\x08"\\ud800"'), "malformed"),
        (_update(b"\x02\x01\x01a\x01\x04nope"), "malformed"),
    ],
)
def test_malformed_updates_are_refused_with_a_reason(update: bytes, reason: str) -> None:
    with pytest.raises(UpdateRefused, match=reason):
        inspect_update(update)


def test_rare_but_real_content_is_accepted() -> None:
    for structs in (
        b"\x02\x01\x01a\x02\x09undefined\x04true",
        b"\x03\x01\x01a\x02\x00\xff",
        b'\x05\x01\x01a\x0d{"a":[1,"]"]}',
        b"\x06\x01\x01a\x04bold\x04null",
        b"\x08\x01\x01a\x01\x7d\x40",  # minus zero
        b"\x08\x01\x01a\x03\x7f\x7e\x7a" + bytes(8),
        b"\x28\x01\x01a\x01k\x01\x79",
    ):
        inspect_update(_update(structs))


def test_a_deleted_parent_in_the_same_update_is_accepted() -> None:
    inspect_update(_update(b"\x01\x01\x01a\x02" + b"\x04\x00\x01\x01\x01x", count=2))
    inspect_update(_update(b"\x00\x02" + b"\x04\x00\x01\x01\x01x", count=2))


def test_limits_are_checked() -> None:
    update = history(3, steps=80)[0][0].replica.encode_state()
    inspect_update(update)
    for limits in (
        UpdateLimits(bytes_max=len(update) - 1),
        UpdateLimits(clients_max=1),
        UpdateLimits(delete_ranges_max=1),
    ):
        with pytest.raises(UpdateRefused):
            inspect_update(update, limits=limits)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_summary_or_a_refusal(data: bytes) -> None:
    try:
        inspect_update(data)
    except UpdateRefused:
        return


@given(st.integers(0, 2**32), st.integers(0, 49))
def test_a_mutated_update_is_a_summary_or_a_refusal(choice: int, seed: int) -> None:
    group, updates = history(seed, steps=20)
    everything = [*updates, group[0].replica.encode_state()]
    rng = random.Random(choice)
    try:
        inspect_update(mutate(rng, rng.choice(everything), everything))
    except UpdateRefused:
        return


def test_a_keystroke_is_inspected_in_well_under_a_millisecond() -> None:
    """A guard against quadratic accidents, generous because test machines are shared."""
    document = replica()
    updates = [document.append_text("x") or b"" for _ in range(500)]
    started = time.process_time()
    for update in updates:
        inspect_update(update)
    assert (time.process_time() - started) / len(updates) < 0.000_2


def test_a_large_update_is_inspected_in_linear_time() -> None:
    small, large = _inspection_s(4_000), _inspection_s(32_000)
    assert large < small * 8 * 4


def _inspection_s(count: int) -> float:
    update = b"\x01" + encode_uvar(count) + b"\x01\x01" + b"\x81\x01\x00\x01" * count + b"\0"
    started = time.process_time()
    inspect_update(update)
    return time.process_time() - started


def test_very_many_tiny_structs_cost_little_memory() -> None:
    update = b"\x01" + encode_uvar(200_000) + b"\x01\x00" + b"\x00\x01" * 200_000 + b"\0"
    tracemalloc.start()
    try:
        assert inspect_update(update).clients == {1: (0, 200_000)}
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
