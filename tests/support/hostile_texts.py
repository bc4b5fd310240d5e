"""Texts that make parsers and comparisons slow: one short piece, repeated."""

from __future__ import annotations

from typing import Final

PIECES: Final = {
    **{
        f"{piece!r} again and again": piece
        for piece in ("#", "*", "_", "`", "[", "]", "<", ">", "&", "|", "~", "\\", "-", "=", "(", " ", "\n")
    },
    "words between signs": "a**b",
    "emphasis in a word": "a*b_c ",
    "unbalanced emphasis": "*a **b ",
    "strikes": "a~~b",
    "open code spans": "`a",
    "links": "[a](b) ",
    "open links": "[a](",
    "open images": "![",
    "definitions": "[a]: x\n",
    "open tags": "<a ",
    "open attributes": "<a href='x",
    "end tags without an end": "</a",
    "open comments": "<!--",
    "comments that end as tags": "<!-- >",
    "sections": "<![CDATA[",
    "processing instructions": "<?",
    "nested marks": "<b>x",
    "marks closed the wrong way": "<b>x</i>",
    "nested blocks": "<div>x",
    "nested lists": "<ul><li>x",
    "nested tables": "<table><tr><td>x",
    "breaks": "x<br>",
    "entities": "&amp;",
    "numbers of characters": "&#1",
    "quotes in quotes": "> ",
    "quoted lines": "> a\n",
    "list items": "- a\n",
    "list items in list items": "- ",
    "numbered items": "1. a\n",
    "lines": "a\n",
    "paragraphs": "a\n\n",
    "empty lines with spaces": " \n",
    "underlined headings": "a\n=\n",
    "fences": "```\n",
    "table rows": "|a|b|\n",
    "emoji": "😀x ",
}


def hostile_text(piece: str, size: int) -> str:
    """At least `size` characters."""
    return piece * (size // len(piece) + 1)


def table(size: int) -> str:
    """A table of about `size` characters."""
    return "|a|b|\n|-|-|\n" + "|x|y|\n" * (size // 6)


def deep_list(size: int) -> str:
    """Lists in lists, of about `size` characters; each level starts a little further in."""
    lines: list[str] = []
    while size > 0:
        lines.append("  " * (len(lines) % 100) + "- a\n")
        size -= len(lines[-1])
    return "".join(lines)


def changed(text: str) -> str:
    """The text with every 37th character replaced."""
    characters = list(text)
    for number in range(0, len(characters), 37):
        characters[number] = "xyz*#"[number % 5]
    return "".join(characters)
