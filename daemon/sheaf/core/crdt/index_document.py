"""A space's index document: which documents there are, their titles and their tree (PROTOCOL §2).

Two maps. `documents`: document id → the record it was created with, written once. `changes`:
"document id/field" → the field's newest value, so that a rename and a move made at the same
time both stay. A nested map per document would say the same, but 10,000 of them take 27 MB
instead of 8 (measured with yrs 0.28).

Everybody with a write role writes here, so nothing read is trusted: values of a wrong type are
taken as the default, and what cannot be named is left out. Must not know storage or people.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pycrdt

from sheaf.core.base.errors import NotFound, UsageError
from sheaf.core.base.ids import INDEX_DOC_ID, DocId, IdError
from sheaf.core.base.limits import DOCUMENTS_MAX, INTEGER_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.order import ORDER_MAX, order_between
from sheaf.core.crdt.replica import Replica
from sheaf.core.crdt.text import check_insertable

TITLE_MAX: Final = 1000
"""Code points of a title that are kept when reading; more is refused when writing."""
TYPES: Final = frozenset({"page", "text"})
_DOCUMENTS, _CHANGES = "documents", "changes"
_ID_LENGTH: Final = len(INDEX_DOC_ID.text)
_FIELDS: Final = ("title", "type", "parent", "order", "trashed", "created_ms")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One document as the index has it; `parent` None is the top level."""

    doc_id: DocId
    title: str
    type: str
    parent: DocId | None
    order: str
    trashed: bool
    created_ms: int


