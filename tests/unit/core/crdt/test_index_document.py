"""The index: concurrent changes keep both sides, garbage and cycles are read as something sane."""

from __future__ import annotations

import time
from typing import Any

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.errors import NotFound, UsageError
from sheaf.core.base.ids import DocId
from sheaf.core.crdt.index_document import TITLE_MAX, IndexDocument
from sheaf.core.crdt.replica import Replica
from tests.unit.core.crdt.support import replica, seeded

A, B, C, D = (DocId(bytes([number]) * 16) for number in range(1, 5))


def _index(seed: int = 1) -> IndexDocument:
    return IndexDocument(replica(seed))


def _create(index: IndexDocument, doc_id: DocId, *, parent: DocId | None = None, **fields: Any) -> bytes:
    entropy = seeded(doc_id[0])
    values: dict[str, Any] = {
        "title": f"Document {doc_id[0]}",
        "type": "page",
        "order": index.order_last(parent, entropy),
        "created_ms": 1000 + doc_id[0],
    }
    return index.create(doc_id, parent=parent, **{**values, **fields})


def _sync(*indexes: IndexDocument) -> None:
    for _ in range(2):
        for reader in indexes:
            for writer in indexes:
                reader.replica.apply(writer.replica.encode_state())


def test_a_created_document_is_there_and_elsewhere_after_its_update() -> None:
    mine, theirs = _index(1), _index(2)
    assert dict(theirs.entries()) == {}
    theirs.replica.apply(_create(mine, A, title="Plan 😀", type="text"))
    assert mine.entries() == theirs.entries()
    entry = theirs.entry(A)
    assert (entry.title, entry.type, entry.parent, entry.trashed, entry.created_ms) == (
        "Plan 😀",
        "text",
        None,
        False,
        1001,
    )


def test_concurrent_rename_move_and_trash_all_stay() -> None:
    first, second, third = _index(1), _index(2), _index(3)
    _create(first, A)
    _create(first, B)
    _sync(first, second, third)
    first.set_title(A, "Renamed")
    second.move(A, B, "zz")
    third.set_trashed(A, True)
    _sync(first, second, third)
    for index in (first, second, third):
        entry = index.entry(A)
        assert (entry.title, entry.parent, entry.order, entry.trashed) == ("Renamed", B, "zz", True)
    assert first.replica.digest() == second.replica.digest() == third.replica.digest()


def test_changes_that_change_nothing_are_no_updates() -> None:
    index = _index()
    _create(index, A, title="same")
    assert index.set_title(A, "same") is None
    assert index.set_trashed(A, False) is None
    assert index.move(A, None, index.entry(A).order) is None


def test_children_come_in_order_and_can_be_put_after_each_other() -> None:
    index = _index()
    for doc_id in (A, B, C):
        _create(index, doc_id)
    assert [entry.doc_id for entry in index.children(None)] == [A, B, C]
    index.move(C, None, index.order_after(None, A, seeded(1)))
    assert [entry.doc_id for entry in index.children(None)] == [A, C, B]
    index.move(B, None, index.order_after(None, None, seeded(1)))
    assert [entry.doc_id for entry in index.children(None)] == [B, A, C]
    index.move(A, B, index.order_last(B, seeded(1)))
    assert [entry.doc_id for entry in index.children(B)] == [A]
    with pytest.raises(UsageError):
        index.order_after(None, A, seeded(1))


def test_a_document_cannot_be_moved_into_itself() -> None:
    index = _index()
    _create(index, A)
    _create(index, B, parent=A)
    _create(index, C, parent=B)
    for target in (A, B, C):
        with pytest.raises(UsageError):
            index.move(A, target, "a")


