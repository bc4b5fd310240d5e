"""Markdown → blocks. CommonMark with tables, strikethrough, task lists and GitHub's callouts.

Total: any text is some page. Raw HTML stays visible as text, except for the few inline tags that
stand for marks Markdown has no sign for. Must not know how Markdown is written here; only that
reading what `markdown_writer` wrote gives the same blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from markdown_it import MarkdownIt
from markdown_it.token import Token

from sheaf.content.links import canonical_href
from sheaf.content.tree import INDENT_MAX, PlainNode, PlainRun, block, break_run, code_block, join_runs
from sheaf.content.views import rich_view, see_runs

BLOB_SCHEME: Final = "sheaf-blob:"
INLINE_TAGS: Final = {
    "strong": "bold",
    "b": "bold",
    "em": "italic",
    "i": "italic",
    "s": "strike",
    "del": "strike",
    "u": "underline",
    "mark": "highlight",
    "code": "code",
}
_TAG: Final = re.compile(r"<(/?)([a-z]+)\s*/?>", re.IGNORECASE)
_TODO: Final = re.compile(r"\[([ xX])\](?:[ \t]+|$)")
_CALLOUT: Final = re.compile(r"\[!([A-Za-z]+)\][ \t]*(?:\n|$)")
_MARK_TOKENS: Final = {"strong": "bold", "em": "italic", "s": "strike", "link": "link"}


def from_markdown(text: str) -> list[PlainNode]:
    """The blocks of a Markdown text."""
    reader = _Reader()
    reader.read(_PARSER.parse(text))
    return [node for _, node in rich_view(reader.blocks)]


class _Parser(MarkdownIt):
    """Link targets are judged by `canonical_href`; images of the space have a scheme of their own."""

    def validateLink(self, url: str) -> bool:
        return url.startswith(BLOB_SCHEME) or canonical_href(url) is not None


def _make_parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"maxNesting": 40})
    parser.enable(["strikethrough", "table"])
    return parser


_PARSER: Final = _make_parser()


class _Reader:
    """Flattens the token tree: lists become indented blocks, quotes become quote blocks."""

    def __init__(self) -> None:
        self.blocks: list[PlainNode] = []
        self._lists: list[str] = []
        self._quotes = 0
        self._item_waits = False
        self._quote_starts = False

    def read(self, tokens: Sequence[Token]) -> None:
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token.type == "table_open":
                position = self._read_table(tokens, position)
            else:
                self._read_one(token, tokens, position)
            position += 1

    def _read_one(self, token: Token, tokens: Sequence[Token], position: int) -> None:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                self._begin_list(token.type)
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                self._item_waits = True
            case "list_item_close":
                self._flush_item()
            case "blockquote_open":
                self._flush_item()
                self._quotes += 1
                self._quote_starts = True
            case "blockquote_close":
                self._quotes -= 1
                self._quote_starts = False
            case "inline":
                self._read_text(token, tokens[position - 1])
            case "fence" | "code_block":
                self._add(code_block(token.content.removesuffix("\n"), _language(token.info)))
            case "hr":
                self._add({"type": "divider"})
            case "html_block":
                self._add(block("paragraph", _literal(token.content.strip("\n"))))

    def _begin_list(self, kind: str) -> None:
        self._flush_item()
        self._lists.append("ordered" if kind == "ordered_list_open" else "bullet")

    def _add(self, node: PlainNode) -> None:
        self._flush_item()
        self._quote_starts = False
        self.blocks.append(node)

    def _flush_item(self) -> None:
        """An item that does not begin with a paragraph still is an item."""
        if self._item_waits:
            self._item_waits = False
            self.blocks.append(self._item(self._lists[-1], []))

    def _item(self, kind: str, runs: list[PlainRun], **attrs: Any) -> PlainNode:
        indent = min(len(self._lists) - 1, INDENT_MAX)
        return block(kind, runs, indent=indent, **attrs)

    def _read_text(self, token: Token, opening: Token) -> None:
        if opening.type == "heading_open":
            self._add(block(f"h{min(int(opening.tag[1]), 3)}", read_inline(token.children)))
        elif self._item_waits:
            self._item_waits = False
            self.blocks.append(self._read_item(token))
        elif self._quotes:
            self.blocks.append(self._read_quote(token))
            self._quote_starts = False
        else:
            image = _image(token.children)
            self._add(image if image is not None else block("paragraph", read_inline(token.children)))

    def _read_item(self, token: Token) -> PlainNode:
        task = _TODO.match(token.content) if self._lists[-1] == "bullet" else None
        if task is None:
            return self._item(self._lists[-1], read_inline(token.children))
        runs = _parse_inline(token.content[task.end() :])
        return self._item("todo", runs, checked=task.group(1) != " ")

    def _read_quote(self, token: Token) -> PlainNode:
        note = _CALLOUT.match(token.content) if self._quote_starts else None
        if note is None:
            return block("quote", read_inline(token.children))
        return block("callout", _parse_inline(token.content[note.end() :]))

    def _read_table(self, tokens: Sequence[Token], position: int) -> int:
        rows: list[PlainNode] = []
        cells: list[PlainNode] = []
        while tokens[position].type != "table_close":
            token = tokens[position]
            if token.type == "tr_open":
                cells = []
                rows.append({"type": "row", "children": cells})
            elif token.type == "inline":
                cells.append({"type": "cell", "runs": read_inline(token.children)})
            position += 1
        self._add({"type": "table", "children": rows})
        return position


def _parse_inline(text: str) -> list[PlainRun]:
    tokens = _PARSER.parseInline(text)
    return read_inline(tokens[0].children if tokens else None)


def read_inline(tokens: Sequence[Token] | None) -> list[PlainRun]:
    """Inline tokens → runs."""
    runs: list[PlainRun] = []
    marks: dict[str, Any] = {}
    for token in tokens or ():
        name, _, edge = token.type.rpartition("_")
        if edge in ("open", "close") and name in _MARK_TOKENS:
            mark = _MARK_TOKENS[name]
            if edge == "close":
                marks.pop(mark, None)
            else:
                marks[mark] = {"href": token.attrs.get("href")} if mark == "link" else {}
        elif token.type == "html_inline":
            _read_tag(token.content, marks, runs)
        elif token.type == "hardbreak":
            runs.append(break_run())
        elif token.type == "softbreak":
            runs.append({"text": " ", "marks": dict(marks)})
        elif token.type == "code_inline":
            runs.append({"text": token.content, "marks": {**marks, "code": {}}})
        elif token.type == "image":
            source = {"href": token.attrs.get("src")}
            runs.append({"text": _alt(token) or str(source["href"]), "marks": {**marks, "link": source}})
        else:
            runs.append({"text": token.content, "marks": dict(marks)})
    return see_runs(join_runs(runs))


def _read_tag(tag: str, marks: dict[str, Any], runs: list[PlainRun]) -> None:
    match = _TAG.fullmatch(tag)
    name = match.group(2).lower() if match else ""
    if name == "br":
        runs.append(break_run())
    elif name in INLINE_TAGS and match is not None:
        if match.group(1):
            marks.pop(INLINE_TAGS[name], None)
        else:
            marks[INLINE_TAGS[name]] = {}
    else:
        runs.append({"text": tag, "marks": dict(marks)})


def _literal(text: str) -> list[PlainRun]:
    return see_runs([{"text": text}])


def _language(info: str) -> str:
    words = info.split()
    return words[0] if words else ""


def _alt(image: Token) -> str:
    return "".join(" " if child.type == "softbreak" else child.content for child in image.children or ())


def _image(tokens: Sequence[Token] | None) -> PlainNode | None:
    """A paragraph of nothing but one image of this space is an image block."""
    if not tokens or len(tokens) != 1 or tokens[0].type != "image":
        return None
    source = str(tokens[0].attrs.get("src", ""))
    if not source.startswith(BLOB_SCHEME):
        return None
    blob, _, query = source.removeprefix(BLOB_SCHEME).partition("?")
    attrs: dict[str, Any] = {"blob": blob, "alt": _alt(tokens[0])}
    width = parse_qs(query).get("width", [""])[0]
    if width.isascii() and width.isdigit() and len(width) < 6:
        attrs["width"] = int(width)
    return {"type": "image", "attrs": attrs}
