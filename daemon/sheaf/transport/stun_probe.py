"""Finds out in the background which STUN servers answer, and how this computer looks from outside.

A server that does not answer must never hold a connection up, so connections ask only those that
answered the last probe, from the very address they answered to. Two servers together also tell whether the
router translates alike for everybody (`NatKind`, RFC 5780 section 4.3 in the small). RFC 8489; PROTOCOL §5.
Knows nothing of relays beyond the addresses it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, cast

from sheaf.core.base.errors import TransportFailure
from sheaf.ports import NatKind, StunReport, StunServerStatus
from sheaf.transport.description import is_reachable_unicast
from sheaf.transport.stun_route import StunRoute

_log = logging.getLogger(__name__)

SERVERS_MAX: Final = 8
LOCALS_MAX: Final = 8
ANSWER_S_MAX: Final = 1.5
RESEND_S: Final = (0.25, 0.5)
"""After the first request, then after the second; the third is the last."""
EVERY_S: Final = 120.0
EVERY_DEAD_S: Final = 30.0
"""While no server answers."""
STALE_S: Final = 5.0
"""That nobody answers is believed for so long; then a connection that wants STUN has them asked again."""
PATIENCE_S: Final = 0.5
"""How long a connection waits for the first answer of a probe that is under way."""

Lookup = Callable[[str, int], Awaitable[Sequence[tuple[int, Any]]]]
"""Host and port to (family, socket address)es. Raises TransportFailure."""
Mapped = tuple[str, int]


@dataclass(slots=True, eq=False)
class _Server:
    """One server as it was given, and what became of asking it."""

    text: str
    answers: dict[StunRoute, Mapped] = field(default_factory=dict)
    rtt_s: float | None = None


class StunProbe:
    """See the module. `run` is a task.

    Args:
        servers: 'host:port' of each server to be asked now; asked anew for every probe.
        addresses: the local addresses connections are made from.
        lookup: names to addresses.

    Invariants:
    1. A probe lasts `ANSWER_S_MAX` after the lookups and leaves no socket behind.
    2. `routes` holds only what answered in the newest probe, or so far in the one under way.
    3. A server that comes is asked at once, also in the middle of a probe that waits for a dead one.
    4. No server waits for another's name or answer.
    """

    def __init__(
        self,
        *,
        servers: Callable[[], Sequence[str]],
        addresses: Callable[[], Sequence[str]],
        lookup: Lookup,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._addresses = addresses
        self._lookup = lookup
        self._listeners: list[Callable[[], None]] = []
        self._now = now
        self._probed_at = float("-inf")
        self._found: list[_Server] = []
        self._asked: tuple[str, ...] = ()
        self._hurry = asyncio.Event()
        self._hurry.set()
        self._progress = asyncio.Event()
        self._is_probing = False

    def hurry(self) -> None:
        """Addresses of this machine changed: what was found out says nothing any more."""
        self._found, self._asked = [], ()
        self._hurry.set()

    def on_alive(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever somebody answers and nobody did before; it only enqueues."""
        self._listeners.append(listener)

    def servers_changed(self) -> None:
        """Relays came or went: ask again if that makes a difference."""
        if tuple(self._servers())[:SERVERS_MAX] != self._asked:
            self._hurry.set()

    async def routes(self) -> Sequence[StunRoute]:
        """What works now; while that is being found out, the first answer is awaited for half a second."""
        is_stale = self._now() - self._probed_at > STALE_S
        if self._asked and is_stale and not self._is_probing and not self._routes():
            self._hurry.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (self._is_probing or self._hurry.is_set()) and not self._routes():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return []
        return self._routes()

    def report(self) -> StunReport:
        """For people."""
        return StunReport(tuple(_status(server) for server in self._found), _nat(self._found))

    async def run(self) -> None:
        """Probe at once, then now and again, until cancelled."""
        while True:
            self._hurry.clear()
            was_alive = bool(self._routes())
            try:
                await self._probe_unless_hurried()
            except Exception:  # noqa: BLE001  # nobody would ask again if this task ended
                _log.exception("asking STUN servers failed by a defect")
            self._probed_at = self._now()
            if self._routes() and not was_alive:
                for listener in self._listeners:
                    listener()
            pause_s = EVERY_S if self._routes() or not self._asked else EVERY_DEAD_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hurry.wait()

    async def _probe_unless_hurried(self) -> None:
        """One probe; given up for a new one as soon as there are other servers or addresses (3)."""
        self._is_probing = True
        try:
            async with asyncio.TaskGroup() as group:
                probing = group.create_task(self._probe())
                hurried = group.create_task(self._hurry.wait())
                await asyncio.wait({probing, hurried}, return_when=asyncio.FIRST_COMPLETED)
                probing.cancel()
                hurried.cancel()
        finally:
            self._is_probing = False
            self._progress.set()

    def _routes(self) -> list[StunRoute]:
        return [route for server in self._found for route in server.answers]

    async def _probe(self) -> None:
        self._asked = tuple(self._servers())[:SERVERS_MAX]
        fresh = [_Server(text) for text in dict.fromkeys(self._asked)]
        before, self._found = self._found, fresh
        locals_ = tuple(self._addresses())[:LOCALS_MAX]
        if not fresh or not locals_:
            return
        for server in fresh:  # for people, until the answer is there
            earlier = next((old for old in before if old.text == server.text), None)
            server.rtt_s = None if earlier is None else earlier.rtt_s
        async with AsyncExitStack() as stack:
            askers = await self._open(locals_, stack)
            async with asyncio.TaskGroup() as group:
                for server in fresh:
                    group.create_task(self._ask_all(server, askers))

    async def _open(self, locals_: Sequence[str], stack: AsyncExitStack) -> dict[str, _Asker]:
        """A socket for each local address, the same for all servers, so that answers can be compared."""
        loop = asyncio.get_running_loop()
        stun = await asyncio.to_thread(import_module, "aioice.stun")
        askers: dict[str, _Asker] = {}
        for local in locals_:
            try:
                transport, asker = await loop.create_datagram_endpoint(
                    lambda: _Asker(stun), local_addr=(local, 0)
                )
            except OSError:
                continue  # the address went away meanwhile
            stack.callback(transport.close)
            askers[local] = asker
        return askers

    async def _ask_all(self, server: _Server, askers: dict[str, _Asker]) -> None:
        """One server from every address; a name that is not found holds up nobody else (4)."""
        host, _, port = server.text.rpartition(":")
        try:
            found = await self._lookup(host.strip("[]"), int(port))
        except (TransportFailure, ValueError):
            return
        by_family = {family: (str(where[0]), int(where[1])) for family, where in reversed(found)}
        async with asyncio.TaskGroup() as group:
            for where in by_family.values():
                for local, asker in askers.items():
                    if (":" in where[0]) == (":" in local):
                        group.create_task(self._ask(asker, server, StunRoute(local, where)))

    async def _ask(self, asker: _Asker, server: _Server, route: StunRoute) -> None:
        began = self._now()
        mapped = await asker.ask(route.server)
        if mapped is None or server not in self._found:
            return
        server.answers[route] = mapped
        server.rtt_s = self._now() - began
        self._progress.set()


