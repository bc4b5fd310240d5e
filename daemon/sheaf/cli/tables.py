"""Tables and small texts for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import typer


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table on standard output, or the sentence `empty`. Names are shown as text, never as markup."""
    lines = [list(row) for row in rows]
    if not lines:
        typer.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for line in lines:
        table.add_row(*(Text(printable(cell)) for cell in line))
    if not console.is_terminal:
        console.width = 10_000
        table.expand = False
    console.print(table)


def printable(text: str) -> str:
    """`text` without control characters: a name from a peer must not drive the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def plural(count: int, noun: str) -> str:
    """`1 space`, `2 spaces`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def human_bytes(count: int) -> str:
    """`1.5 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit returns")


def print_tree(documents: list[dict[str, Any]], *, show_trashed: bool = False) -> None:
    """Documents indented below their parents; those with an unknown parent are at the top."""
    shown = [document for document in documents if show_trashed or not document["trashed"]]
    known = {document["document_id"] for document in shown}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for document in shown:
        parent = document["parent_id"] if document["parent_id"] in known else None
        children.setdefault(parent, []).append(document)
    rows: list[tuple[str, str, str, str]] = []
    waiting = [(document, 0) for document in reversed(children.get(None, []))]
    while waiting:
        document, depth = waiting.pop()
        identifier = document["document_id"]
        rows.append((identifier, "  " * depth + document["title"], document["type"], document["updated_at"]))
        waiting += [(child, depth + 1) for child in reversed(children.get(identifier, []))]
    print_table(("ID", "TITLE", "TYPE", "CHANGED"), rows, empty="There are no documents.")
