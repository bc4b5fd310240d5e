"""Updates taken apart and put together: nothing lost, in causal order, own changes told from foreign ones."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable

import pycrdt
import pytest

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.held_changes import PIECE_BYTES, HeldChanges, split_update
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.replica import Replica
from sheaf.core.crdt.update_runs import BACKLOG_LIMITS, put_together, take_apart

ADA, BEN = 11, 22


def replica() -> Replica:
    return Replica(entropy=os.urandom)


def digest_of(updates: Iterable[bytes]) -> bytes:
    made = replica()
    for update in updates:
        made.apply(update)
    return made.digest()


def written_by_many(rng: random.Random, edits: int) -> pycrdt.Doc:
    """A document that several clients wrote in by turns, with deletions, a map and wide characters."""
    docs = [pycrdt.Doc(client_id=number + 1) for number in range(4)]
    for _ in range(edits):
        doc = rng.choice(docs)
        if rng.random() < 0.4:
            doc.apply_update(rng.choice(docs).get_update(doc.get_state()))
        text = doc.get("text", type=pycrdt.Text)
        length = len(str(text).encode())
        if length and rng.random() < 0.3:
            cut = str(text)[: rng.randrange(len(str(text)))]
            start = len(cut.encode())
            del text[start : start + len(str(text)[len(cut)].encode())]
        elif rng.random() < 0.2:
            doc.get("map", type=pycrdt.Map)[rng.choice("abc")] = rng.random()
        else:
            cut = str(text)[: rng.randrange(len(str(text)) + 1)]
            text.insert(len(cut.encode()), rng.choice(["word ", "ü", "😀", "x" * 50]))
    for doc in docs[1:]:
        docs[0].apply_update(doc.get_update(docs[0].get_state()))
    return docs[0]


@pytest.mark.parametrize("seed", range(12))
def test_runs_put_together_are_the_update_again(seed: int) -> None:
    update = written_by_many(random.Random(seed), 150).get_update()
    taken = take_apart(update)
    assert digest_of([put_together(taken.runs, taken.deletes)]) == digest_of([update])


@pytest.mark.parametrize("seed", range(12))
def test_a_split_state_goes_in_piece_by_piece_without_a_gap(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheaf.core.crdt.held_changes.PIECE_BYTES", 200)
    update = written_by_many(random.Random(seed), 300).get_update()
    pieces = split_update(update)
    assert len(pieces) > 5
    assert digest_of(pieces) == digest_of([update])  # `apply` refuses whatever comes too early


def test_one_long_text_is_cut() -> None:
    doc = pycrdt.Doc()
    words = "a word, ein Wört, 😀; " * 60_000
    doc.get("text", type=pycrdt.Text).insert(0, words)
    pieces = split_update(doc.get_update())
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
    made = replica()
    for piece in pieces:
        made.apply(piece)
    assert made.text() == words


def test_what_builds_on_a_missing_change_waits_and_goes_in_after_it() -> None:
    base, update = two_edits(ADA)
    made, held = replica(), HeldChanges()
    held.add(take_apart(update))
    assert held.take_ready(made.clock_of, nobody) == []
    assert held.has_own
    assert held.wanted == {ADA: 1}
    made.apply(base)
    (ready,) = held.take_ready(made.clock_of, nobody)
    made.apply(ready)
    assert made.text() == "first second"
    assert not held


def test_own_words_are_taken_and_what_another_device_wrote_waits_for_its_envelope() -> None:
    ben = pycrdt.Doc(client_id=BEN)
    ben.get("text", type=pycrdt.Text).insert(0, "ben's. ")
    ada = pycrdt.Doc(client_id=ADA)
    ada.get("text", type=pycrdt.Text).insert(0, "ada's. ")
    ada.apply_update(ben.get_update())
    made, held = replica(), HeldChanges()
    held.add(take_apart(ada.get_update()), is_state=True)
    for piece in held.take_ready(made.clock_of, lambda client: client == BEN):
        made.apply(piece)
    assert made.text() == "ada's. "
    assert held
    assert not held.has_own
    made.apply(ben.get_update())
    assert held.take_ready(made.clock_of, lambda client: client == BEN) == []
    assert not held
    assert made.digest() == digest_of([ada.get_update()])


def test_own_words_beside_foreign_ones_are_not_called_saved() -> None:
    ben = pycrdt.Doc(client_id=BEN)
    ben.get("text", type=pycrdt.Text).insert(0, "ben's")
    ada = pycrdt.Doc(client_id=ADA)
    ada.apply_update(ben.get_update())
    ada.get("text", type=pycrdt.Text).insert(5, " and ada's")
    made, held = replica(), HeldChanges()
    held.add(take_apart(ada.get_update()), is_state=True)
    assert held.take_ready(made.clock_of, lambda client: client == BEN) == []
    assert held.has_own
    assert held.wanted[BEN] <= 5
    made.apply(ben.get_update())
    for piece in held.take_ready(made.clock_of, lambda client: client == BEN):
        made.apply(piece)
    assert made.text() == "ben's and ada's"


def test_structs_behind_a_hole_do_not_keep_the_others_out() -> None:
    """What Yjs sends while structs are pending in it: a state with a hole."""
    holed = with_hole()
    with pytest.raises(UpdateRefused):
        inspect_update(holed)
    assert inspect_update(holed, limits=BACKLOG_LIMITS).has_holes
    made, held = replica(), HeldChanges()
    held.add(take_apart(holed), is_state=True)
    for piece in held.take_ready(made.clock_of, nobody):
        made.apply(piece)
    assert made.text() == "one"
    assert held
    assert not held.has_own


def test_the_same_struct_is_held_once() -> None:
    _, update = two_edits(ADA)
    held = HeldChanges()
    held.add(take_apart(update))
    size = held.byte_count
    for _ in range(10):
        held.add(take_apart(update))
    assert held.byte_count == size


def nobody(_client: int) -> bool:
    return False


def two_edits(client_id: int) -> tuple[bytes, bytes]:
    doc = pycrdt.Doc(client_id=client_id)
    text = doc.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text.insert(0, "first")
    text.insert(5, " second")
    doc.unobserve(subscription)
    return updates[0], updates[1]


def with_hole() -> bytes:
    doc = pycrdt.Doc(client_id=BEN)
    text = doc.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for word in ("one", " two", " three"):
        text.insert(len(str(text)), word)
    doc.unobserve(subscription)
    return pycrdt.merge_updates(updates[0], updates[2])
