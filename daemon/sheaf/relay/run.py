"""The relay program: puts the parts together, looks after them, ends in order (PROTOCOL §7).

Which store and which fleet it uses comes from `--store`; nothing else here differs between one node
and many. The clocks, entropy and logging are the command line's to give.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from sheaf import __version__
from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.wire.relay_frames import Welcome
from sheaf.core.wire.relay_words import OPERATOR_TOKEN_BYTES_MAX, RELAY_VERSION, RelayRefused
from sheaf.ports.clock import Clock
from sheaf.relay.fleet import Fleet, LocalFleet
from sheaf.relay.hub import Hub
from sheaf.relay.limits import Addresses, RelayLimits
from sheaf.relay.listening import (
    WILDCARDS,
    bind_tcp,
    bind_udp,
    load_certificate,
    parse_listen,
    shown,
    tls_context,
)
from sheaf.relay.mailboxes import Mailboxes, NewsBoard
from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.server import RelayServer
from sheaf.relay.session import Sessions
from sheaf.relay.sqlite_store import open_sqlite_store
from sheaf.relay.store import MailboxStore, OnNews, StoreLimits, hash_token
from sheaf.relay.stun import serve_stun
from sheaf.relay.tunnels import Tunnels
from sheaf.stop_signals import StopSignals
from sheaf.task_set import TaskSet

with contextlib.suppress(ImportError):
    import resource  # not on Windows

_TICK_S: Final = 1.0
_EXPIRE_EVERY_S: Final = 300.0
_CHECK_EVERY_S: Final = 5.0
_FILES_BESIDES: Final = 64
_log = structlog.get_logger("sheaf.relay")


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What an operator chooses."""

    store: str
    """`sqlite:PATH`, or the URL of a NATS server."""
    listen: str = "127.0.0.1:7412"
    public_url: str | None = None
    """How clients reach this node; None: as it listens."""
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    stun_port: int | None = None
    """0: none; None: as the WebSocket's."""
    is_behind_proxy: bool = False
    limits: RelayLimits = field(default_factory=RelayLimits)
    store_limits: StoreLimits = field(default_factory=StoreLimits)


@dataclass(frozen=True, slots=True)
class RelayReady:
    """What a relay says when it serves."""

    url: str
    port: int
    stun_port: int


