"""What of a page a format can say: the page as seen through Markdown, HTML or plain text.

Writing a page out and reading it back loses what the format has no words for: empty paragraphs,
comment marks, embeds, colours. So an edited text is never compared with the page but with the
page's *view*, which is exactly what reading the unedited text would give. Each viewed block
carries the number of the block it came from; blocks the format cannot show are not in the view
and so cannot be lost by editing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from sheaf.content.links import canonical_href
from sheaf.content.tree import (
    BREAK,
    LIST_KINDS,
    MARKS,
    Blocks,
    PlainNode,
    PlainRun,
    block,
    break_run,
    code_block,
    indent_of,
    join_runs,
    kind_of,
    text_of,
)

Viewed = tuple[int, PlainNode]
"""(number of the block in the page, what the format shows of it)."""
View = Callable[[Blocks], list[Viewed]]

_LANGUAGE: Final = re.compile(r"[\w+#.-]{1,40}", re.ASCII)
_BLOB: Final = re.compile(r"[\w-]{1,128}", re.ASCII)


def rich_view(blocks: Blocks) -> list[Viewed]:
    """The page through Markdown or HTML."""
    viewed: list[Viewed] = []
    list_indent = -1
    for index, node in enumerate(blocks):
        seen = _see_block(node, list_indent)
        if seen is None:
            continue
        is_item = seen["type"] == "block" and kind_of(seen) in LIST_KINDS
        list_indent = indent_of(seen) if is_item else -1
        viewed.append((index, seen))
    return viewed


def text_view(blocks: Blocks) -> list[Viewed]:
    """The page through plain text: each block of one line is a line, in the form of a paragraph."""
    viewed: list[Viewed] = []
    for index, node in enumerate(blocks):
        text = text_of(node)
        if node["type"] in ("block", "code") and "\n" not in text and "\r" not in text:
            viewed.append((index, block("paragraph", [{"text": text}] if text else [])))
    return viewed


def exact_view(blocks: Blocks) -> list[Viewed]:
    """The page through JSON: everything."""
    return list(enumerate(blocks))


def _see_block(node: PlainNode, list_indent: int) -> PlainNode | None:
    attrs = node.get("attrs", {})
    if node["type"] == "block":
        return _see_text_block(node, attrs, list_indent)
    if node["type"] == "code":
        language = attrs.get("language")
        if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
            language = ""
        return code_block(_clean(text_of(node)), language)
    if node["type"] == "divider":
        return {"type": "divider"}
    if node["type"] == "table":
        return _see_table(node)
    if node["type"] == "image":
        return _see_image(attrs)
    return None


def _see_text_block(node: PlainNode, attrs: dict[str, Any], list_indent: int) -> PlainNode | None:
    kind = kind_of(node)
    runs = see_runs(node.get("runs", []))
    if not runs and kind in ("paragraph", "quote"):
        return None
    seen = block(kind, runs)
    if kind in LIST_KINDS:
        # An item can be at most one level below the one before it.
        indent = min(indent_of(node), list_indent + 1)
        if indent > 0:
            seen["attrs"]["indent"] = indent
    if kind == "todo":
        seen["attrs"]["checked"] = attrs.get("checked") is True
    return seen


def _see_table(node: PlainNode) -> PlainNode | None:
    rows = [row for row in node.get("children", []) if row["type"] == "row"]
    width = max((len(row.get("children", ())) for row in rows), default=0)
    if not width:
        return None
    seen: list[PlainNode] = []
    for row in rows:
        cells: list[PlainNode] = [
            {"type": "cell", "runs": see_runs(cell.get("runs", []))} for cell in row.get("children", ())
        ]
        cells += [{"type": "cell", "runs": []} for _ in range(width - len(cells))]
        seen.append({"type": "row", "children": cells})
    return {"type": "table", "children": seen}


def _see_image(attrs: dict[str, Any]) -> PlainNode | None:
    blob, alt, width = attrs.get("blob"), attrs.get("alt"), attrs.get("width")
    if not isinstance(blob, str) or not _BLOB.fullmatch(blob):
        return None
    seen: dict[str, Any] = {"blob": blob}
    if isinstance(alt, str) and (alt := " ".join(_clean(alt).split())):
        seen["alt"] = alt
    if isinstance(width, int) and 0 < width < 100_000:
        seen["width"] = width
    return {"type": "image", "attrs": seen}


def see_runs(runs: list[PlainRun]) -> list[PlainRun]:
    """Runs with the marks formats know; line breaks in text become nodes, those at the ends go."""
    seen: list[PlainRun] = []
    for run in runs:
        if "node" in run:
            if run["node"]["type"] == BREAK:
                seen.append(break_run())
            continue
        marks = _see_marks(run.get("marks", {}))
        for number, line in enumerate(_clean(run["text"]).split("\n")):
            if number:
                seen.append(break_run())
            if line:
                seen.append({"text": line, "marks": marks} if marks else {"text": line})
    start, end = 0, len(seen)
    while start < end and "node" in seen[start]:
        start += 1
    while start < end and "node" in seen[end - 1]:
        end -= 1
    return join_runs(seen[start:end])


def _see_marks(marks: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name in MARKS:
        if name not in marks:
            continue
        if name != "link":
            seen[name] = {}
            continue
        value = marks[name]
        href = canonical_href(value.get("href")) if isinstance(value, dict) else None
        if href is not None:
            seen[name] = {"href": href}
    return seen


def _clean(text: str) -> str:
    """Text without control characters, which no format carries, and with `\\n` for every line end."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")