class IndexDocument:
    """The index over its replica.

    Changes are methods that return the update to store and send; changes by others are applied to
    the replica directly and are seen at the next `entries()`.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._documents: pycrdt.Map[Any] = replica.doc.get(_DOCUMENTS, type=pycrdt.Map)
        self._changes: pycrdt.Map[Any] = replica.doc.get(_CHANGES, type=pycrdt.Map)
        self._raw: dict[DocId, IndexEntry] | None = None
        self._entries: dict[DocId, IndexEntry] | None = None
        self._absent_parents: set[DocId] = set()
        self._order: dict[DocId | None, list[tuple[str, DocId]]] | None = None
        self._stale: set[str] = set()
        # The native side drops observers together with these wrappers: they must stay referenced.
        self._observed = [
            (shared, shared.observe(self._on_event)) for shared in (self._documents, self._changes)
        ]

    def close(self) -> None:
        """Let go of the replica; without this its memory is never freed. Use nothing afterwards."""
        for shared, subscription in self._observed:
            shared.unobserve(subscription)
        self._observed.clear()

    @property
    def replica(self) -> Replica:
        """The replica underneath."""
        return self._replica

    def entries(self) -> Mapping[DocId, IndexEntry]:
        """Every document by id. Unknown parents and cycles are already resolved.

        In a cycle, which concurrent moves can make, the document created last moves to the top level.
        """
        if self._raw is None:
            self._raw = self._read_all()
            self._stale.clear()
            self._entries = None
        elif self._stale:
            self._refresh(self._raw)
        if self._entries is None:
            self._order = None
            self._absent_parents = _absent_parents(self._raw)
            self._entries = _with_sound_parents(self._raw)
        return self._entries

    def entry(self, doc_id: DocId) -> IndexEntry:
        """One document.

        Raises:
            NotFound: the index has no such document.
        """
        entry = self.entries().get(doc_id)
        if entry is None:
            raise NotFound("there is no such document in this space")
        return entry

    def children(self, parent: DocId | None) -> list[IndexEntry]:
        """The documents directly under `parent`, in order, trashed ones included."""
        entries = self.entries()
        return [entries[doc_id] for _, doc_id in self._siblings(parent)]

    def order_last(self, parent: DocId | None, entropy: Entropy) -> str:
        """An order key after all of `parent`'s children."""
        siblings = self._siblings(parent)
        return order_between(siblings[-1][0] if siblings else None, None, entropy)

    def order_after(self, parent: DocId | None, after: DocId | None, entropy: Entropy) -> str:
        """An order key just after the child `after`, or before all children if None.

        Raises:
            UsageError: `after` is not a child of `parent`.
        """
        siblings = self._siblings(parent)
        if after is None:
            return order_between(None, siblings[0][0] if siblings else None, entropy)
        low = next((order for order, doc_id in siblings if doc_id == after), None)
        if low is None:
            raise UsageError("the document to come after is not in that place")
        high = next((order for order, _ in siblings if order > low), None)
        return order_between(low, high, entropy)

    def create(
        self,
        doc_id: DocId,
        *,
        title: str,
        type: str,
        parent: DocId | None,
        order: str,
        created_ms: int,
    ) -> bytes:
        """Enter a new document; returns the update.

        Raises:
            UsageError: the title or type cannot be stored, or the space is full.
            NotFound: there is no such parent.
        """
        _check_title(title)
        if type not in TYPES:
            raise UsageError("a document is a page or a text")
        if doc_id in self.entries() or len(self.entries()) >= DOCUMENTS_MAX:
            raise UsageError(f"a space holds at most {DOCUMENTS_MAX} documents")
        record: dict[str, Any] = {"title": title, "type": type, "order": order, "created_ms": created_ms}
        if parent is not None:
            record["parent"] = self.entry(parent).doc_id.text
        update = self._replica.edit(lambda: self._documents.__setitem__(doc_id.text, record))
        assert update is not None
        return update

    def set_title(self, doc_id: DocId, title: str) -> bytes | None:
        """Rename; None when it has that title already."""
        _check_title(title)
        return self._change(self.entry(doc_id), title=title)

    def move(self, doc_id: DocId, parent: DocId | None, order: str) -> bytes | None:
        """Put a document under `parent` at `order` (from `order_after` or `order_last`).

        Raises:
            UsageError: the new parent lies inside the document itself.
            NotFound: one of them is not in the index.
        """
        ancestor = parent
        while ancestor is not None:
            if ancestor == doc_id:
                raise UsageError("a document cannot be moved into itself")
            ancestor = self.entry(ancestor).parent
        return self._change(self.entry(doc_id), parent=parent, order=order)

    def set_trashed(self, doc_id: DocId, trashed: bool) -> bytes | None:
        """Put into the trash or take out; None when it is there already."""
        return self._change(self.entry(doc_id), trashed=trashed)

    def _change(self, entry: IndexEntry, **fields: Any) -> bytes | None:
        raw = (self._raw or {}).get(entry.doc_id, entry)
        changed = {name: value for name, value in fields.items() if getattr(raw, name) != value}
        if not changed:
            return None

        def write() -> None:
            for name, value in changed.items():
                stored = value.text if isinstance(value, DocId) else value
                self._changes[f"{entry.doc_id.text}/{name}"] = stored

        return self._replica.edit(write)

    def _on_event(self, event: Any) -> None:
        self._stale.update(str(key).partition("/")[0] for key in event.keys)

    def _read_all(self) -> dict[DocId, IndexEntry]:
        changes: dict[str, dict[str, Any]] = {}
        for key, value in (self._changes.to_py() or {}).items():
            name, _, field = key.partition("/")
            changes.setdefault(name, {})[field] = value
        entries: dict[DocId, IndexEntry] = {}
        with self._replica.doc.transaction():
            for name in list(self._documents.keys()):  # one record at a time: all at once take 5 MB more
                entry = _read_entry(name, _as_py(self._documents.get(name)), changes.get(name))
                if entry is not None:
                    entries[entry.doc_id] = entry
        return entries

    def _refresh(self, raw: dict[DocId, IndexEntry]) -> None:
        for name in self._stale:
            doc_id = _read_id(name)
            if doc_id is None:
                continue
            record = _as_py(self._documents.get(name))
            changes = {field: _as_py(self._changes.get(f"{name}/{field}")) for field in _FIELDS}
            known = {field: value for field, value in changes.items() if f"{name}/{field}" in self._changes}
            entry, before = _read_entry(name, record, known), raw.get(doc_id)
            if entry is None:
                raw.pop(doc_id, None)
            else:
                raw[doc_id] = entry
            self._update(doc_id, before, entry)
        self._stale.clear()

    def _update(self, doc_id: DocId, before: IndexEntry | None, entry: IndexEntry | None) -> None:
        """Carry one changed entry over, or drop what was worked out when the tree may look different.

        Working the tree out takes 10 ms for 10,000 documents: too long for each that is made.
        """
        sound = self._entries
        if sound is None or (before is None and entry is None):
            return
        if entry is None or (before is None and not self._is_leaf_in_place(entry)):
            self._entries = None
        elif before is None:
            sound[doc_id] = entry
            self._place(None, entry)
        elif before.parent != entry.parent or before.created_ms != entry.created_ms:
            self._entries = None
        else:
            old = sound[doc_id]
            sound[doc_id] = replace(entry, parent=old.parent)
            self._place(old, sound[doc_id])

    def _is_leaf_in_place(self, entry: IndexEntry) -> bool:
        """Whether a new entry changes nobody else's place, and its own parent is known."""
        is_placed = entry.parent is None or entry.parent in (self._entries or {})
        return is_placed and entry.doc_id not in self._absent_parents

    def _siblings(self, parent: DocId | None) -> list[tuple[str, DocId]]:
        """(order, document) of a parent's children, sorted; not to be changed by the caller."""
        entries = self.entries()
        if self._order is None:
            self._order = {}
            for entry in entries.values():
                self._order.setdefault(entry.parent, []).append((entry.order, entry.doc_id))
            for siblings in self._order.values():
                siblings.sort()
        return self._order.get(parent, [])

    def _place(self, old: IndexEntry | None, new: IndexEntry) -> None:
        if self._order is None or (old is not None and old.order == new.order):
            return
        siblings = self._order.setdefault(new.parent, [])
        if old is not None:
            del siblings[bisect_left(siblings, (old.order, old.doc_id))]
        insort(siblings, (new.order, new.doc_id))


