"""`sheaf relay`: a relay for devices that cannot reach each other, in the foreground."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.variables import refuse_misspelt
from sheaf.data_dir import default_data_dir

if TYPE_CHECKING:
    from sheaf.relay.run import RelayReady, RelaySettings

_LEVELS = ("debug", "info", "warning", "error")


def relay(
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            envvar="SHEAF_RELAY_LISTEN",
            metavar="HOST:PORT",
            help="Where clients connect; port 0 picks one.",
        ),
    ] = "127.0.0.1:7412",
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="SHEAF_RELAY_STORE",
            metavar="sqlite:PATH|nats://…",
            help="Where mailboxes are kept. [relay.sqlite3 in Sheaf's data directory]",
            show_default=False,
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url",
            envvar="SHEAF_RELAY_PUBLIC_URL",
            metavar="URL",
            help="How clients reach this relay: ws:// or wss://.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            envvar="SHEAF_RELAY_TOKEN_FILE",
            help="Serve only who knows a token of this file, one a line.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert", envvar="SHEAF_RELAY_TLS_CERT", help="Certificate chain (PEM), read again at SIGHUP."
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", envvar="SHEAF_RELAY_TLS_KEY", help="Its private key (PEM).")
    ] = None,
    stun_port: Annotated[
        int | None,
        typer.Option(
            "--stun-port",
            envvar="SHEAF_RELAY_STUN_PORT",
            min=0,
            max=65_535,
            help="UDP port that answers STUN; 0: none. [the port of --listen]",
            show_default=False,
        ),
    ] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            envvar="SHEAF_RELAY_BEHIND_PROXY",
            help="A proxy on this machine connects: trust its X-Forwarded-For.",
        ),
    ] = False,
    max_connections: Annotated[
        int,
        typer.Option(
            "--max-connections", envvar="SHEAF_RELAY_MAX_CONNECTIONS", min=1, help="Clients at one time."
        ),
    ] = 10_000,
    max_connections_per_address: Annotated[
        int,
        typer.Option(
            "--max-connections-per-address",
            envvar="SHEAF_RELAY_MAX_CONNECTIONS_PER_ADDRESS",
            min=1,
            help="Clients from one address.",
        ),
    ] = 256,
    handshakes_per_minute: Annotated[
        int,
        typer.Option(
            "--handshakes-per-minute",
            envvar="SHEAF_RELAY_HANDSHAKES_PER_MINUTE",
            min=1,
            help="New connections from one address.",
        ),
    ] = 120,
    mailbox_mib: Annotated[
        int,
        typer.Option("--mailbox-mib", envvar="SHEAF_RELAY_MAILBOX_MIB", min=1, help="Size of one mailbox."),
    ] = 64,
    total_mib: Annotated[
        int, typer.Option("--total-mib", envvar="SHEAF_RELAY_TOTAL_MIB", min=1, help="Size of all mailboxes.")
    ] = 4096,
    retention_days: Annotated[
        int,
        typer.Option(
            "--retention-days",
            envvar="SHEAF_RELAY_RETENTION_DAYS",
            min=1,
            help="How long an item is kept at most.",
        ),
    ] = 60,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format", envvar="SHEAF_RELAY_LOG_FORMAT", metavar="text|json", help="How to log."
        ),
    ] = "text",
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level",
            envvar="SHEAF_RELAY_LOG_LEVEL",
            metavar="LEVEL",
            help="debug, info, warning or error.",
        ),
    ] = "info",
) -> None:
    """Run a relay in the foreground until Ctrl-C. Options come before variables."""
    unknown = refuse_misspelt()
    if log_format not in ("text", "json") or log_level not in _LEVELS:
        raise CommandFailed(
            "--log-format is text or json; --log-level is " + ", ".join(_LEVELS), ExitCode.USAGE
        )
    if public_url is not None and not public_url.startswith(("ws://", "wss://")):
        raise CommandFailed("--public-url begins with ws:// or wss://", ExitCode.USAGE)

    import asyncio
    import logging

    from sheaf.core.base.errors import SheafError, UsageError
    from sheaf.core.base.limits import MIB
    from sheaf.log import configure_logging
    from sheaf.relay.limits import RelayLimits
    from sheaf.relay.run import RelaySettings, read_tokens
    from sheaf.relay.store import DAY_S, StoreLimits

    try:
        settings = RelaySettings(
            store=store or f"sqlite:{default_data_dir() / 'relay.sqlite3'}",
            listen=listen,
            public_url=public_url,
            tokens=read_tokens(token_file) if token_file is not None else (),
            tls_certificate=tls_cert,
            tls_key=tls_key,
            stun_port=stun_port,
            is_behind_proxy=behind_proxy,
            limits=replace(
                RelayLimits(),
                connections_max=max_connections,
                connections_per_address_max=max_connections_per_address,
                handshakes_per_min=handshakes_per_minute,
                handshakes_burst=max(max_connections_per_address, 2 * handshakes_per_minute),
            ),
            store_limits=StoreLimits(
                mailbox_bytes_max=mailbox_mib * MIB,
                total_bytes_max=total_mib * MIB,
                retention_s=retention_days * DAY_S,
            ),
        )
        configure_logging(
            cast('Literal["text", "json"]', log_format),
            cast('Literal["debug", "info", "warning", "error"]', log_level),
        )
        for each in unknown:
            logging.getLogger("sheaf.relay").warning("%s", each)
        asyncio.run(_serve(settings, as_json=log_format == "json"))
    except UsageError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    except SheafError as error:
        raise CommandFailed(str(error), ExitCode.FAILED) from error


async def _serve(settings: RelaySettings, *, as_json: bool) -> None:
    """Run, and keep the service manager informed if there is one."""
    from sheaf.clock import SystemClock, system_entropy
    from sheaf.relay.run import run_relay
    from sheaf.task_set import TaskSet
    from sheaf.watchdog import Notifier, watch

    notifier, tasks = Notifier(), TaskSet("relay")

    def on_ready(ready: RelayReady) -> None:
        _announce(ready, settings, as_json=as_json)
        notifier.ready(f"serving at {ready.url}")
        tasks.spawn(watch(notifier, _nothing), "watchdog")

    try:
        await run_relay(
            settings,
            clock=SystemClock(),
            entropy=system_entropy,
            on_ready=on_ready,
            on_stopping=notifier.stopping,
        )
    finally:
        await tasks.close()


async def _nothing() -> None:
    """All a relay proves to be alive is that its loop is on time: a store that is out of reach is told by
    /healthz, and not mended by a restart."""


def _announce(ready: RelayReady, settings: RelaySettings, *, as_json: bool) -> None:
    if as_json:
        facts = {"event": "ready", "url": ready.url, "port": ready.port, "stun_port": ready.stun_port}
        typer.echo(json.dumps(facts))
        return
    token = " (with the token: wss://TOKEN@…)" if settings.tokens else ""
    typer.echo(f"The relay is running. Give people this address{token}:\n\n  {ready.url}\n\nCtrl-C stops it.")
