"""A document's content as Markdown, plain text, HTML, JSON or Yjs, read and written.

Writing merges: the difference to what is there becomes the smallest edit, so that what
others type meanwhile survives. Joins the pure knowledge in `content` with the replica;
neither knows the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

from sheaf.content import html, markdown_reader, markdown_writer, tree
from sheaf.content.diff import diff_page, diff_text
from sheaf.content.views import exact_view, rich_view, text_view
from sheaf.content_work.forms import ContentFormat, DocType
from sheaf.core.base.errors import UsageError
from sheaf.core.crdt.replica import Replica

Change = Callable[[Replica], bytes | None]


def read(replica: Replica, type: DocType, format: ContentFormat) -> bytes:
    """The content in `format`; text formats are UTF-8."""
    if format is ContentFormat.YJS:
        return replica.encode_state()
    if type is DocType.TEXT:
        return _read_text(replica.text(), format).encode()
    return _read_page(replica.read_page(), format).encode()


def _read_text(text: str, format: ContentFormat) -> str:
    if format is ContentFormat.HTML:
        return f"<pre>{escape(text)}</pre>\n"
    if format is ContentFormat.JSON:
        return json.dumps({"text": text}, ensure_ascii=False)
    return text


def _read_page(blocks: list[tree.PlainNode], format: ContentFormat) -> str:
    if format is ContentFormat.MARKDOWN:
        return markdown_writer.to_markdown(blocks)
    if format is ContentFormat.HTML:
        return html.to_html(blocks)
    if format is ContentFormat.JSON:
        return json.dumps({"blocks": blocks}, ensure_ascii=False)
    return "".join(tree.text_of(block) + "\n" for block in blocks)


def decode(data: bytes) -> str:
    """UTF-8 text with newlines as `\\n`.

    Raises:
        UsageError: not UTF-8.
    """
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"the content is not UTF-8 text (byte {error.start})") from error


def write(type: DocType, format: ContentFormat, data: bytes) -> Change:
    """The change that makes the content say `data`, merged as the smallest edit.

    Raises:
        UsageError: this format cannot be written, or the data is not of it.
    """
    if format in (ContentFormat.JSON, ContentFormat.YJS):
        raise UsageError(f"content is written as markdown, text or html, not {format.value}")
    text = decode(data)
    if type is DocType.TEXT:
        return lambda replica: replica.apply_splices(diff_text(replica.text(), text))
    if format is ContentFormat.MARKDOWN:
        blocks, view = markdown_reader.from_markdown(text), rich_view
    elif format is ContentFormat.HTML:
        blocks, view = html.from_html(text), exact_view
    else:
        blocks, view = [tree.block("paragraph", [{"text": line}]) for line in text.splitlines()], text_view
    return lambda replica: replica.edit_page(diff_page(replica.read_page(), blocks, view))


def append(type: DocType, text: str) -> Change:
    """The change that adds `text` (Markdown, for a page) at the end, as lines of its own.

    It ends with a newline, so that what two people append at once stays on separate lines.
    """

    def append_text(replica: Replica) -> bytes | None:
        present = replica.text()
        glue = "" if not present or present.endswith("\n") else "\n"
        return replica.append_text(glue + text + ("" if text.endswith("\n") else "\n"))

    if type is DocType.TEXT:
        return append_text
    blocks = markdown_reader.from_markdown(text)
    return lambda replica: replica.append_blocks(blocks)
