"""Documents: the tree of a space, and each document's place in it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sheaf.api.context import DocIdPath, NodeDep, SpaceIdPath
from sheaf.api.schemas import Document, DocumentIn, DocumentPatch, Documents
from sheaf.api.schemas_delivery import Delivery
from sheaf.core.base.ids import DocId
from sheaf.node.views import UNSET, Unset

router = APIRouter(tags=["documents"])


@router.get("/spaces/{space_id}/documents")
async def list_documents(space_id: SpaceIdPath, node: NodeDep) -> Documents:
    """Every document of a space, trashed ones included."""
    return Documents(documents=[Document.of(view) for view in node.documents(space_id)])


@router.post("/spaces/{space_id}/documents", status_code=201)
async def create_document(space_id: SpaceIdPath, body: DocumentIn, node: NodeDep) -> Document:
    """Make an empty document, last among its siblings."""
    parent_id = DocId.parse(body.parent_id) if body.parent_id is not None else None
    view = await node.create_document(space_id, title=body.title, type=body.type, parent_id=parent_id)
    return Document.of(view)


@router.get("/documents/{document_id}")
async def show_document(document_id: DocIdPath, node: NodeDep) -> Document:
    """One document's title and place."""
    return Document.of(node.document(document_id))


@router.patch("/documents/{document_id}")
async def update_document(document_id: DocIdPath, body: DocumentPatch, node: NodeDep) -> Document:
    """Rename, move, trash or bring back; a field left out stays."""
    view = await node.update_document(
        document_id,
        title=UNSET if body.title is None else body.title,
        parent_id=_id_or_unset(body, "parent_id"),
        after_id=_id_or_unset(body, "after_id"),
        trashed=UNSET if body.trashed is None else body.trashed,
    )
    return Document.of(view)


@router.get("/documents/{document_id}/delivery")
async def show_delivery(document_id: DocIdPath, node: NodeDep) -> Delivery:
    """Who has the document, by their own receipts, and on which relay it waits for the others."""
    return Delivery.of(await node.delivery(document_id))


@router.post("/documents/{document_id}/seen", status_code=204, response_class=Response)
async def mark_seen(document_id: DocIdPath, node: NodeDep) -> Response:
    """The page is visible and shows everything received so far; others learn it unless told not to."""
    await node.mark_seen(document_id)
    return Response(status_code=204)


@router.delete("/documents/{document_id}", status_code=204, response_class=Response)
async def trash_document(document_id: DocIdPath, node: NodeDep) -> Response:
    """Move to the trash."""
    await node.update_document(document_id, trashed=True)
    return Response(status_code=204)


def _id_or_unset(body: DocumentPatch, field: str) -> DocId | Unset | None:
    """Null is a place (the top, the front); only an absent field means 'as it is'."""
    if field not in body.model_fields_set:
        return UNSET
    text: str | None = getattr(body, field)
    return DocId.parse(text) if text is not None else None
