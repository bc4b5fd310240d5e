"""Blocks → Markdown, such that reading it back gives the page's Markdown view again.

What cannot be said with Markdown's own signs (bold that begins inside a word, an underline) is
said with inline HTML tags. Blocks with marks are read back as a check; if the plain spelling is
read differently, a more careful one is written. Must not know the reader beyond that check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from sheaf.content.markdown_reader import BLOB_SCHEME, from_markdown
from sheaf.content.tree import LIST_KINDS, Blocks, PlainNode, PlainRun, block, indent_of, kind_of
from sheaf.content.views import rich_view

_SIGNS: Final = {"bold": "**", "italic": "*", "strike": "~~"}
_TAGS: Final = {
    "bold": "strong",
    "italic": "em",
    "strike": "s",
    "underline": "u",
    "highlight": "mark",
    "code": "code",
}
_OUTERMOST_FIRST: Final = ("link", "bold", "italic", "strike", "underline", "highlight", "code")
_ESCAPED: Final = re.compile(r"[\\`*\[\]<]|~(?=~)|(?<=~)~|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])")
_LINE_START: Final = re.compile(r"(?P<sign>[-+=:#>|~]|!(?=\[))|(?P<number>\d{1,9})(?=[.)])")
_TIMID: Final = re.compile(r"[^\w\s]|_")
_SAFE: Final = re.compile(r"[\w ,;'\"()/?.!%-]*")
_HEADINGS: Final = {"h1": "# ", "h2": "## ", "h3": "### "}

Spelling = Callable[[Sequence[PlainRun]], str]


def to_markdown(blocks: Blocks) -> str:
    """The page as Markdown; ends in a newline unless empty."""
    return write_viewed([node for _, node in rich_view(blocks)])


def write_viewed(nodes: Blocks) -> str:
    """Markdown of blocks that are a `rich_view` already."""
    out: list[str] = []
    lists = _ListWriter()
    for node in nodes:
        if node["type"] == "block" and kind_of(node) in LIST_KINDS:
            # The items of one list follow each other without blank lines.
            gap = "" if lists.is_open or not out else "\n"
            item = lists.write(node)
            if lists.needs_gap:
                gap = "\n"
            out.append(gap + item + "\n")
            continue
        lists = _ListWriter()
        out.append(("\n" if out else "") + _write_block(node) + "\n")
    return "".join(out)


class _ListWriter:
    """The items of one list: their columns and numbers."""

    def __init__(self) -> None:
        self._columns: list[int] = []
        self._numbers: list[int] = []
        self._is_empty = True
        self.needs_gap = False
        """An empty item right below words would be taken for more words, or for a heading rule."""

    @property
    def is_open(self) -> bool:
        return bool(self._columns)

    def write(self, node: PlainNode) -> str:
        level = min(indent_of(node), len(self._columns))
        column = self._columns[level - 1] if level else 0
        del self._columns[level:]
        del self._numbers[level + 1 :]
        if len(self._numbers) <= level:
            self._numbers.append(0)
        kind = kind_of(node)
        self._numbers[level] = self._numbers[level] + 1 if kind == "ordered" else 0
        marker = f"{self._numbers[level]}. " if kind == "ordered" else "- "
        self._columns.append(column + len(marker))
        if kind == "todo":
            marker += "[x] " if node.get("attrs", {}).get("checked") else "[ ] "
        text = spell(node.get("runs", []), kind)
        lines = (marker + text).split("\n")
        was_empty, self._is_empty = self._is_empty, not text and kind != "todo"
        self.needs_gap = self._is_empty and not was_empty
        pad = " " * (column + len(marker if kind != "todo" else "- "))
        return "\n".join([" " * column + lines[0].rstrip(" "), *(pad + line for line in lines[1:])])


def _write_block(node: PlainNode) -> str:
    match node["type"]:
        case "code":
            return _write_code(node)
        case "divider":
            return "---"
        case "table":
            return _write_table(node)
        case "image":
            return _write_image(node)
    kind = kind_of(node)
    text = spell(node.get("runs", []), kind)
    if kind in _HEADINGS:
        return (_HEADINGS[kind] + text.replace("\\\n", "<br>")).rstrip(" ")
    if kind == "callout":
        text = "[!NOTE]\n" + text if text else "[!NOTE]"
    if kind in ("quote", "callout"):
        return "> " + text.replace("\n", "\n> ")
    return text


def _write_code(node: PlainNode) -> str:
    text = "".join(run["text"] for run in node.get("runs", ()))
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{node.get('attrs', {}).get('language', '')}\n{text}\n{fence}"


def _write_table(node: PlainNode) -> str:
    lines: list[str] = []
    for row in node.get("children", ()):
        cells = [
            spell(cell.get("runs", []), "cell").replace("\\\n", "<br>").replace("|", "\\|")
            for cell in row.get("children", ())
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if len(lines) == 1:
            lines.append("|" + " --- |" * len(cells))
    return "\n".join(lines)


def _write_image(node: PlainNode) -> str:
    attrs = node.get("attrs", {})
    width = f"?width={attrs['width']}" if "width" in attrs else ""
    alt = _escape(attrs.get("alt", ""))
    return f"![{alt}]({BLOB_SCHEME}{attrs['blob']}{width})"


def spell(runs: Sequence[PlainRun], kind: str) -> str:
    """Runs as inline Markdown: the first spelling that is read back as it was meant."""
    if all(not run.get("marks") and "node" not in run and _SAFE.fullmatch(run["text"]) for run in runs):
        text = "".join(run["text"] for run in runs)
        if not text or (text[0].isalpha() and not text[-1].isspace()):
            return text
    probe_kind = "paragraph" if kind in LIST_KINDS or kind == "cell" or kind == "callout" else kind
    probe = block(probe_kind, list(runs))
    for spelling in (_spell_plainly, _spell_with_tags):
        text = spelling(runs)
        if not runs or _reads_back(text, probe):
            return text
    return _spell_timidly(runs)


def _reads_back(text: str, probe: PlainNode) -> bool:
    kind = kind_of(probe)
    if kind in _HEADINGS:
        text = _HEADINGS[kind] + text.replace("\\\n", "<br>")
    elif kind == "quote":
        text = "> " + text.replace("\n", "\n> ")
    return from_markdown(text) == [probe]


def _spell_plainly(runs: Sequence[PlainRun]) -> str:
    return _spell(runs, _SIGNS, _escape, "\\\n")


def _spell_with_tags(runs: Sequence[PlainRun]) -> str:
    return _spell(runs, {}, _escape, "<br>")


def _spell_timidly(runs: Sequence[PlainRun]) -> str:
    return _spell(runs, {}, _escape_all, "<br>")


def _spell(
    runs: Sequence[PlainRun], signs: dict[str, str], escape: Callable[[str], str], line_break: str
) -> str:
    out = ""
    open_marks: list[tuple[str, str]] = []
    for run in runs:
        marks = run.get("marks", {})
        wanted: list[tuple[str, str]] = [
            (name, marks[name].get("href", "")) for name in _OUTERMOST_FIRST if name in marks
        ]
        is_code = bool(signs) and bool(wanted) and wanted[-1][0] == "code"
        if is_code:
            wanted.pop()
        kept = 0
        while kept < min(len(open_marks), len(wanted)) and open_marks[kept] == wanted[kept]:
            kept += 1
        out += "".join(_closing(mark, signs) for mark in reversed(open_marks[kept:]))
        out += "".join(_opening(mark, signs) for mark in wanted[kept:])
        open_marks = wanted
        if "node" in run:
            out += line_break
        else:
            out += _code_span(run["text"]) if is_code else escape(run["text"])
    out += "".join(_closing(mark, signs) for mark in reversed(open_marks))
    return "\n".join(_guard_line(line) for line in out.split("\n"))


def _opening(mark: tuple[str, str], signs: dict[str, str]) -> str:
    name, _ = mark
    return "[" if name == "link" else signs.get(name) or f"<{_TAGS[name]}>"


def _closing(mark: tuple[str, str], signs: dict[str, str]) -> str:
    name, href = mark
    if name == "link":
        return "](<" + re.sub(r"([\\<>])", r"\\\1", href) + ">)" if _needs_angles(href) else f"]({href})"
    return signs.get(name) or f"</{_TAGS[name]}>"


def _needs_angles(href: str) -> bool:
    return (
        not re.fullmatch(r"[\w:/?#@.,;=%+~$'-]+|[\w:/?#@.,;=%+~$'&-]+(?<!&)", href, re.ASCII) or "&" in href
    )


def _code_span(text: str) -> str:
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or (text[0] == text[-1] == " ") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _escape(text: str) -> str:
    # Signs at the end of a heading would be taken for its closing ones.
    end = len(text.rstrip())
    start = len(text[:end].rstrip("#"))
    escaped = _ESCAPED.sub(_with_backslash, text[:start])
    return escaped + "\\#" * (end - start) + text[end:]


def _with_backslash(match: re.Match[str]) -> str:
    return "\\" + match.group()


def _escape_all(text: str) -> str:
    return _TIMID.sub(lambda match: f"&#{ord(match.group())};", text)


def _guard_line(line: str) -> str:
    """Keep a line from being taken for a list, a heading rule or indentation, and keep its edges."""
    stripped = line.strip()
    if not stripped:
        return "".join(f"&#{ord(char)};" for char in line)
    start = line.index(stripped[0])
    before, body, after = line[:start], stripped, line[start + len(stripped) :]
    body = _LINE_START.sub(_escape_start, body, count=1) if _LINE_START.match(body) else body
    edges = ["".join(f"&#{ord(char)};" for char in edge) for edge in (before, after)]
    return edges[0] + body + edges[1]


def _escape_start(match: re.Match[str]) -> str:
    number = match.group("number")
    return "\\" + match.group() if number is None else number + "\\"
