"""`sheaf doc …`: create, list, show, write, append, trash, delivery."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import AsJson, DataDir, Session, SpaceArgument, note
from sheaf.cli.tables import print_tree, printable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, read and write documents.")

DocumentArgument = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="Its title, id, or the beginning of its id.")
]
InSpace = Annotated[
    str | None, typer.Option("--space", "-s", metavar="SPACE", help="Look for it in this space only.")
]


class DocumentType(StrEnum):
    """What `--type` takes."""

    PAGE = "page"
    TEXT = "text"


class WriteFormat(StrEnum):
    """What `write --format` takes."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    YJS = "yjs"


class ReadFormat(StrEnum):
    """What `show --format` takes."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    JSON = "json"
    YJS = "yjs"


@app.command()
def create(
    ctx: typer.Context,
    space: SpaceArgument,
    title_argument: Annotated[str | None, typer.Argument(metavar="[TITLE]", show_default=False)] = None,
    title: Annotated[str | None, typer.Option("--title", help="Its title.")] = None,
    kind: Annotated[DocumentType, typer.Option("--type")] = DocumentType.PAGE,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="DOCUMENT", help="Put it below this document.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an empty document."""
    from sheaf.cli.resolve import find_document, find_space

    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    body: dict[str, Any] = {"title": title or title_argument or "", "type": kind.value}
    if parent is not None:
        body["parent_id"] = find_document(session.client, parent, space=found["space_id"])["document_id"]
    document = session.client.post(f"/spaces/{found['space_id']}/documents", body)
    session.show(document, lambda: typer.echo(f"{document['document_id']}  {printable(document['title'])}"))


@app.command("list")
def list_documents(
    ctx: typer.Context,
    space: SpaceArgument,
    trashed: Annotated[bool, typer.Option("--trashed", help="List what is in the trash instead.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the documents of a space as a tree."""
    from sheaf.cli.resolve import find_space

    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    documents = session.client.get(f"/spaces/{found['space_id']}/documents")["documents"]
    chosen = [document for document in documents if document["trashed"] == trashed]
    session.show(chosen, lambda: print_tree(chosen, show_trashed=True))


@app.command()
def show(
    ctx: typer.Context,
    document: DocumentArgument,
    form: Annotated[ReadFormat, typer.Option("--format", "-f")] = ReadFormat.MARKDOWN,
    space: InSpace = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a document (Markdown)."""
    from sheaf.cli.resolve import find_document

    session = Session(ctx, data_dir, as_json)
    if session.as_json and form is ReadFormat.YJS:
        raise CommandFailed("Yjs is binary: leave --json out and redirect the output.", ExitCode.USAGE)
    found = find_document(session.client, document, space=space)
    answer = session.client.request(
        "GET", f"/documents/{found['document_id']}/content", params={"format": form.value}
    )

    def human() -> None:
        sys.stdout.buffer.write(answer.content)
        if sys.stdout.isatty() and not answer.content.endswith(b"\n"):
            typer.echo()

    session.show({**found, "format": form.value, "content": answer.text}, human)


@app.command()
def write(
    ctx: typer.Context,
    document: DocumentArgument,
    form: Annotated[WriteFormat, typer.Option("--format", "-f")] = WriteFormat.MARKDOWN,
    space: InSpace = None,
    data_dir: DataDir = None,
) -> None:
    """Make a document equal to standard input, merged as the smallest edit."""
    from sheaf.cli.resolve import find_document

    session = Session(ctx, data_dir, as_json=False)
    found = find_document(session.client, document, space=space)
    session.client.request(
        "PUT",
        f"/documents/{found['document_id']}/content",
        params={"format": form.value},
        content=_standard_input(),
        headers={"Content-Type": "application/octet-stream", "Sheaf-Agent": "sheaf doc write"},
    )


@app.command()
def append(
    ctx: typer.Context, document: DocumentArgument, space: InSpace = None, data_dir: DataDir = None
) -> None:
    """Add standard input to the end of a document."""
    from sheaf.cli.resolve import find_document

    session = Session(ctx, data_dir, as_json=False)
    found = find_document(session.client, document, space=space)
    session.client.request(
        "POST",
        f"/documents/{found['document_id']}/append",
        content=_standard_input(),
        headers={"Content-Type": "text/markdown; charset=utf-8", "Sheaf-Agent": "sheaf doc append"},
    )


@app.command()
def trash(
    ctx: typer.Context,
    document: DocumentArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out of the trash again.")] = False,
    space: InSpace = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move a document to the trash, or back."""
    from sheaf.cli.resolve import find_document

    session = Session(ctx, data_dir, as_json)
    found = find_document(session.client, document, space=space)
    changed = session.client.patch(f"/documents/{found['document_id']}", {"trashed": not undo})
    where = "back" if undo else "in the trash"
    session.show(changed, lambda: typer.echo(f"“{printable(changed['title'])}” is {where}."))


@app.command()
def delivery(
    ctx: typer.Context,
    document: DocumentArgument,
    space: InSpace = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show who has a document, by their own receipts, and on which relay it waits."""
    from sheaf.cli.delivery import print_delivery
    from sheaf.cli.resolve import find_document

    session = Session(ctx, data_dir, as_json)
    found = find_document(session.client, document, space=space)
    state = session.client.get(f"/documents/{found['document_id']}/delivery")
    session.show(state, lambda: print_delivery(state))


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        note("Type or paste the text, then Ctrl-D.")
    return sys.stdin.buffer.read()