class Relay:
    """One node, put together by `start`."""

    def __init__(self, settings: RelaySettings, *, clock: Clock, entropy: Callable[[int], bytes]) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self.metrics = RelayMetrics()
        self._stack = AsyncExitStack()
        self._tasks = TaskSet("relay")
        self._store_answers = True
        self._stun_port = 0
        self._tls: ssl.SSLContext | None = None

    async def start(self) -> RelayReady:
        """Open the store, listen, serve.

        Raises:
            SheafError: what does not work, for the operator; nothing is left open.
        """
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Tell clients to go, then end. Takes a few seconds; idempotent."""
        await self._server.drain()
        await self.close()

    async def close(self) -> None:
        """End without a word."""
        await self._stack.aclose()

    def reload(self) -> None:
        """Read the certificate again; a bad one leaves the old in use."""
        settings = self._settings
        if self._tls is None or settings.tls_certificate is None or settings.tls_key is None:
            return
        try:
            load_certificate(self._tls, settings.tls_certificate, settings.tls_key)
        except UsageError as error:
            _log.error("the certificate was not reloaded", error=str(error))
        else:
            _log.info("certificate reloaded")

    # ------------------------------------------------------------------ putting together

    async def _start(self) -> RelayReady:
        settings, clock, metrics = self._settings, self._clock, self.metrics
        self._tls = _tls(settings)
        sockets = bind_tcp(*parse_listen(settings.listen))
        self._stack.callback(_close_all, sockets)
        port = int(sockets[0].getsockname()[1])
        url = settings.public_url or _own_url(settings, sockets[0])

        news = NewsBoard()
        store, fleet = await self._open_store(url, news.changed)
        self._stack.push_async_callback(store.close)
        self._stack.push_async_callback(fleet.close)
        addresses = Addresses(limits=settings.limits, now=clock.now)
        hub = Hub(
            fleet=fleet, limits=settings.limits, addresses=addresses, metrics=metrics, entropy=self._entropy
        )
        await fleet.start(hub)
        mailboxes = Mailboxes(
            store=store, news=news, limits=settings.limits, addresses=addresses, metrics=metrics
        )
        self._stack.push_async_callback(mailboxes.close)
        self._server = RelayServer(
            sessions=Sessions(
                welcome=self._welcome,
                token_hashes=[hash_token(token) for token in settings.tokens],
                hub=hub,
                mailboxes=mailboxes,
                tunnels=Tunnels(fleet=fleet, limits=settings.limits, metrics=metrics, now=clock.now),
                limits=settings.limits,
                metrics=metrics,
                now=clock.now,
            ),
            limits=settings.limits,
            addresses=addresses,
            metrics=metrics,
            now=clock.now,
            is_healthy=lambda: self._store_answers and fleet.is_up,
            is_behind_proxy=settings.is_behind_proxy,
        )
        self._stack.push_async_callback(self._tasks.close)
        self._stack.push_async_callback(self._server.close)
        self._stun_port = await self._start_stun(port)
        await self._check_store(mailboxes)
        await self._server.start(sockets, self._tls)
        self._tasks.spawn(self._tick(fleet), "tick")
        self._tasks.spawn(
            self._every(_CHECK_EVERY_S, lambda: self._check_store(mailboxes)), "check the store"
        )
        self._tasks.spawn(self._expire_often(store), "expire")
        self._say_started(url, port)
        return RelayReady(url=url, port=port, stun_port=self._stun_port)

    def _say_started(self, url: str, port: int) -> None:
        """One line with what somebody has to know who reads this log later. No tokens, no passwords."""
        settings = self._settings
        off = {"TLS": self._tls, "STUN": self._stun_port, "tokens": settings.tokens}
        _log.info(
            "started",
            version=__version__,
            url=url,
            listen=shown(parse_listen(settings.listen)[0], port),
            stun_port=self._stun_port,
            store=_shown_store(settings.store),
            behind_proxy=settings.is_behind_proxy,
            off=[name for name, part in off.items() if not part],
            python=platform.python_version(),
            system=platform.platform(),
        )

    async def _start_stun(self, websocket_port: int) -> int:
        """The port that answers STUN; 0: none. Behind a proxy, which carries no UDP, on every address.

        Raises:
            TransportFailure: the port that was asked for cannot be had.
        """
        settings = self._settings
        if settings.stun_port == 0:
            return 0
        host = "" if settings.is_behind_proxy else parse_listen(settings.listen)[0]
        port = settings.stun_port or websocket_port
        try:
            sockets = bind_udp(host, port)
        except OSError as error:
            if settings.stun_port is not None:
                raise TransportFailure(
                    f"cannot answer STUN on UDP port {port}: {error.strerror or error}. "
                    "Choose another with --stun-port, or 0 for none"
                ) from error
            _log.warning("no STUN: the UDP port is taken", port=port)
            return 0
        for transport in await serve_stun(sockets, metrics=self.metrics, now=self._clock.now):
            self._stack.callback(transport.close)
        return port

    async def _open_store(self, url: str, on_news: OnNews) -> tuple[MailboxStore, Fleet]:
        settings, clock = self._settings, self._clock
        kind, _, rest = settings.store.partition(":")
        if kind == "sqlite" and rest:
            store = await open_sqlite_store(
                Path(rest),
                limits=settings.store_limits,
                on_news=on_news,
                now_s=lambda: clock.wall_ms() / 1000,
                entropy=self._entropy,
            )
            return store, LocalFleet(now=clock.now, choose=self._choose)
        if kind in ("nats", "tls"):
            return self._open_nats(url, on_news)
        raise UsageError("--store takes sqlite:PATH or nats://HOST:PORT; what it was given is neither.")

    def _open_nats(self, url: str, on_news: OnNews) -> tuple[MailboxStore, Fleet]:
        try:
            from sheaf.relay.nats_backend import open_nats
        except ImportError as error:
            raise UsageError(
                "--store nats://… needs the NATS library, and it is not installed. If pipx installed Sheaf:"
                " `pipx inject sheafd nats-py`; otherwise, with the pip of Sheaf's environment:"
                " `pip install nats-py`."
            ) from error
        clock = self._clock
        return open_nats(
            self._settings.store,
            url=url,
            limits=self._settings.store_limits,
            on_news=on_news,
            now=clock.now,
            now_s=lambda: clock.wall_ms() / 1000,
            choose=self._choose,
            entropy=self._entropy,
        )

    def _choose(self, count: int) -> int:
        return int.from_bytes(self._entropy(8), "big") % count

    def _welcome(self) -> Welcome:
        settings = self._settings
        return Welcome(
            version=RELAY_VERSION,
            needs_token=bool(settings.tokens),
            item_bytes_max=settings.store_limits.item_bytes_max,
            mailbox_bytes_max=settings.store_limits.mailbox_bytes_max,
            rids_max=settings.limits.rids_max,
            stun_port=self._stun_port,
        )

    # ------------------------------------------------------------------ looking after it

    async def _tick(self, fleet: Fleet) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._server.look_around()
            await fleet.tick()

    async def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval_s)
            await work()

    async def _check_store(self, mailboxes: Mailboxes) -> None:
        try:
            self.metrics.totals(await mailboxes.totals())
        except RelayRefused as refusal:
            if self._store_answers:
                _log.error("the store does not answer", why=str(refusal))
            self._store_answers = False
        else:
            if not self._store_answers:
                _log.info("the store answers again")
            self._store_answers = True
        self.metrics.store_up.set(self._store_answers)

    async def _expire_often(self, store: MailboxStore) -> None:
        while True:
            try:
                self.metrics.expired.inc(await store.expire(self._clock.wall_ms() / 1000))
            except RelayRefused:
                _log.warning("old items were not dropped: the store does not answer")
            await asyncio.sleep(_EXPIRE_EVERY_S)


async def run_relay(
    settings: RelaySettings,
    *,
    clock: Clock,
    entropy: Callable[[int], bytes],
    on_ready: Callable[[RelayReady], None],
    on_stopping: Callable[[], None],
) -> None:
    """Serve until SIGTERM, SIGINT or the end of the terminal; SIGHUP reads the certificate again.

    Raises:
        SheafError: it cannot start; the text says what to do.
    """
    _allow_files(settings.limits.connections_max)
    relay = Relay(settings, clock=clock, entropy=entropy)
    stop = StopSignals(reload=relay.reload if settings.tls_certificate is not None else None).listen()
    on_ready(await relay.start())
    try:
        await stop.wait()
        on_stopping()
        _log.info("stopping")
        await relay.stop()
    finally:
        await relay.close()


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """The operator tokens in a file, one a line; blank lines and lines with # are skipped.

    Raises:
        UsageError: unreadable, empty, or a line is too long.
    """
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UsageError(f"The token file {path} cannot be read: {error.strerror}") from error
    tokens = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not tokens or any(len(token) > OPERATOR_TOKEN_BYTES_MAX for token in tokens):
        raise UsageError(f"{path} must hold one token a line, each at most {OPERATOR_TOKEN_BYTES_MAX} bytes.")
    return tokens


def _allow_files(connections_max: int) -> None:
    """Ask for as many open files as there may be connections."""
    if os.name == "nt":
        return  # sockets are no files there
    wanted = connections_max + _FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning("fewer open files than connections: raise the limit (LimitNOFILE=)", files=hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))


def _tls(settings: RelaySettings) -> ssl.SSLContext | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("--tls-cert and --tls-key belong together.")
    return tls_context(certificate, key)


def _own_url(settings: RelaySettings, bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    if parse_listen(settings.listen)[0] in WILDCARDS:
        host = socket.gethostname()
    return f"{'wss' if settings.tls_certificate else 'ws'}://{shown(host, port)}"


def _shown_store(store: str) -> str:
    """Where mailboxes are kept, without credentials."""
    scheme, colon, rest = store.partition(":")
    return f"{scheme}{colon}{rest.rpartition('@')[2]}" if scheme != "sqlite" else store


def _close_all(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
