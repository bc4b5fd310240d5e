"""Blocks → HTML and back. What is written is inert: every text and attribute is escaped, link
targets are only those `links` allows, and there is no script, style or remote resource in it.

Reading takes the tags that mean something here and the text of all others, except for scripts
and the like, whose text is nobody's writing. Must not know the editor's own markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from typing import Any, Final

from sheaf.content.tree import (
    INDENT_MAX,
    LIST_KINDS,
    Blocks,
    PlainNode,
    PlainRun,
    block,
    break_run,
    code_block,
    indent_of,
    join_runs,
    kind_of,
)
from sheaf.content.views import rich_view

_MARK_TAGS: Final = {
    "bold": "strong",
    "italic": "em",
    "strike": "s",
    "underline": "u",
    "highlight": "mark",
    "code": "code",
}
_TAG_MARKS: Final = {
    **{tag: mark for mark, tag in _MARK_TAGS.items()},
    "b": "bold",
    "i": "italic",
    "del": "strike",
    "strike": "strike",
}
_BLOCK_TAGS: Final = {
    "p": "paragraph",
    "h1": "h1",
    "h2": "h2",
    "h3": "h3",
    "h4": "h3",
    "h5": "h3",
    "h6": "h3",
    "div": "paragraph",
    "section": "paragraph",
    "article": "paragraph",
}
_KIND_TAGS: Final = {"paragraph": "p", "h1": "h1", "h2": "h2", "h3": "h3"}
_SILENT: Final = frozenset(
    {"script", "style", "template", "title", "noscript", "iframe", "object", "svg", "math"}
)


def to_html(blocks: Blocks) -> str:
    """The page as an HTML fragment."""
    out: list[str] = []
    for _, node in rich_view(blocks):
        out.append(_write_block(node))
    return "".join(f"{line}\n" for line in out)


def from_html(text: str) -> list[PlainNode]:
    """The blocks of an HTML text; any text is some page."""
    reader = _Reader()
    reader.feed(_close_markup(text))
    reader.close()
    reader.end_block()
    return [node for _, node in rich_view(reader.blocks)]


def _write_block(node: PlainNode) -> str:
    attrs = node.get("attrs", {})
    match node["type"]:
        case "code":
            language = f' class="language-{escape(attrs["language"])}"' if "language" in attrs else ""
            text = "".join(run["text"] for run in node.get("runs", ()))
            # A parser drops one line break right after <pre>.
            return f"<pre>\n<code{language}>{escape(text)}</code></pre>"
        case "divider":
            return "<hr>"
        case "table":
            rows = "".join(f"<tr>{_write_cells(row)}</tr>" for row in node.get("children", ()))
            return f"<table>{rows}</table>"
        case "image":
            width = f' data-width="{attrs["width"]}"' if "width" in attrs else ""
            alt = escape(attrs.get("alt", ""))
            return f'<img data-blob="{escape(attrs["blob"])}" alt="{alt}"{width}>'
    return _write_text_block(node, attrs)


def _write_text_block(node: PlainNode, attrs: dict[str, Any]) -> str:
    kind = kind_of(node)
    inner = _write_runs(node.get("runs", []))
    if kind in _KIND_TAGS:
        return f"<{_KIND_TAGS[kind]}>{inner}</{_KIND_TAGS[kind]}>"
    if kind not in LIST_KINDS:
        name = ' class="callout"' if kind == "callout" else ""
        return f"<blockquote{name}>{inner}</blockquote>"
    indent = indent_of(node)
    tag = "ol" if kind == "ordered" else "ul"
    box = ""
    if kind == "todo":
        box = f'<input type="checkbox" disabled{" checked" if attrs.get("checked") else ""}>'
    return f"<{tag}>" * (indent + 1) + f"<li>{box}{inner}</li>" + f"</{tag}>" * (indent + 1)


def _write_cells(row: PlainNode) -> str:
    return "".join(f"<td>{_write_runs(cell.get('runs', []))}</td>" for cell in row.get("children", ()))


def _write_runs(runs: Sequence[PlainRun]) -> str:
    out: list[str] = []
    for run in runs:
        if "node" in run:
            out.append("<br>")
            continue
        piece = escape(run["text"])
        marks = run.get("marks", {})
        for mark in reversed(_MARK_TAGS):
            if mark in marks:
                piece = f"<{_MARK_TAGS[mark]}>{piece}</{_MARK_TAGS[mark]}>"
        if "link" in marks:
            piece = f'<a href="{escape(marks["link"]["href"])}" rel="noopener noreferrer">{piece}</a>'
        out.append(piece)
    return "".join(out)


def _close_markup(text: str) -> str:
    """The text with every sign that begins markup which nothing ends written as a character.

    Python's parser would search all the rest of the text for the end, once for each of them. And
    what begins with `<![` is made a comment, as browsers take it: the parser fails at some of it.
    """
    text = text.replace("<![", "<! [")
    for opener, closer in (("<!--", "-->"), ("<", ">")):
        rest = text.rfind(closer) + 1
        text = text[:rest] + text[rest:].replace(opener, "&lt;" + opener[1:])
    return text


class _Reader(HTMLParser):
    """Collects runs until a block ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[PlainNode] = []
        self._runs: list[PlainRun] = []
        self._block: PlainNode | None = None
        self._marks: dict[str, list[dict[str, Any]]] = {}
        """By tag, what its open elements mean, the innermost last."""
        self._lists: list[str] = []
        self._silent = 0
        self._code: list[str] | None = None
        self._language = ""
        self._after_pre = False
        self._row: list[PlainNode] | None = None
        self._table: list[PlainNode] | None = None

    def end_block(self) -> None:
        """Put what was collected into the page."""
        runs, self._runs = join_runs(self._runs), []
        node, self._block = self._block, None
        if node is None and not any(run["text"].strip() for run in runs):
            return
        node = node or block("paragraph", [])
        node["runs"] = runs
        if self._row is not None:
            self._row.append({"type": "cell", "runs": runs})
        else:
            self.blocks.append(node)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _SILENT:
            self._silent += 1
        elif tag in _TAG_MARKS and self._code is None:
            self._marks.setdefault(tag, []).append({_TAG_MARKS[tag]: {}})
        elif tag == "a":
            self._marks.setdefault(tag, []).append({"link": {"href": values.get("href", "")}})
        elif tag == "br":
            self._runs.append(break_run())
        elif tag == "code":
            self._after_pre = False
            self._language = values.get("class", "").removeprefix("language-")
        elif self._row is None:
            self._start_block(tag, values)
        if tag in ("table", "tr", "td", "th"):
            self._start_table_part(tag)

    def _start_block(self, tag: str, values: dict[str, str]) -> None:
        if tag in _BLOCK_TAGS:
            if self._block is None or kind_of(self._block) not in (*LIST_KINDS, "quote", "callout"):
                self.end_block()
                self._block = block(_BLOCK_TAGS[tag], [])
        elif tag == "blockquote":
            self.end_block()
            self._block = block("callout" if values.get("class") == "callout" else "quote", [])
        elif tag in ("ul", "ol"):
            self.end_block()
            self._lists.append("ordered" if tag == "ol" else "bullet")
        elif tag == "li":
            self.end_block()
            indent = min(max(len(self._lists) - 1, 0), INDENT_MAX)
            self._block = block(self._lists[-1] if self._lists else "bullet", [], indent=indent)
        elif tag == "input" and self._block is not None and values.get("type") == "checkbox":
            self._block["attrs"] |= {"kind": "todo", "checked": "checked" in values}
        elif tag == "pre":
            self.end_block()
            self._code = []
            self._after_pre, self._language = True, ""
            return
        elif tag in ("hr", "img"):
            self.end_block()
            self.blocks.append(_leaf(tag, values))

    def _start_table_part(self, tag: str) -> None:
        if tag == "table" and self._table is None:
            self.end_block()
            self._table = []
        elif tag == "tr" and self._table is not None:
            self._row = []
            self._table.append({"type": "row", "children": self._row})
        elif tag in ("td", "th") and self._row is not None:
            self._block = block("paragraph", [])

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(self._silent - 1, 0)
        elif tag == "pre" and self._code is not None:
            self.blocks.append(code_block("".join(self._code), self._language))
            self._code = None
        elif tag in ("td", "th"):
            self.end_block()
        elif tag == "tr":
            self._row = None
        elif tag == "table" and self._table is not None:
            self.blocks.append({"type": "table", "children": self._table})
            self._table = self._row = None
        elif tag in ("ul", "ol"):
            self.end_block()
            if self._lists:
                self._lists.pop()
        elif tag in _BLOCK_TAGS or tag in ("li", "blockquote"):
            if self._block is None or tag not in _BLOCK_TAGS or kind_of(self._block) == _BLOCK_TAGS[tag]:
                self.end_block()
        elif self._marks.get(tag):
            self._marks[tag].pop()

    def handle_data(self, data: str) -> None:
        if self._silent or (self._table is not None and self._block is None):
            return
        if self._code is not None:
            self._code.append(data.removeprefix("\n") if self._after_pre else data)
            self._after_pre = False
            return
        if self._block is None and not self._runs and not data.strip():
            return
        marks: dict[str, Any] = {}
        for opened in self._marks.values():
            if opened:
                marks |= opened[-1]
        self._runs.append({"text": data, "marks": marks})


def _leaf(tag: str, values: dict[str, str]) -> PlainNode:
    if tag == "hr":
        return {"type": "divider"}
    attrs: dict[str, Any] = {"blob": values.get("data-blob", ""), "alt": values.get("alt", "")}
    width = values.get("data-width", "")
    if width.isascii() and width.isdigit() and len(width) < 6:
        attrs["width"] = int(width)
    return {"type": "image", "attrs": attrs}