class _Asker(asyncio.DatagramProtocol):
    """Binding requests from one socket. `stun` is aioice's module, imported late."""

    def __init__(self, stun: Any) -> None:
        self._stun = stun
        self._waiting: dict[bytes, tuple[Mapped, asyncio.Future[Mapped]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    async def ask(self, server: Mapped) -> Mapped | None:
        """How we look to this server; None when it does not say so in time."""
        assert self._transport is not None
        request = self._stun.Message(
            message_method=self._stun.Method.BINDING, message_class=self._stun.Class.REQUEST
        )
        answer: asyncio.Future[Mapped] = asyncio.get_running_loop().create_future()
        self._waiting[request.transaction_id] = (server, answer)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                for pause_s in (*RESEND_S, ANSWER_S_MAX):
                    self._transport.sendto(bytes(request), server)
                    await asyncio.wait({answer}, timeout=pause_s)
                    if answer.done():
                        return answer.result()
        except (TimeoutError, OSError):
            return None
        finally:
            del self._waiting[request.transaction_id]
        return None

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            message = self._stun.parse_message(data)
            mapped = message.attributes["XOR-MAPPED-ADDRESS"]
            address = ipaddress.ip_address(mapped[0])
        except (ValueError, KeyError, struct.error):
            return
        server, answer = self._waiting.get(message.transaction_id, (None, None))
        is_answer = message.message_class == self._stun.Class.RESPONSE and server == (addr[0], addr[1])
        if (
            answer is not None
            and not answer.done()
            and is_answer
            and is_reachable_unicast(address, is_loopback_allowed=False)
        ):
            answer.set_result((str(address), int(mapped[1])))

    def error_received(self, exc: Exception) -> None:
        """Not reachable: the deadline tells."""


def _status(server: _Server) -> StunServerStatus:
    mapped = next(iter(server.answers.values()), None)
    return StunServerStatus(
        address=server.text,
        is_alive=mapped is not None,
        mapped=None if mapped is None else _host_port(mapped),
        rtt_ms=None if mapped is None or server.rtt_s is None else server.rtt_s * 1000,
    )


def _nat(servers: Sequence[_Server]) -> NatKind:
    """What the answers to one local IPv4 address have in common; IPv6 is not translated."""
    seen: dict[str, dict[Mapped, Mapped]] = {}
    for server in servers:
        for route, mapped in server.answers.items():
            if mapped[0] == route.local:
                return NatKind.NONE
            if ":" not in route.local:
                seen.setdefault(route.local, {})[route.server] = mapped
    kinds = [len(set(answers.values())) for answers in seen.values() if len(answers) > 1]
    if not kinds:
        return NatKind.UNKNOWN
    return NatKind.SYMMETRIC if max(kinds) > 1 else NatKind.STABLE


def _host_port(where: Mapped) -> str:
    return f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"
