"""Options that every command takes, and the session that they open."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sheaf.cli.variables import unknown_variables
from sheaf.data_dir import default_data_dir

if TYPE_CHECKING:
    from sheaf.cli.client import DaemonClient

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Which daemon: its data directory ($SHEAF_DATA_DIR).",
        file_okay=False,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class RootOptions:
    """What was given before the command's name; it holds unless the command says otherwise."""

    data_dir: Path | None = None
    as_json: bool = False


class Session:
    """One command's view of the world: which daemon, and how to print."""

    def __init__(
        self, ctx: typer.Context, data_dir: Path | None, as_json: bool, *, is_warning: bool = True
    ) -> None:
        if is_warning:
            for unknown in unknown_variables():
                note(f"sheaf: warning: {unknown}")
        root = ctx.obj if isinstance(ctx.obj, RootOptions) else RootOptions()
        chosen = data_dir or root.data_dir
        self.data_dir = chosen.expanduser().absolute() if chosen else default_data_dir()
        self.as_json = as_json or root.as_json
        self._client: DaemonClient | None = None

    @property
    def client(self) -> DaemonClient:
        """The API of the running daemon. Raises CommandFailed (3) when none runs."""
        if self._client is None:
            from sheaf.cli.client import DaemonClient

            self._client = DaemonClient(self.data_dir)
        return self._client

    def show(self, data: Any, human: Callable[[], None]) -> None:
        """Print `data` as JSON if asked to, else what `human` prints."""
        if self.as_json:
            typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        else:
            human()


def note(text: str) -> None:
    """Something for the person watching; never part of the output."""
    typer.echo(text, err=True)


SpaceArgument = Annotated[
    str, typer.Argument(metavar="SPACE", help="Its name, id, or the beginning of its id.")
]
