"""Editing pages: plain edits of the block tree, as small native changes (see `page`).

A block that only changed its words keeps its identity: what others type in it at the same time
survives. Everything is checked before the first change, because transactions do not roll back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pycrdt

from sheaf.core.base.errors import UsageError
from sheaf.core.crdt.page import DEPTH_MAX, Element, PlainNode, PlainRun, plain, read_attributes
from sheaf.core.crdt.text import EMBED, Splice, TextMap, check_insertable, check_splices, splice_text

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
        _insert(body, start, nodes)


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
    """The splices may change text only: inline nodes stay, and none comes."""
    old_nodes, new_nodes = (_inline_nodes(node) for node in (old, new))
    if old["type"] != new["type"] or old.get("children") or new.get("children"):
        raise UsageError("only blocks of text of the same type can be edited in place")
    text = _flat_text(old)
    checked = check_splices(splices, len(text))
    pieces: list[str] = []
    reached = 0
    for position, count, insert in checked:
        pieces += (text[reached:position], insert)
        reached = position + count
    spliced = "".join([*pieces, text[reached:]])
    places = sorted(old_nodes)
    removed = any(
        bisect_left(places, start) < bisect_left(places, start + count) for start, count, _ in checked
    )
    if removed or list(old_nodes.values()) != list(new_nodes.values()):
        raise UsageError("an edit inside a block leaves its inline nodes alone")
    if spliced != _flat_text(new):
        raise UsageError("the splices do not lead to the block's new text")
    return checked


def _inline_nodes(node: PlainNode) -> dict[int, PlainNode]:
    nodes: dict[int, PlainNode] = {}
    at = 0
    for run in node.get("runs", ()):
        if "node" in run:
            nodes[at] = run["node"]
        at += _run_length(run)
    return nodes


def _run_length(run: PlainRun) -> int:
    return 1 if "node" in run else len(run["text"])


def _flat_text(node: PlainNode) -> str:
    return "".join(EMBED if "node" in run else run["text"] for run in node.get("runs", ()))


def _insert(parent: Element, index: int, nodes: Sequence[PlainNode]) -> None:
    """Put elements in and then fill them.

    Native code walks over all siblings to find a place; that takes an eighth of the time while
    nothing else lies between them in memory (measured).
    """
    elements = [pycrdt.XmlElement(node["type"]) for node in nodes]
    for number, element in enumerate(elements, index):
        parent.children.insert(number, element)
    for element, node in zip(elements, nodes, strict=True):
        _fill(element, node)


def _fill(element: pycrdt.XmlElement, node: PlainNode) -> None:
    for name, value in node.get("attrs", {}).items():
        if value is not None:
            element.attributes[name] = value
    parts: list[PlainNode | list[PlainRun]] = [*node.get("children", ())]
    stretch: list[PlainRun] = []
    for run in node.get("runs", ()):
        if "node" in run:
            parts.append(run["node"])
            stretch = []
        elif run["text"]:
            if not stretch:
                parts.append(stretch)
            stretch.append(run)
    made = [pycrdt.XmlText() if isinstance(part, list) else pycrdt.XmlElement(part["type"]) for part in parts]
    for number, child in enumerate(made):
        element.children.insert(number, child)
    for child, part in zip(made, parts, strict=True):
        if isinstance(part, list):
            assert isinstance(child, pycrdt.XmlText)
            _fill_text(child, part)
        else:
            assert isinstance(child, pycrdt.XmlElement)
            _fill(child, part)


def _fill_text(text: pycrdt.XmlText, runs: Sequence[PlainRun]) -> None:
    """Native code looks for each place from the start of the text, past every piece so far: so the words
    go in as one piece, which is then cut up from its end."""
    text.insert(0, "".join(run["text"] for run in runs), {})
    end = len(text)
    for run in reversed(runs):
        start = end - len(run["text"].encode())
        if run.get("marks"):
            text.format(start, end, run["marks"])
        end = start


def _rewrite(element: pycrdt.XmlElement, node: PlainNode, splices: Sequence[Splice]) -> None:
    _ensure_texts_at(element, {position for position, _, insert in splices if insert})
    _splice_across(_spans(element), splices)
    texts = [span for span in _spans(element) if isinstance(span[0], pycrdt.XmlText)]
    for (text, _, _), pieces in zip(texts, _cut_runs(node.get("runs", ()), texts), strict=True):
        _set_marks(text, pieces)
    _set_attributes(element, node.get("attrs", {}))


def _spans(element: pycrdt.XmlElement) -> list[tuple[Any, int, int]]:
    """Each child with the code points it covers; an inline element is one."""
    spans: list[tuple[Any, int, int]] = []
    at = 0
    for child in element.children:
        length = len(TextMap(child.diff()).text) if isinstance(child, pycrdt.XmlText) else 1
        spans.append((child, at, at + length))
        at += length
    return spans


def _ensure_texts_at(element: pycrdt.XmlElement, positions: set[int]) -> None:
    """Between two inline elements, or where a block is empty, there may be no text to type into."""
    spans = _spans(element)
    ends = [end for _, _, end in spans]
    texts = [(start, end) for child, start, end in spans if isinstance(child, pycrdt.XmlText)]
    starts = [start for start, _ in texts]
    for position in sorted(positions, reverse=True):
        number = bisect_right(starts, position) - 1
        if number < 0 or texts[number][1] < position:
            element.children.insert(bisect_right(ends, position), pycrdt.XmlText())


def _splice_across(spans: Sequence[tuple[Any, int, int]], splices: Sequence[Splice]) -> None:
    """A block has one text between inline elements, or several after concurrent first words."""
    homeless = {number for number, (_, _, insert) in enumerate(splices) if insert}
    work: list[tuple[pycrdt.XmlText, list[Splice]]] = []
    first = 0
    for child, low, high in spans:
        if not isinstance(child, pycrdt.XmlText):
            continue
        while first < len(splices) and splices[first][0] + splices[first][1] < low:
            first += 1
        local: list[Splice] = []
        for number in range(first, len(splices)):
            position, count, insert = splices[number]
            if position > high:
                break
            start, end = max(position, low), min(position + count, high)
            is_home = number in homeless and low <= position
            if is_home:
                homeless.discard(number)
            if start < end or is_home:
                local.append((start - low, max(0, end - start), insert if is_home else ""))
        work.append((child, local))
    for text, local in work:
        splice_text(text, local)


def _cut_runs(
    runs: Sequence[PlainRun], texts: Iterable[tuple[Any, int, int]]
) -> list[list[tuple[int, Mapping[str, Any]]]]:
    """For each text, which covers some code points of a block's runs, the lengths and marks of its pieces."""
    cut: list[list[tuple[int, Mapping[str, Any]]]] = []
    ends = list(accumulate(_run_length(run) for run in runs))
    for _, start, end in texts:
        pieces: list[tuple[int, Mapping[str, Any]]] = []
        number = bisect_right(ends, start)
        while start < end and number < len(runs):
            reached = min(ends[number], end)
            pieces.append((reached - start, runs[number].get("marks", {})))
            start, number = reached, number + 1
        cut.append(pieces)
    return cut


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