def _as_py(value: Any) -> Any:
    return value.to_py() if isinstance(value, pycrdt.Map | pycrdt.Array | pycrdt.Text) else value


def _check_title(title: str) -> None:
    check_insertable(title)
    if len(title) > TITLE_MAX:
        raise UsageError(f"a title has at most {TITLE_MAX} characters")


def _read_id(value: object) -> DocId | None:
    # `parse` forgives capitals and spaces; here one id must have one spelling.
    if not isinstance(value, str) or len(value) != _ID_LENGTH or not value.islower():
        return None
    try:
        return DocId.parse(value)
    except IdError:
        return None


def _read_entry(name: str, record: object, changes: Mapping[str, Any] | None) -> IndexEntry | None:
    """One entry from what is stored, with defaults for what has a wrong type; None if it is none."""
    doc_id = _read_id(name)
    if doc_id is None or not isinstance(record, dict):
        return None
    fields = {**record, **changes} if changes else record
    title, kind, order = fields.get("title"), fields.get("type"), fields.get("order")
    created: Any = fields.get("created_ms")
    if not isinstance(created, int | float) or not 0 <= created <= INTEGER_MAX:
        created = 0
    return IndexEntry(
        doc_id=doc_id,
        title=title[:TITLE_MAX] if isinstance(title, str) else "",
        type="text" if kind == "text" else "page",
        parent=_read_id(fields.get("parent")),
        order=order if isinstance(order, str) and len(order) <= ORDER_MAX else "",
        trashed=fields.get("trashed") is True,
        created_ms=int(created),
    )


def _absent_parents(raw: Mapping[DocId, IndexEntry]) -> set[DocId]:
    return {entry.parent for entry in raw.values() if entry.parent is not None and entry.parent not in raw}


def _with_sound_parents(raw: Mapping[DocId, IndexEntry]) -> dict[DocId, IndexEntry]:
    entries = dict(raw)
    for doc_id, entry in raw.items():
        if entry.parent is not None and entry.parent not in raw:
            entries[doc_id] = replace(entry, parent=None)
    for cycle in _cycles(entries):
        last = max(cycle, key=lambda doc_id: (entries[doc_id].created_ms, doc_id))
        entries[last] = replace(entries[last], parent=None)
    return entries


def _cycles(entries: Mapping[DocId, IndexEntry]) -> Iterable[list[DocId]]:
    """Each parent has one arrow up, so cycles are disjoint and one walk from each entry finds them."""
    walk_of: dict[DocId, int] = {}
    cycles: list[list[DocId]] = []
    for number, start in enumerate(entries):
        path: list[DocId] = []
        at: DocId | None = start
        while at is not None and at not in walk_of:
            walk_of[at] = number
            path.append(at)
            at = entries[at].parent
        if at is not None and walk_of[at] == number:
            cycles.append(path[path.index(at) :])
    return cycles
