"""Pages: the flat block schema over a Y.XmlFragment, read as plain trees.

A page's `body` holds `block`, `code`, `divider`, `table`, `image` and `embed` elements
(PROTOCOL §12, flat schema 1). Names this module does not know are kept and reported, never
deleted. Must not know Markdown or any other format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NotRequired, TypedDict

import pycrdt

BODY: Final = "body"
META: Final = "meta"
SCHEMA: Final = 1
TEXT_HOLDERS: Final = frozenset({"block", "code", "cell"})
BLOCK_NAMES: Final = frozenset({"block", "code", "divider", "table", "row", "cell", "image", "embed"})
INLINE_NAMES: Final = frozenset({"hard_break", "inline_embed"})
MARK_NAMES: Final = frozenset(
    {"bold", "italic", "underline", "strike", "code", "link", "highlight", "comment"}
)
DEPTH_MAX: Final = 64


class PlainRun(TypedDict):
    """A stretch of text with one formatting, or one inline node (then `text` is empty)."""

    text: str
    marks: NotRequired[dict[str, Any]]
    node: NotRequired[PlainNode]


class PlainNode(TypedDict):
    """An element: blocks of text have `runs`, containers have `children`."""

    type: str
    attrs: NotRequired[dict[str, Any]]
    runs: NotRequired[list[PlainRun]]
    children: NotRequired[list[PlainNode]]


Element = pycrdt.XmlElement | pycrdt.XmlFragment


def read_page(body: pycrdt.XmlFragment) -> list[PlainNode]:
    """The blocks of a page."""
    return [_read_child(child, 0) for child in body.children]


def unknown_names(blocks: Iterable[PlainNode]) -> list[str]:
    """Elements and marks outside the schema, sorted, each once: `<name>` and `mark name`."""
    found: set[str] = set()
    _collect_unknown(blocks, BLOCK_NAMES, found)
    return sorted(found)


def _read_child(child: Any, depth: int) -> PlainNode:
    if isinstance(child, pycrdt.XmlText):
        return {"type": "#text", "runs": _read_runs(child)}
    return _read_element(child, depth)


def _read_element(element: Element, depth: int) -> PlainNode:
    if not isinstance(element, pycrdt.XmlElement):
        return {"type": "#fragment"}
    node: PlainNode = {"type": element.tag or ""}
    attrs = read_attributes(element)
    if attrs:
        node["attrs"] = attrs
    if depth >= DEPTH_MAX:
        return node
    children = list(element.children)
    if node["type"] in TEXT_HOLDERS or any(isinstance(child, pycrdt.XmlText) for child in children):
        runs: list[PlainRun] = []
        for child in children:
            if isinstance(child, pycrdt.XmlText):
                runs.extend(_read_runs(child))
            else:
                runs.append({"text": "", "node": _read_element(child, depth + 1)})
        node["runs"] = runs
    elif children:
        node["children"] = [_read_child(child, depth + 1) for child in children]
    return node


def _read_runs(text: pycrdt.XmlText) -> list[PlainRun]:
    runs: list[PlainRun] = []
    for value, marks in text.diff():
        run: PlainRun
        if isinstance(value, str):
            run = {"text": value}
        else:
            kept = plain(value) if isinstance(value, dict | list | str) else None
            run = {"text": "", "node": {"type": "#embed", "attrs": {"value": kept}}}
        if marks:
            run["marks"] = plain(marks)
        runs.append(run)
    return runs


def read_attributes(element: pycrdt.XmlElement) -> dict[str, Any]:
    """An element's attributes as JSON values."""
    return {name: plain(value) for name, value in element.attributes.__iter__()}


def plain(value: Any) -> Any:
    """JSON values with whole numbers as integers: pycrdt gives every number as a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _collect_unknown(nodes: Iterable[PlainNode], known: frozenset[str], found: set[str]) -> None:
    for node in nodes:
        if node["type"] not in known:
            found.add(f"<{node['type']}>")
        for run in node.get("runs", ()):
            # Overlapping marks of one kind are stored as name--hash.
            found.update(
                f"mark {name}" for name in run.get("marks", ()) if name.split("--")[0] not in MARK_NAMES
            )
            if "node" in run:
                _collect_unknown([run["node"]], INLINE_NAMES, found)
        _collect_unknown(node.get("children", ()), known, found)
