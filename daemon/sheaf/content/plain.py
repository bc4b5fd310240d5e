"""Plain text of a page, and its outline. For search, previews and `format=text`."""

from __future__ import annotations

from dataclasses import dataclass

from sheaf.content.tree import HEADING_KINDS, Blocks, PlainNode, block, kind_of, text_of
from sheaf.content.views import text_view


@dataclass(frozen=True, slots=True)
class Heading:
    """One line of an outline; `level` 1 … 3, `block_number` counts the page's blocks from 0."""

    level: int
    text: str
    block_number: int


def to_text(blocks: Blocks) -> str:
    """The page's words, a line for each block; ends in a newline unless empty."""
    lines = [text_of(node, "\t" if node["type"] == "row" else "\n") for node in blocks]
    return "".join(f"{line}\n" for line in lines)


def from_text(text: str) -> list[PlainNode]:
    """A paragraph for each line, in the form of `text_view`."""
    paragraphs = [block("paragraph", [{"text": line}] if line else []) for line in _lines(text)]
    return [node for _, node in text_view(paragraphs)]


def outline(blocks: Blocks) -> list[Heading]:
    """The headings that have words, in order."""
    headings: list[Heading] = []
    for number, node in enumerate(blocks):
        text = " ".join(text_of(node).split())
        if node["type"] == "block" and kind_of(node) in HEADING_KINDS and text:
            headings.append(Heading(int(kind_of(node)[1]), text, number))
    return headings


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines
