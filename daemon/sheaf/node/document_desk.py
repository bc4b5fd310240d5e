"""Documents for the local door: their tree, their content, and where else they are.

The part of `Node` that is about documents; each method finds the document's space and asks it.
"""

from __future__ import annotations

from sheaf.content_work.task import Action, ContentTask
from sheaf.core.base.errors import Busy
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.node.beside import Beside
from sheaf.node.delivery_desk import DeliveryDesk
from sheaf.node.delivery_state import DocumentDelivery
from sheaf.node.library import Library
from sheaf.node.views import (
    UNSET,
    ContentFormat,
    DocType,
    DocumentHandle,
    DocumentSubscriber,
    DocumentView,
    Unset,
)


class DocumentDesk:
    """Needs `_library`, `_delivery` and `_beside`, which whoever inherits it makes."""

    _library: Library
    _beside: Beside
    _delivery: DeliveryDesk

    def documents(self, space_id: SpaceId) -> list[DocumentView]:
        """All documents of a space, trashed ones included. Raises NotFound."""
        return self._library.tree(space_id).views()

    def document(self, doc_id: DocId) -> DocumentView:
        """One document. Raises NotFound."""
        _, tree = self._library.place(doc_id)
        return tree.view(doc_id)

    async def create_document(
        self, space_id: SpaceId, *, title: str, type: DocType, parent_id: DocId | None
    ) -> DocumentView:
        """A new document. Raises NotFound, NotAllowed, UsageError."""
        host = self._library.host(space_id)
        view = self._library.tree(space_id).create(title=title, type=type, parent_id=parent_id)
        await host.flush()
        return view

    async def update_document(
        self,
        doc_id: DocId,
        *,
        title: str | Unset = UNSET,
        parent_id: DocId | Unset | None = UNSET,
        after_id: DocId | Unset | None = UNSET,
        trashed: bool | Unset = UNSET,
    ) -> DocumentView:
        """Rename, move, trash, restore. Raises NotFound, NotAllowed, UsageError."""
        host, tree = self._library.place(doc_id)
        view = tree.update(doc_id, title=title, parent_id=parent_id, after_id=after_id, trashed=trashed)
        await host.flush()
        return view

    async def read_content(self, doc_id: DocId, format: ContentFormat) -> bytes:
        """The content in a format. Raises NotFound, StorageFailure, TooMuchWork, Busy."""
        await self._library.settle()
        host, tree = self._library.place(doc_id)
        type = tree.view(doc_id).type
        async with host.documents.borrow(doc_id) as actor:
            state = actor.replica.encode_state()
        if format is ContentFormat.YJS:
            return state
        return await self._beside.perform(ContentTask(Action.READ, type, format, state))

    async def write_content(
        self, doc_id: DocId, format: ContentFormat, data: bytes, *, agent: str | None
    ) -> None:
        """Merge new content in; durable on return.

        Raises:
            NotFound, NotAllowed, UsageError, StorageFailure, TooMuchWork, Busy: nothing was changed.
        """
        await self._change(Action.WRITE, doc_id, format, data, agent)

    async def append_content(self, doc_id: DocId, text: str, *, agent: str | None) -> None:
        """Add to the end; durable on return. Raises what `write_content` raises."""
        await self._change(Action.APPEND, doc_id, ContentFormat.MARKDOWN, text.encode(), agent)

    async def _change(
        self, action: Action, doc_id: DocId, format: ContentFormat, text: bytes, agent: str | None
    ) -> None:
        """Work the change out on a copy, one after the other for each document, and merge it.

        What others change meanwhile is merged with it, as if it came from another device.
        """
        host, tree = self._library.place(doc_id)
        type = tree.view(doc_id).type
        async with host.documents.borrow(doc_id) as actor:
            async with actor.writing:
                actor.require_writable()
                state, client_id = actor.replica.encode_state(), actor.writing_client_id
                update = await self._beside.perform(ContentTask(action, type, format, state, text, client_id))
                summary = await self._beside.inspect(update) if update else None
                if host.documents.find(doc_id) is not actor:
                    raise Busy("The document was loaded anew. Nothing was changed; try again.")
                if summary is not None:
                    actor.submit(None, update, agent=agent, summary=summary)
            await host.flush()

    async def open_document(self, doc_id: DocId, subscriber: DocumentSubscriber) -> DocumentHandle:
        """Open a document live. Raises NotFound, StorageFailure."""
        await self._library.settle()
        while True:
            host, _ = self._library.place(doc_id)
            actor = await host.documents.open(doc_id)
            if self._library.find(host.space_id) is host:
                return actor.open(subscriber)
            # Another host took its place while the document was read: nothing new comes to this one.

    async def delivery(self, doc_id: DocId) -> DocumentDelivery:
        """Who has a document, and where else it waits. Raises NotFound, StorageFailure."""
        return await self._delivery.document(doc_id)

    async def mark_seen(self, doc_id: DocId) -> None:
        """A page shows everything of the document that came so far. Raises NotFound."""
        await self._delivery.seen(doc_id)
