"""A document's content as text, JSON or Yjs; writing merges as the smallest edit."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from sheaf.api.context import DocIdPath, NodeDep
from sheaf.core.base.errors import UsageError
from sheaf.node.views import ContentFormat

router = APIRouter(tags=["content"])

_MEDIA_TYPES: Final = {
    ContentFormat.MARKDOWN: "text/markdown; charset=utf-8",
    ContentFormat.TEXT: "text/plain; charset=utf-8",
    ContentFormat.HTML: "text/plain; charset=utf-8",
    ContentFormat.JSON: "application/json",
    ContentFormat.YJS: "application/octet-stream",
}
"""HTML goes out as plain text: what people wrote must never run with this origin's rights."""
_AGENT_HEADER: Final = "sheaf-agent"
_AGENT_CHARS_MAX: Final = 64
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"text/markdown": {"schema": {"type": "string"}}, "application/octet-stream": {}},
    }
}
_CONTENT: Final = {200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}}


@router.get("/documents/{document_id}/content", response_class=Response, responses=_CONTENT)  # type: ignore[arg-type]  # OpenAPI fragment
async def read_content(
    document_id: DocIdPath, node: NodeDep, format: ContentFormat = ContentFormat.MARKDOWN
) -> Response:
    """The content in the wanted form."""
    data = await node.read_content(document_id, format)
    return Response(data, media_type=_MEDIA_TYPES[format])


@router.put("/documents/{document_id}/content", status_code=204, response_class=Response, openapi_extra=_BODY)
async def write_content(
    document_id: DocIdPath, node: NodeDep, request: Request, format: ContentFormat = ContentFormat.MARKDOWN
) -> Response:
    """Make the content equal to the body; answered after the commit."""
    data = await request.body()
    _require_utf8(data, format)
    await node.write_content(document_id, format, data, agent=_agent(request))
    return Response(status_code=204, headers={"Sheaf-Saved": "1"})


@router.post("/documents/{document_id}/append", status_code=204, response_class=Response, openapi_extra=_BODY)
async def append_content(document_id: DocIdPath, node: NodeDep, request: Request) -> Response:
    """Add Markdown (or text) at the end; answered after the commit."""
    text = _require_utf8(await request.body(), ContentFormat.TEXT)
    await node.append_content(document_id, text, agent=_agent(request))
    return Response(status_code=204, headers={"Sheaf-Saved": "1"})


def _require_utf8(data: bytes, format: ContentFormat) -> str:
    if format is ContentFormat.YJS:
        return ""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"The text is not UTF-8 (byte {error.start}).") from error


def _agent(request: Request) -> str | None:
    """Which tool wrote this, for the history; printable and short."""
    agent = request.headers.get(_AGENT_HEADER, "")[:_AGENT_CHARS_MAX].strip()
    return agent if agent and agent.isprintable() else None
