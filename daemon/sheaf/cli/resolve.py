"""Which space or document a person means: an id, the unique beginning of one, or a unique name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sheaf.cli.client import DaemonClient
from sheaf.cli.errors import CommandFailed, ExitCode

_PREFIX_CHARS_MIN = 4
"""`s_` or `d_` and two more, so that a short name is not taken for an id."""


def find_space(client: DaemonClient, wanted: str) -> dict[str, Any]:
    """The space meant by `wanted`. Raises CommandFailed: 4 when none fits, 2 when several do."""
    return _choose(
        client.get("/spaces")["spaces"], wanted, id_field="space_id", name_field="name", noun="space"
    )


def find_document(client: DaemonClient, wanted: str, *, space: str | None = None) -> dict[str, Any]:
    """The document meant by `wanted`, in `space` or anywhere; trashed ones count if nothing else fits.

    Raises:
        CommandFailed: 4 when none fits, 2 when several do; 6 when none fits in the spaces that can be
            read, but there is one that cannot.
    """
    spaces = [find_space(client, space)] if space is not None else client.get("/spaces")["spaces"]
    documents, unread = [], None
    for candidate in spaces:
        try:
            documents += client.get(f"/spaces/{candidate['space_id']}/documents")["documents"]
        except CommandFailed as failure:
            if failure.exit_code is not ExitCode.NOT_SAVED:
                raise
            unread = failure
    if unread is not None and not _matches(documents, wanted, "document_id", "title"):
        raise unread
    present = [document for document in documents if not document["trashed"]]
    fields = {"id_field": "document_id", "name_field": "title", "noun": "document"}
    if _matches(present, wanted, fields["id_field"], fields["name_field"]):
        return _choose(present, wanted, **fields)
    return _choose(documents, wanted, **fields)


def _choose(
    candidates: list[dict[str, Any]], wanted: str, *, id_field: str, name_field: str, noun: str
) -> dict[str, Any]:
    found = _matches(candidates, wanted, id_field, name_field)
    if not found:
        command = "sheaf space list" if noun == "space" else "sheaf doc list SPACE"
        raise CommandFailed(
            f"There is no {noun} “{wanted}” here. `{command}` shows what there is.",
            ExitCode.NOT_FOUND,
        )
    if len(found) > 1:
        lines = "\n".join(f"  {item[id_field]}  {item[name_field]}" for item in found)
        raise CommandFailed(
            f"“{wanted}” fits {len(found)} {noun}s; say which by its id:\n{lines}", ExitCode.USAGE
        )
    return found[0]


def _matches(
    candidates: list[dict[str, Any]], wanted: str, id_field: str, name_field: str
) -> list[dict[str, Any]]:
    """The first rule that finds anything decides."""
    folded = wanted.strip().casefold()
    rules: tuple[Callable[[dict[str, Any]], bool], ...] = (
        lambda item: bool(item[id_field] == folded),
        lambda item: bool(item[name_field] == wanted),
        lambda item: bool(item[name_field].casefold() == folded),
        lambda item: len(folded) >= _PREFIX_CHARS_MIN and str(item[id_field]).startswith(folded),
    )
    for rule in rules:
        found = [item for item in candidates if rule(item)]
        if found:
            return found
    return []
