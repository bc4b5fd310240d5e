"""A space's documents as a tree: titles, places, the trash; over the index document.

Translates between the index (a CRDT anybody with a write role writes) and views. Changes
go through the index document's actor like any other edit. Knows no storage and no peers.
"""

from __future__ import annotations

from typing import Protocol

from sheaf.core.base.errors import NotFound
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.index_document import IndexDocument, IndexEntry
from sheaf.node.change_times import ChangeTimes
from sheaf.node.document_actor import DocumentActor
from sheaf.node.views import UNSET, DocType, DocumentView, Unset
from sheaf.ports import Clock


class TreeHost(Protocol):
    """What the tree needs of its space."""

    @property
    def space_id(self) -> SpaceId: ...
    @property
    def touched(self) -> ChangeTimes: ...


class DocumentTree:
    """The documents of one space."""

    def __init__(self, *, actor: DocumentActor, host: TreeHost, clock: Clock, entropy: Entropy) -> None:
        self._actor = actor
        self._host = host
        self._clock = clock
        self._entropy = entropy
        self._index = IndexDocument(actor.replica)

    @property
    def count(self) -> int:
        """Documents that are not in the trash."""
        return sum(not entry.trashed for entry in self._index.entries().values())

    def has(self, doc_id: DocId) -> bool:
        """Whether the space has this document."""
        return doc_id in self._index.entries()

    def doc_ids(self) -> list[DocId]:
        """All documents, trashed ones included."""
        return list(self._index.entries())

    def views(self) -> list[DocumentView]:
        """All documents, sorted by their order among siblings."""
        entries = sorted(self._index.entries().values(), key=lambda entry: (entry.order, entry.doc_id))
        return [self._view(entry) for entry in entries]

    def view(self, doc_id: DocId) -> DocumentView:
        """One document. Raises NotFound."""
        return self._view(self._index.entry(doc_id))

    def create(self, *, title: str, type: DocType, parent_id: DocId | None) -> DocumentView:
        """A new document, last under its parent. Raises UsageError, NotFound, NotAllowed."""
        doc_id = DocId(self._entropy(DocId.SIZE))
        order = self._index.order_last(parent_id, self._entropy)
        self._actor.edit(
            lambda _: self._index.create(
                doc_id,
                title=title,
                type=type.value,
                parent=parent_id,
                order=order,
                created_ms=self._clock.wall_ms(),
            )
        )
        return self.view(doc_id)

    def update(
        self,
        doc_id: DocId,
        *,
        title: str | Unset = UNSET,
        parent_id: DocId | Unset | None = UNSET,
        after_id: DocId | Unset | None = UNSET,
        trashed: bool | Unset = UNSET,
    ) -> DocumentView:
        """Rename, move, trash or take out of the trash. Raises UsageError, NotFound, NotAllowed."""
        entry = self._index.entry(doc_id)
        if not isinstance(title, Unset):
            self._actor.edit(lambda _: self._index.set_title(doc_id, title))
        if not isinstance(parent_id, Unset) or not isinstance(after_id, Unset):
            parent = entry.parent if isinstance(parent_id, Unset) else parent_id
            order = (
                self._index.order_last(parent, self._entropy)
                if isinstance(after_id, Unset)
                else self._index.order_after(parent, after_id, self._entropy)
            )
            self._actor.edit(lambda _: self._index.move(doc_id, parent, order))
        if not isinstance(trashed, Unset):
            self._actor.edit(lambda _: self._index.set_trashed(doc_id, trashed))
        return self.view(doc_id)

    def require(self, doc_id: DocId) -> IndexEntry:
        """The entry. Raises NotFound."""
        entry = self._index.entries().get(doc_id)
        if entry is None:
            raise NotFound("there is no such document")
        return entry

    def _view(self, entry: IndexEntry) -> DocumentView:
        return DocumentView(
            document_id=entry.doc_id,
            space_id=self._host.space_id,
            title=entry.title,
            type=DocType(entry.type),
            parent_id=entry.parent,
            order=entry.order,
            trashed=entry.trashed,
            created_ms=entry.created_ms,
            updated_ms=self._host.touched.shown(entry.doc_id, entry.created_ms),
        )
