"""The types of documents and the forms their content can take."""

from __future__ import annotations

from enum import StrEnum


class DocType(StrEnum):
    """A page (block tree, XmlFragment `body`) or a text (Text `text`)."""

    PAGE = "page"
    TEXT = "text"


class ContentFormat(StrEnum):
    """Forms a document's content can be read and written in."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    JSON = "json"
    YJS = "yjs"