def test_concurrent_moves_into_each_other_resolve_alike_everywhere() -> None:
    first, second = _index(1), _index(2)
    for doc_id in (A, B, C):
        _create(first, doc_id)
    _create(first, D, parent=C)
    _sync(first, second)
    first.move(A, B, "a")
    second.move(B, D, "b")
    second.move(C, A, "c")
    _sync(first, second)
    assert first.entries() == second.entries()
    # A under B under D under C under A: the one created last comes to the top level.
    assert first.entry(D).parent is None
    assert (first.entry(A).parent, first.entry(B).parent, first.entry(C).parent) == (B, D, A)


def test_a_parent_that_is_unknown_is_the_top_level() -> None:
    index = _index()
    _create(index, A)
    _create(index, B, parent=A)
    record = {"title": "x", "parent": C.text}
    documents = index.replica.doc.get("documents", type=pycrdt.Map)
    index.replica.edit(lambda: documents.__setitem__(D.text, record))
    assert index.entry(D).parent is None
    index.replica.edit(lambda: documents.__delitem__(A.text))
    assert A not in index.entries()
    assert index.entry(B).parent is None


def test_unstorable_and_impossible_requests_are_refused() -> None:
    index = _index()
    _create(index, A)
    for title in ("x" * (TITLE_MAX + 1), "\ud800"):
        with pytest.raises(UsageError):
            index.set_title(A, title)
    with pytest.raises(UsageError):
        _create(index, A)
    with pytest.raises(UsageError):
        _create(index, B, type="spreadsheet")
    with pytest.raises(NotFound):
        _create(index, B, parent=C)
    with pytest.raises(NotFound):
        index.set_title(B, "x")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=True)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["title", "type", "parent", "order", "trashed", "created_ms", "else"])


@given(
    st.dictionaries(
        st.sampled_from([A.text, B.text, A.text.upper(), "junk", ""]),
        JSON | st.dictionaries(FIELDS, JSON | st.sampled_from([A.text, B.text])),
        max_size=4,
    ),
    st.dictionaries(
        st.builds("{}/{}".format, st.sampled_from([A.text, B.text, "junk"]), FIELDS),
        JSON | st.sampled_from([A.text, B.text]),
        max_size=6,
    ),
)
@settings(max_examples=200)
def test_garbage_is_read_as_defaults_whole_and_step_by_step(
    documents: dict[str, Any], changes: dict[str, Any]
) -> None:
    stepwise = _index(1)
    assert dict(stepwise.entries()) == {}
    for root, values in (("documents", documents), ("changes", changes)):
        shared = stepwise.replica.doc.get(root, type=pycrdt.Map)
        for key, value in values.items():
            stepwise.replica.edit(lambda shared=shared, key=key, value=value: shared.__setitem__(key, value))
            stepwise.entries()
    whole = IndexDocument(Replica.load([stepwise.replica.encode_state()], entropy=seeded(2)))
    assert whole.entries() == stepwise.entries()
    assert set(whole.entries()) <= {A, B}
    for entry in whole.entries().values():
        assert isinstance(entry.title, str)
        assert entry.type in ("page", "text")
        assert entry.parent in (None, A, B)
        assert type(entry.trashed) is bool
        assert 0 <= entry.created_ms < 2**53
    if A not in stepwise.entries():
        _create(stepwise, A)
    stepwise.set_title(A, "fine")
    assert stepwise.entry(A).title == "fine"


def test_ten_thousand_documents_are_read_in_well_under_a_few_seconds() -> None:
    index = _index()
    documents = index.replica.doc.get("documents", type=pycrdt.Map)

    def fill() -> None:
        for number in range(9_999):
            doc_id = DocId(number.to_bytes(16, "big"))
            documents[doc_id.text] = {"title": f"Document {number}", "order": "a", "created_ms": number}

    index.replica.edit(fill)
    started = time.process_time()
    assert len(index.entries()) == 9_999
    assert time.process_time() - started < 3
    started = time.process_time()
    index.set_title(DocId(bytes(16)), "one changed")
    assert index.entry(DocId(bytes(16))).title == "one changed"
    assert time.process_time() - started < 0.5
    _create(index, D)
    with pytest.raises(UsageError, match="at most"):
        _create(index, C.__class__(b"\xff" * 16))
