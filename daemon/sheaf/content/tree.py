"""The plain tree of a page: what every format here is read into and written from.

The same shape as the replica's (flat block schema 1), defined on its own: content and core are
neighbours that do not know each other. Must not know CRDTs, storage or formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NotRequired, TypedDict

KINDS: Final = (
    "paragraph",
    "h1",
    "h2",
    "h3",
    "bullet",
    "ordered",
    "todo",
    "quote",
    "callout",
)
LIST_KINDS: Final = frozenset({"bullet", "ordered", "todo"})
HEADING_KINDS: Final = frozenset({"h1", "h2", "h3"})
MARKS: Final = ("link", "bold", "italic", "strike", "underline", "highlight", "code")
"""Marks that formats can express, outermost first; `comment` is not one of them."""
INDENT_MAX: Final = 8
BREAK: Final = "hard_break"


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


Blocks = Sequence[PlainNode]


def block(kind: str, runs: list[PlainRun], **attrs: Any) -> PlainNode:
    """A text block of one kind."""
    return {"type": "block", "attrs": {"kind": kind, **attrs}, "runs": runs}


def code_block(text: str, language: str = "") -> PlainNode:
    """A block of program text."""
    attrs = {"language": language} if language else {}
    return {"type": "code", "attrs": attrs, "runs": [{"text": text}] if text else []}


def break_run() -> PlainRun:
    """A line break inside a block."""
    return {"text": "", "node": {"type": BREAK}}


def kind_of(node: PlainNode) -> str:
    """The kind of a block; what is absent or unknown counts as a paragraph."""
    kind = node.get("attrs", {}).get("kind")
    return kind if kind in KINDS else "paragraph"


def indent_of(node: PlainNode) -> int:
    """0 … 8; anything else stored there counts as 0 or 8."""
    indent = node.get("attrs", {}).get("indent")
    if not isinstance(indent, int | float) or indent != indent:
        return 0
    return int(min(max(indent, 0), INDENT_MAX))


def join_runs(runs: Iterable[PlainRun]) -> list[PlainRun]:
    """The same content with neighbours of equal formatting joined and empty runs left out."""
    joined: list[PlainRun] = []
    for run in runs:
        if "node" in run:
            joined.append(run)
            continue
        if not run["text"]:
            continue
        marks = run.get("marks") or {}
        last = joined[-1] if joined else None
        if last is not None and "node" not in last and last.get("marks", {}) == marks:
            last["text"] += run["text"]
        else:
            joined.append({"text": run["text"], "marks": marks} if marks else {"text": run["text"]})
    return joined


def text_of(node: PlainNode, separator: str = "\n") -> str:
    """All the text inside a node, its children's joined by `separator`."""
    own = "".join(_run_text(run) for run in node.get("runs", ()))
    inner = [text_of(child, separator) for child in node.get("children", ())]
    return separator.join(part for part in (own, *inner) if part) if inner else own


def _run_text(run: PlainRun) -> str:
    if "node" not in run:
        return run["text"]
    return "\n" if run["node"]["type"] == BREAK else text_of(run["node"])
