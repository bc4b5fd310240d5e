"""Editing pages: plain edits of the block tree, as small native changes (see `page`).

A block that only changed its words keeps its identity: what others type in it at the same time
survives. Everything is checked before the first change, because transactions do not roll back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pycrdt

from sheaf.core.base.errors import UsageError
from sheaf.core.crdt.page import DEPTH_MAX, Element, PlainNode, PlainRun, plain, read_attributes
from sheaf.core.crdt.text import Splice, TextMap, check_insertable, check_splices, splice_text

PageEdit = tuple[int, int, Sequence[PlainNode], Sequence[Splice] | None]
"""(first block, blocks replaced, new blocks, splices), positions as before any edit.

With splices, exactly one block is kept and edited: its text by the splices, which must turn it
into the new block's text, then its attributes and marks are made those of the new block.
"""


def check_edits(blocks: Sequence[PlainNode], edits: Iterable[PageEdit]) -> list[PageEdit]:
    """The edits as a list, once they are known to fit `blocks`.

    Raises:
        UsageError: out of range, overlapping, not storable, or splices that do not
            lead to the new text; nothing was changed.
    """
    checked: list[PageEdit] = []
    reached = 0
    for start, count, nodes, splices in edits:
        if start < reached or count < 0 or start + count > len(blocks):
            raise UsageError("the edit lies outside the page or overlaps another one")
        for node in nodes:
            _check_node(node, 0)
        if splices is not None:
            if count != 1 or len(nodes) != 1:
                raise UsageError("an edit inside a block concerns exactly one block")
            splices = _check_rewrite(blocks[start], nodes[0], splices)
        reached = start + count
        checked.append((start, count, nodes, splices))
    return checked


def edit_page(body: pycrdt.XmlFragment, edits: Sequence[PageEdit]) -> None:
    """Apply checked edits, last one first. Call inside a transaction."""
    for start, count, nodes, splices in reversed(edits):
        if splices is not None:
            block = body.children[start]
            assert isinstance(block, pycrdt.XmlElement)
            _rewrite(block, nodes[0], splices)
            continue
        if count:
            del body.children[start : start + count]
        for index, node in enumerate(nodes, start):
            _insert(body, index, node)


def _check_node(node: PlainNode, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise UsageError("the page is nested too deeply")
    for text in (
        node["type"],
        *(value for value in node.get("attrs", {}).values() if isinstance(value, str)),
    ):
        check_insertable(text)
    for run in node.get("runs", ()):
        check_insertable(run["text"])
        if "node" in run:
            _check_node(run["node"], depth + 1)
    for child in node.get("children", ()):
        _check_node(child, depth + 1)


def _check_rewrite(old: PlainNode, new: PlainNode, splices: Iterable[Splice]) -> list[Splice]:
    if old["type"] != new["type"] or _has_nodes(old) or _has_nodes(new):
        raise UsageError("only blocks of plain runs and the same type can be edited in place")
    text = "".join(run["text"] for run in old.get("runs", ()))
    checked = check_splices(splices, len(text))
    for position, count, insert in reversed(checked):
        text = text[:position] + insert + text[position + count :]
    if text != "".join(run["text"] for run in new.get("runs", ())):
        raise UsageError("the splices do not lead to the block's new text")
    return checked


def _has_nodes(node: PlainNode) -> bool:
    return bool(node.get("children")) or any("node" in run for run in node.get("runs", ()))


def _insert(parent: Element, index: int, node: PlainNode) -> None:
    element = pycrdt.XmlElement(node["type"])
    parent.children.insert(index, element)
    for name, value in node.get("attrs", {}).items():
        if value is not None:
            element.attributes[name] = value
    for child in node.get("children", ()):
        _insert(element, len(element.children), child)
    text: pycrdt.XmlText | None = None
    for run in node.get("runs", ()):
        if "node" in run:
            _insert(element, len(element.children), run["node"])
            text = None
        elif run["text"]:
            if text is None:
                text = pycrdt.XmlText()
                element.children.append(text)
            text.insert(len(text), run["text"], run.get("marks", {}))


def _rewrite(element: pycrdt.XmlElement, node: PlainNode, splices: Sequence[Splice]) -> None:
    texts = [child for child in element.children if isinstance(child, pycrdt.XmlText)]
    if not texts:
        texts = [pycrdt.XmlText()]
        element.children.append(texts[0])
    _splice_across(texts, splices)
    start = 0
    for text in texts:
        length = len(TextMap(text.diff()).text)
        _set_marks(text, _cut_runs(node.get("runs", ()), start, start + length))
        start += length
    _set_attributes(element, node.get("attrs", {}))


def _splice_across(texts: Sequence[pycrdt.XmlText], splices: Sequence[Splice]) -> None:
    """A block normally has one text; after concurrent first words it may have several in a row."""
    bounds = [0]
    for text in texts:
        bounds.append(bounds[-1] + len(TextMap(text.diff()).text))
    for index in range(len(texts) - 1, -1, -1):
        low, high = bounds[index], bounds[index + 1]
        local: list[Splice] = []
        for position, count, insert in splices:
            start, end = max(position, low), min(position + count, high)
            is_home = low < position <= high or (position == 0 and index == 0)
            if start < end or (is_home and insert):
                begin = start if start < end else position
                local.append((begin - low, max(0, end - start), insert if is_home else ""))
        splice_text(texts[index], local)


def _cut_runs(runs: Iterable[PlainRun], start: int, end: int) -> list[tuple[int, Mapping[str, Any]]]:
    """The lengths and marks of what lies between two code points of a block's runs."""
    pieces: list[tuple[int, Mapping[str, Any]]] = []
    at = 0
    for run in runs:
        low, high = max(at, start), min(at + len(run["text"]), end)
        if low < high:
            pieces.append((high - low, run.get("marks", {})))
        at += len(run["text"])
    return pieces


def _set_marks(text: pycrdt.XmlText, wanted: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Change only the formatting that differs from `wanted`, which covers the whole text."""
    chunks = text.diff()
    where = TextMap(chunks)
    have = [(len(value) if isinstance(value, str) else 1, plain(marks or {})) for value, marks in chunks]
    at = native = 0
    have_left = want_left = 0
    have_marks: Mapping[str, Any] = {}
    want_marks: Mapping[str, Any] = {}
    have_next, want_next = iter(have), iter(wanted)
    while at < len(where.text):
        if not have_left:
            have_left, have_marks = next(have_next)
        if not want_left:
            want_left, want_marks = next(want_next)
        step = min(have_left, want_left)
        size = where.native_length(at, at + step)
        changes = {name: None for name in have_marks if name not in want_marks}
        changes |= {name: value for name, value in want_marks.items() if have_marks.get(name) != value}
        if changes:
            text.format(native, native + size, changes)
        at, native = at + step, native + size
        have_left, want_left = have_left - step, want_left - step


def _set_attributes(element: pycrdt.XmlElement, wanted: Mapping[str, Any]) -> None:
    have = read_attributes(element)
    for name, value in wanted.items():
        if value is not None and have.get(name) != value:
            element.attributes[name] = value
    for name in have:
        if wanted.get(name) is None:
            del element.attributes[name]
