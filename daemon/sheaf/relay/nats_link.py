"""One connection to NATS, renewed for ever, and what this node listens to on it (PROTOCOL §7 "Fleet").

Each connection is a life of its own: when one ends, everything that was believed because of it is
forgotten by whoever asks to be told (`on_up`, `on_ready`), and the next one starts from nothing. The
library's own reconnecting, which goes on with old subscriptions and half-sent requests, stays off.
Knows neither mailboxes nor rendezvous ids. Decision 0052.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import APIError, ServiceUnavailableError

from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.nats_address import NatsAddress
from sheaf.relay.nats_subjects import Handler, ManySubjects
from sheaf.task_set import TaskSet

REQUEST_S: Final = 4.0
"""An answer that takes longer is none: clients of the relay wait 10 s for theirs."""
_LISTENER_S: Final = 0.5
_AGAIN_S: Final = 0.05
"""In a cluster of NATS servers a new listener is known everywhere only a moment later: ask twice."""
_CONNECT_S: Final = 5
_CLOSE_S: Final = 1.0
_PING_S: Final = 5
_PINGS_MAX: Final = 2
"""A NATS that is silent for 15 s is gone."""
_DELAY_MIN_S: Final = 0.1
_DELAY_MAX_S: Final = 3.0
_DELAY_FACTOR: Final = 1.5
_NO_NATS: Final = (ValueError, TypeError, LookupError, AttributeError, EOFError)
"""What the library also raises when something else answers on that port."""
_FULL_CODES: Final = frozenset({10023, 10047, 10077, 10122})
"""JetStream: insufficient resources, no storage, maximum bytes."""
_OFF_CODES: Final = frozenset({10039, 10076})
"""JetStream: not enabled, for this account or at all."""

Hook = Callable[[Client], Awaitable[None]]

_log = logging.getLogger(__name__)


class NatsUnfit(Exception):
    """This NATS answers, but cannot serve us; `str()` says what to change."""


class NatsLink:
    """The connection of one node.

    Invariants:
    1. `on_up` hooks have all succeeded, and every listener is subscribed, before `client` is handed out.
    2. A listener that was added stays until `unlisten`, over any number of connections.
    """

    def __init__(
        self, *, address: NatsAddress, name: str, jitter: Callable[[], float] = random.random
    ) -> None:
        """`name`: shown in NATS's own monitoring; `jitter()`: from 0 to 1, spreads attempts."""
        self._address = address
        self._name = name
        self._jitter = jitter
        self._client: Client | None = None
        self._listeners: dict[str, Handler] = {}
        self._quick: set[str] = set()
        self._subjects: ManySubjects | None = None
        self._unlisten: dict[str, Callable[[str], Awaitable[None]]] = {}
        self._on_up: list[Hook] = []
        self._on_ready: list[Callable[[], None]] = []
        self._is_started = False
        self._is_closed = False
        self._tried = asyncio.Event()
        self._tasks = TaskSet("nats")
        self.problem: str | None = "NATS has not been reached yet"
        """Why there is no connection; None when there is one."""

    @property
    def is_up(self) -> bool:
        """Whether requests can be made."""
        return self._client is not None

    @property
    def client(self) -> Client:
        """The connection. Raises RelayRefused UNAVAILABLE while there is none."""
        if self._client is None:
            raise RelayRefused(RefusalCode.UNAVAILABLE)
        return self._client

    def on_up(self, hook: Hook) -> None:
        """`await hook(client)` on each new connection, before anybody else may use it.

        It may raise `NatsUnfit`: then the connection is given up, and tried again later.
        """
        self._on_up.append(hook)

    def on_ready(self, callback: Callable[[], None]) -> None:
        """`callback()` when a new connection may be used; only enqueues."""
        self._on_ready.append(callback)

    async def start(self) -> None:
        """Begin, once; returns when the first attempt has succeeded or failed."""
        if not self._is_started:
            self._is_started = True
            self._tasks.spawn(self._keep_connected(), "connection")
        await self._tried.wait()

    async def close(self) -> None:
        """End the connection. Idempotent."""
        self._is_closed = True
        client, self._client = self._client, None
        await self._tasks.close()
        if client is not None:
            await _close(client)

    # ------------------------------------------------------------------ listening

    async def listen(self, subject: str, handler: Handler, *, is_quick: bool = False) -> None:
        """From now on `handler` gets what is published there; see `settle` for when it is in force.

        `is_quick`: it does not wait for anything, and shares a queue with all others that do not.
        """
        self._listeners[subject] = handler
        if is_quick:
            self._quick.add(subject)
        if self._client is not None:
            with refusing():
                await self._subscribe(self._client, subject)

    async def unlisten(self, subject: str) -> None:
        """No more of it. Never raises."""
        self._listeners.pop(subject, None)
        self._quick.discard(subject)
        if (end := self._unlisten.pop(subject, None)) is not None:
            with contextlib.suppress(NatsError, OSError):
                await end(subject)

    async def settle(self) -> None:
        """Wait until the server knows everything said so far. Raises RelayRefused UNAVAILABLE."""
        with refusing():
            await _settle(self.client)

    async def _subscribe(self, client: Client, subject: str) -> None:
        handler = self._listeners.get(subject)
        if handler is None:
            return
        if subject in self._quick and self._subjects is not None:
            await self._subjects.add(subject)
            self._unlisten[subject] = self._end_quick
        else:
            subscription = await client.subscribe(subject, cb=handler)
            self._unlisten[subject] = lambda _: subscription.unsubscribe()
        if subject not in self._listeners:  # withdrawn meanwhile
            await self.unlisten(subject)

    async def _end_quick(self, subject: str) -> None:
        if self._subjects is not None:
            await self._subjects.remove(subject)

    # ------------------------------------------------------------------ speaking

    async def publish(self, subject: str, data: bytes) -> None:
        """To whoever listens. Raises RelayRefused UNAVAILABLE."""
        with refusing():
            await self.client.publish(subject, data)

    async def ask(self, subject: str, data: bytes, timeout_s: float = REQUEST_S) -> bytes | None:
        """The first answer, or None when nobody listens or nobody answers in time.

        Raises RelayRefused UNAVAILABLE.
        """
        pauses_s = (_AGAIN_S, None) if self._address.is_cluster else (None,)
        with refusing():
            for pause_s in pauses_s:
                try:
                    return (await self.client.request(subject, data, timeout=timeout_s)).data
                except NoRespondersError:
                    if pause_s is not None:
                        await asyncio.sleep(pause_s)
                except TimeoutError:
                    return None
        return None

    async def has_listener(self, subject: str) -> bool:
        """Whether anybody listens there, as far as NATS knows. Raises RelayRefused UNAVAILABLE."""
        with refusing():
            try:
                await self.client.request(subject, b"", timeout=_LISTENER_S)
            except NoRespondersError:
                return False
            except TimeoutError:
                return True
        return True

    # ------------------------------------------------------------------ connection

    async def _keep_connected(self) -> None:
        delay_s = _DELAY_MIN_S
        while not self._is_closed:  # the library may swallow our being cancelled
            ended = asyncio.Event()
            client = await self._connect(ended)
            self._tried.set()
            if client is not None:
                delay_s = _DELAY_MIN_S
                if not self._is_closed:
                    await ended.wait()
                self._forget()
                await _close(client)
            await asyncio.sleep(delay_s * (0.5 + self._jitter()))
            delay_s = min(delay_s * _DELAY_FACTOR, _DELAY_MAX_S)

    async def _connect(self, ended: asyncio.Event) -> Client | None:
        client = Client()
        try:
            async with asyncio.timeout(2 * _CONNECT_S):
                await self._open(client, ended)
                self._subjects = ManySubjects(client, self._listeners.get)
                await self._subjects.open()
                for hook in self._on_up:
                    await hook(client)
                while missing := [each for each in self._listeners if each not in self._unlisten]:
                    for subject in missing:
                        await self._subscribe(client, subject)
                    await _settle(client)
        except (NatsError, OSError, TimeoutError, RelayRefused, NatsUnfit, *_NO_NATS) as error:
            self._unlisten.clear()
            self._blame(error)
            await _close(client)
            return None
        if ended.is_set():
            return None
        self._client, self.problem = client, None
        _log.info("NATS is there", extra={"nats": self._address.shown})
        for callback in self._on_ready:
            callback()
        return client

    async def _open(self, client: Client, ended: asyncio.Event) -> None:
        async def closed() -> None:
            ended.set()

        await client.connect(
            servers=list(self._address.servers),
            name=self._name,
            closed_cb=closed,
            error_cb=_note,
            no_echo=True,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_S,
            ping_interval=_PING_S,
            max_outstanding_pings=_PINGS_MAX,
        )

    def _blame(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        problem = f"NATS at {self._address.shown} cannot be used: {why}"
        if problem != self.problem:
            _log.warning("NATS cannot be used", extra={"nats": self._address.shown, "error": why})
        self.problem = problem

    def _forget(self) -> None:
        if self._client is None:
            return
        self._client = None
        self._unlisten.clear()
        self.problem = f"NATS at {self._address.shown} went away"
        _log.warning("NATS went away", extra={"nats": self._address.shown})


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn what the NATS library raises into `RelayRefused`."""
    try:
        yield
    except APIError as error:
        is_full = error.err_code in _FULL_CODES
        raise RelayRefused(RefusalCode.FULL if is_full else RefusalCode.UNAVAILABLE) from error
    except (NatsError, OSError, TimeoutError) as error:
        raise RelayRefused(RefusalCode.UNAVAILABLE) from error


@contextlib.contextmanager
def needing_jetstream() -> Iterator[None]:
    """Say what is wrong with a NATS without JetStream."""
    try:
        yield
    except ServiceUnavailableError as error:
        if error.err_code in (None, *_OFF_CODES):
            raise NatsUnfit("JetStream is off there: start nats-server with -js") from None
        raise


async def _settle(client: Client) -> None:
    """Wait until the server has read everything said so far. Raises as the library does.

    The library's `flush` alone does not wait for that: its PING goes straight to the socket, past the
    subscriptions that still wait in the buffer, and so PONG comes before the server has read them.
    """
    await client._flush_pending(force_flush=True)
    task = asyncio.current_task()
    if task is not None and task.cancelling():  # the library swallows a cancellation while it waits there
        raise asyncio.CancelledError
    await client.flush(timeout=_CONNECT_S)


async def _close(client: Client) -> None:
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):  # after a TLS handshake that failed the library waits for ever
            await client.close()


async def _note(error: Exception) -> None:
    _log.debug("nats: %s", type(error).__name__)
