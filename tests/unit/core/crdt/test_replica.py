"""The replica: effective updates, gaps, echoes, digests, and what becomes of native failures."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.replica import EMPTY_UPDATE, Replica, ReplicaPoisoned, UpdateGap, merge_updates
from sheaf.core.crdt.state_vector import encode_state_vector
from tests.unit.core.crdt.support import Writer, history, replica, seeded


def test_an_applied_update_is_returned_once_and_its_echo_is_nothing() -> None:
    author, reader = replica(1), replica(2)
    update = author.append_text("hello")
    assert update is not None
    assert reader.apply(update) == update
    assert reader.apply(update) is None
    assert author.apply(update) is None
    assert reader.text() == "hello"


def test_only_the_new_part_of_an_overlapping_update_is_returned() -> None:
    author, reader = replica(1), replica(2)
    first = author.append_text("hello ")
    second = author.append_text("world")
    assert first is not None
    reader.apply(first)
    assert reader.apply(author.encode_state()) == second


def test_an_update_of_nothing_but_deletions_is_effective_once() -> None:
    author, reader = replica(1), replica(2)
    author.append_text("hello")
    reader.apply(author.encode_state())
    deletion = author.apply_splices([(1, 3, "")])
    assert deletion is not None
    assert reader.state_vector() == author.state_vector()
    assert reader.apply(deletion) == deletion
    assert reader.apply(deletion) is None
    assert reader.text() == "ho"


def test_an_empty_update_is_nothing() -> None:
    assert replica().apply(EMPTY_UPDATE) is None


def test_an_update_with_missing_predecessors_is_refused_and_says_what_is_missing() -> None:
    author, reader = replica(1), replica(2)
    first = author.append_text("one")
    second = author.append_text("two")
    assert first is not None
    assert second is not None
    with pytest.raises(UpdateGap) as caught:
        reader.apply(second)
    assert caught.value.missing == {author.client_id: 3}
    assert reader.encode_state() == EMPTY_UPDATE
    reader.apply(first)
    reader.apply(second)
    assert reader.text() == "onetwo"


def test_a_deletion_of_something_not_here_is_a_gap() -> None:
    with pytest.raises(UpdateGap):
        replica().apply(b"\x00\x01\x05\x01\x00\x02")


def test_nobody_else_writes_in_this_replicas_name() -> None:
    mine = replica(1)
    forger = Replica(entropy=seeded(2), client_id=mine.client_id)
    forged = forger.append_text("forged")
    assert forged is not None
    with pytest.raises(UpdateRefused, match="very replica"):
        mine.apply(forged)
    assert mine.text() == ""


def test_updates_that_wait_for_each_other_do_not_stay_pending_unnoticed() -> None:
    circle = b"\x02\x01\x01\x00\x84\x02\x00\x01x\x01\x02\x00\x84\x01\x00\x01y\x00"
    document = replica()
    with pytest.raises(ReplicaPoisoned):
        document.apply(circle)
    with pytest.raises(ReplicaPoisoned):
        document.text()


def test_a_native_failure_poisons_the_replica_and_nothing_more_is_done_with_it() -> None:
    document = replica(1)
    document.append_text("x")
    child_of_a_letter = (
        b"\x01\x01\x05\x00\x04\x00" + encode_state_vector({document.client_id: 0})[1:] + b"\x01y\x00"
    )
    with pytest.raises(ReplicaPoisoned, match="rebuilt"):
        document.apply(child_of_a_letter)
    for use in (document.text, document.encode_state, document.clocks, lambda: document.append_text("z")):
        with pytest.raises(ReplicaPoisoned):
            use()


def test_a_rust_panic_poisons_the_replica() -> None:
    document = replica(1)
    document.append_text("abc")
    text = document.doc.get("text", type=pycrdt.Text)
    with pytest.raises(ReplicaPoisoned):
        document.edit(lambda: text.__delitem__(slice(0, 99)))


def test_client_ids_are_drawn_and_never_one_the_document_has() -> None:
    first, second = replica(1), replica(2)
    assert first.client_id != second.client_id
    assert 0 < first.client_id < 2**53
    first.append_text("x")
    loaded = Replica.load([first.encode_state()], entropy=seeded(1))
    assert loaded.client_id != first.client_id


def test_loading_refuses_a_gap() -> None:
    author = replica(1)
    author.append_text("one")
    second = author.append_text("two")
    assert second is not None
    with pytest.raises(UpdateGap):
        Replica.load([second], entropy=seeded(3))


@pytest.mark.parametrize("seed", range(12))
def test_replicas_that_saw_everything_are_equal_whatever_the_order(seed: int) -> None:
    group, updates = history(seed, writers=2 + seed % 6, steps=120, lag=0.6)
    contents = [writer.content() for writer in group]
    assert all(content == contents[0] for content in contents)
    digests = {writer.replica.digest() for writer in group}
    digests.add(Replica.load(updates, entropy=seeded(seed)).digest())
    digests.add(Replica.load([group[-1].replica.encode_state()], entropy=seeded(seed)).digest())
    assert len(digests) == 1
    assert len({frozenset(writer.replica.clocks().items()) for writer in group}) == 1


def test_the_normalised_form_is_an_update_with_the_same_content() -> None:
    group, _ = history(3, steps=80)
    again = Writer(random.Random(8))
    again.replica.apply(group[0].replica.normalised())
    assert again.content() == group[0].content()
    assert again.replica.digest() == group[0].replica.digest()


def test_equal_clocks_with_different_content_have_different_digests() -> None:
    """Two instances under one client id: what a restored backup makes."""
    left, right = (Replica(entropy=seeded(1), client_id=5) for _ in range(2))
    left.append_text("a")
    right.append_text("b")
    assert left.clocks() == right.clocks()
    assert left.digest() != right.digest()


def test_a_diff_brings_another_replica_up_to_date() -> None:
    group, _ = history(7, steps=60)
    late = Writer(random.Random(9))
    for writer in group:
        late.replica.apply(writer.replica.diff(late.replica.state_vector()))
    assert late.content() == group[0].content()


@given(st.binary(max_size=40))
def test_a_diff_against_any_bytes_is_an_update_or_a_refusal(data: bytes) -> None:
    document = history(5, steps=10)[0][0].replica
    try:
        inspect_update(document.diff(data))
    except UpdateRefused:
        return


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_diff_against_invented_clocks_harms_nobody(choice: int) -> None:
    """Clocks in the middle of an emoji, which only a liar has, give the liar an update to refuse."""
    document = history(6, steps=40)[0][0].replica
    before = document.digest()
    rng = random.Random(choice)
    clocks = {client: rng.randint(0, clock + 2) for client, clock in document.clocks().items()}
    with contextlib.suppress(UpdateRefused):
        inspect_update(document.diff(encode_state_vector(clocks)))
    assert document.digest() == before


@given(st.integers(0, 300), st.integers(1, 8))
@settings(max_examples=40)
def test_merged_updates_have_the_effect_of_all(seed: int, size: int) -> None:
    _, updates = history(seed, steps=30)
    merged = replica(10_001)
    for start in range(0, len(updates), size):
        merged.apply(merge_updates(updates[start : start + size]))
    assert merged.digest() == Replica.load(updates, entropy=seeded(10_002)).digest()


def test_merging_nothing_or_one_changes_nothing() -> None:
    update = replica().append_text("x") or b""
    assert merge_updates([]) == EMPTY_UPDATE
    assert merge_updates([update]) == update


def test_merging_over_a_hole_is_refused() -> None:
    author = replica()
    updates = [author.append_text(letter) or b"" for letter in "abc"]
    with pytest.raises(UpdateRefused):
        merge_updates([updates[0], updates[2]])
    with pytest.raises(UpdateRefused):
        merge_updates([updates[0], b"\xff"])


def test_a_dropped_replica_is_freed() -> None:
    document = replica()
    document.append_text("x")
    native = weakref.ref(document.doc)
    del document
    gc.collect()
    assert native() is None
