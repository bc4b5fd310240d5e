"""The index carries single changes over instead of reading everything again: it must not show."""

from __future__ import annotations

import time

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import NotFound, UsageError
from sheaf.core.base.ids import DocId
from sheaf.core.crdt.index_document import IndexDocument
from sheaf.core.crdt.replica import Replica
from tests.unit.core.crdt.support import replica, seeded

DOCUMENTS = [DocId(bytes([number]) * 16) for number in range(1, 7)]
PLACES = st.sampled_from([*DOCUMENTS, None])
ORDERS = st.text("09Az", max_size=3)

STEPS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(DOCUMENTS), PLACES, ORDERS, st.integers(0, 2)),
    st.tuples(st.just("move"), st.sampled_from(DOCUMENTS), PLACES, ORDERS),
    st.tuples(st.just("title"), st.sampled_from(DOCUMENTS), st.text("ab", max_size=2)),
    st.tuples(st.just("trash"), st.sampled_from(DOCUMENTS), st.booleans()),
    # what only somebody else's build would write: parents that do not exist, no record at all
    st.tuples(st.just("stray"), st.sampled_from(DOCUMENTS), st.sampled_from(DOCUMENTS), ORDERS),
    st.tuples(st.just("forget"), st.sampled_from(DOCUMENTS)),
    st.tuples(st.just("sync")),
)


def _take(index: IndexDocument, other: IndexDocument, step: tuple[object, ...]) -> None:
    match step:
        case ("create", DocId() as doc_id, parent, str() as order, int() as created_ms):
            assert parent is None or isinstance(parent, DocId)
            title = f"document {doc_id[0]}"
            index.create(doc_id, title=title, type="page", parent=parent, order=order, created_ms=created_ms)
        case ("move", DocId() as doc_id, parent, str() as order):
            assert parent is None or isinstance(parent, DocId)
            index.move(doc_id, parent, order)
        case ("title", DocId() as doc_id, str() as title):
            index.set_title(doc_id, title)
        case ("trash", DocId() as doc_id, bool() as trashed):
            index.set_trashed(doc_id, trashed)
        case ("stray", DocId() as doc_id, DocId() as parent, str() as order):
            record = {"title": "stray", "order": order, "parent": parent.text, "created_ms": 1}
            documents = index.replica.doc.get("documents", type=pycrdt.Map)
            index.replica.edit(lambda: documents.__setitem__(doc_id.text, record))
        case ("forget", DocId() as doc_id):
            documents = index.replica.doc.get("documents", type=pycrdt.Map)
            if doc_id.text in documents:
                index.replica.edit(lambda: documents.__delitem__(doc_id.text))
        case _:
            other.replica.apply(index.replica.encode_state())
            index.replica.apply(other.replica.encode_state())


@given(st.lists(st.tuples(st.booleans(), st.booleans(), STEPS), max_size=25))
def test_step_by_step_is_the_same_as_reading_it_all(
    steps: list[tuple[bool, bool, tuple[object, ...]]],
) -> None:
    indexes = [IndexDocument(replica(1)), IndexDocument(replica(2))]
    for is_first, is_looked_at, step in steps:
        index, other = indexes if is_first else reversed(indexes)
        try:
            _take(index, other, step)
        except (UsageError, NotFound):
            continue
        if not is_looked_at:
            continue
        fresh = IndexDocument(Replica.load([index.replica.encode_state()], entropy=seeded(9)))
        assert index.entries() == fresh.entries()
        for place in (*DOCUMENTS, None):
            entries = [entry for entry in fresh.entries().values() if entry.parent == place]
            assert index.children(place) == sorted(entries, key=lambda entry: (entry.order, entry.doc_id))


def test_one_more_document_does_not_cost_more_the_more_there_are() -> None:
    """Each new one used to sort and check all: 16 ms beside 10,000."""
    index = IndexDocument(replica(1))
    entropy = seeded(1)
    marks = []
    for number in range(6_001):
        if number % 1_000 == 0:
            marks.append(time.process_time())
        doc_id = DocId(number.to_bytes(16, "big"))
        order = index.order_last(None, entropy)
        index.create(doc_id, title="x", type="page", parent=None, order=order, created_ms=number)
    first, last = marks[1] - marks[0], marks[-1] - marks[-2]
    assert last < 6 * first


def test_a_parent_that_arrives_after_its_child_takes_it_in() -> None:
    index = IndexDocument(replica(1))
    child, parent = DOCUMENTS[:2]
    for step in (("stray", child, parent, "a"), ("create", parent, None, "b", 1)):
        _take(index, index, step)
        assert index.children(None)
    assert index.entry(child).parent == parent
    assert [entry.doc_id for entry in index.children(parent)] == [child]
