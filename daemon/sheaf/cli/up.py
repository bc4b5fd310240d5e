"""`sheaf up`: the daemon, in the foreground. The only command that composes one."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.options import DataDir, Session
from sheaf.cli.variables import refuse_misspelt
from sheaf.journal import is_journal


def up(
    ctx: typer.Context,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="Port of the editor and the API; 0 picks one. [7411]"),
    ] = None,
    lan: Annotated[
        str | None,
        typer.Option("--lan", metavar="HOST:PORT", help="Where other machines reach this one. [0.0.0.0:0]"),
    ] = None,
    no_mdns: Annotated[
        bool, typer.Option("--no-mdns", help="Neither announce nor look for others by mDNS.")
    ] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="HOST:PORT", help="Another machine's --lan address. Repeatable."),
    ] = None,
    relay: Annotated[
        list[str] | None,
        typer.Option(
            "--relay",
            metavar="URL",
            help="A relay to meet others at, wss://[TOKEN@]host; spaces you own will use it too. Repeatable.",
        ),
    ] = None,
    stun: Annotated[
        list[str] | None,
        typer.Option("--stun", metavar="HOST:PORT", help="A STUN server besides the relays. Repeatable."),
    ] = None,
    new_database: Annotated[
        bool,
        typer.Option(
            "--new-database",
            help="Begin without documents where the database was lost; the device keeps its keys.",
        ),
    ] = False,
    accept_shared_files: Annotated[
        bool,
        typer.Option(
            "--accept-shared-files",
            help="Use a disk that keeps no permissions (exFAT, SMB), where others can read the data.",
        ),
    ] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="text|json", help="How to log. [text]")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [info]")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the daemon in the foreground until Ctrl-C.

    Each option has a variable, which it comes before: SHEAF_PORT for --port, SHEAF_RELAYS for --relay (more
    than one with commas), SHEAF_MDNS=false for --no-mdns, SHEAF_OPEN_BROWSER=false for --no-open.
    """
    import asyncio
    import logging

    from sheaf.core.base.errors import SheafError, UsageError

    unknown = refuse_misspelt()
    session = Session(ctx, data_dir, as_json=False, is_warning=False)
    _refuse_if_busy(session.data_dir)

    from sheaf.config import ReadyInfo, Settings

    try:
        settings = Settings.load(
            data_dir=session.data_dir,
            port=port,
            lan=lan,
            mdns=False if no_mdns else None,
            peers=tuple(peer) if peer else None,
            relays=tuple(relay) if relay else None,
            stun=tuple(stun) if stun else None,
            accept_shared_files=True if accept_shared_files else None,
            open_browser=False if no_open else None,
            log_format=log_format,
            log_level=log_level,
        )
    except UsageError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error

    if new_database:
        _begin_anew(session.data_dir)

    def on_ready(ready: ReadyInfo) -> None:
        with contextlib.suppress(OSError):  # standard output may be a file on a full disk
            _announce(ready, settings.data_dir, open_it=settings.open_browser)

    _skip_rich()
    from sheaf.log import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    for each in unknown:
        logging.getLogger("sheaf.daemon").warning("%s", each)
    from sheaf.compose import run_daemon

    try:
        code = asyncio.run(run_daemon(settings, on_ready=on_ready))
    except SheafError as error:
        raise CommandFailed(str(error), ExitCode(getattr(error, "exit_code", ExitCode.FAILED))) from error
    raise typer.Exit(code)


def _skip_rich() -> None:
    """structlog would load rich to draw tracebacks, which ours are not: 3 MB and 50 modules for nothing."""
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None is how Python marks "not to be had"


def _refuse_if_busy(data_dir: Path) -> None:
    """Before the heavy imports: a second daemon is told within 1 s (FAULTS S9). `compose` locks for good."""
    from sheaf.core.base.errors import StorageFailure
    from sheaf.storage.lock import LOCK_NAME, DataDirBusy, lock_data_dir, require_locks

    try:
        require_locks()
    except StorageFailure as failure:
        raise CommandFailed(str(failure)) from failure
    if (data_dir / LOCK_NAME).exists():
        try:
            lock_data_dir(data_dir, wall_ms=time.time_ns() // 1_000_000).release()
        except DataDirBusy as busy:
            raise CommandFailed(str(busy), ExitCode.BUSY) from busy
        except StorageFailure:
            return  # `compose` meets it too, and says so or waits


def _begin_anew(data_dir: Path) -> None:
    from sheaf.core.base.errors import SheafError, UsageError
    from sheaf.keystore.choice import has_keys
    from sheaf.storage.lost import begin_anew

    try:
        begin_anew(data_dir, has_keys=has_keys(data_dir), wall_ms=time.time_ns() // 1_000_000)
    except UsageError as error:
        raise CommandFailed(str(error), ExitCode(getattr(error, "exit_code", ExitCode.USAGE))) from error
    except SheafError as error:
        raise CommandFailed(str(error)) from error


def _announce(ready: object, data_dir: Path, *, open_it: bool) -> None:
    from sheaf.cli.browser import open_browser
    from sheaf.config import ReadyInfo

    assert isinstance(ready, ReadyInfo)
    if is_journal(sys.stdout):
        typer.echo("Sheaf is running. `sheaf open` makes a link to the editor.")
    else:
        typer.echo(
            "Sheaf is running. Open it once with this link (good for five minutes):\n\n"
            f"  {ready.launch_link}\n\n"
            "`sheaf open` makes another link. Ctrl-C stops the daemon."
        )
    host, _, port = (ready.lan_listening or "").rpartition(":")
    if host in ("127.0.0.1", "[::1]"):
        typer.echo(f"Other machines cannot reach this one: it listens at {ready.lan_listening} only (--lan).")
    elif port:
        typer.echo(f"Other machines reach this one at port {port}; `sheaf status` names its addresses.")
    if open_it:
        open_browser(ready.launch_link, data_dir)
