"""Looks host names up without ever holding anybody up (PROTOCOL §7).

The system's resolver blocks, and cannot be called off: with a DNS server that swallows questions, a
thread sits in it for a minute, and asyncio's own threads would keep the daemon from stopping meanwhile.
So each lookup has a daemon thread of its own, a deadline that does not wait for it, and a small number of
them at once. What was found last is used again while the name cannot be looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from sheaf.core.base.errors import TransportFailure

LOOKUP_S_MAX: Final = 3.0
THREADS_MAX: Final = 16
REMEMBERED_MAX: Final = 64
ATTEMPT_HEAD_START_S: Final = 0.25
"""RFC 8305 section 5: between attempts at one host's addresses."""
ADDRESSES_MAX: Final = 6

Address = tuple[int, Any]
"""(address family, socket address)"""
Lookup = Callable[[str, int], list[Address]]


def look_up(host: str, port: int) -> list[Address]:
    """Ask the system; blocks for as long as it likes. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


class Resolver:
    """Host names to addresses.

    Invariants:
    1. At most `THREADS_MAX` lookups are under way, one per name and port; none is ever waited for at the end.
    2. No caller waits longer than `LOOKUP_S_MAX`.
    """

    def __init__(self, *, lookup: Lookup = look_up, links: Callable[[], Sequence[int]] = tuple) -> None:
        """
        Args:
            lookup: asks the system; blocks.
            links: numbers of the interfaces on which a link-local address without a scope is tried. The
                scope is always this computer's: a ticket or a peer cannot know it.
        """
        self._lookup = lookup
        self._links = links
        self._under_way: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._known: OrderedDict[tuple[str, int], list[Address]] = OrderedDict()

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Where `host` (a name or a literal) is, best first.

        Raises:
            TransportFailure: the name is unknown, or nobody answers; fit to show.
        """
        literal = _literal(host, port)
        if literal is not None:
            return self._on_each_link(literal)
        key = (host, port)
        future = self._under_way.get(key) or self._start(key)
        try:
            async with asyncio.timeout(LOOKUP_S_MAX):  # (2)
                return await asyncio.shield(future)
        except TimeoutError as error:
            failure = f"the name {host} cannot be looked up: no answer from DNS"
            return self._known_or(key, failure, error)
        except OSError as error:
            return self._known_or(key, f"the name {host} is not known: {error.strerror or error}", error)

    def _on_each_link(self, literal: Address) -> list[Address]:
        family, where = literal
        if family != socket.AF_INET6 or where[3] != 0 or not ipaddress.ip_address(where[0]).is_link_local:
            return [literal]
        return [(family, (*where[:3], link)) for link in self._links()[:ADDRESSES_MAX]] or [literal]

    def _known_or(self, key: tuple[str, int], failure: str, error: Exception) -> list[Address]:
        known = self._known.get(key)
        if known is None:
            raise TransportFailure(failure) from error
        return known

    def _start(self, key: tuple[str, int]) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Address]] = loop.create_future()
        if len(self._under_way) >= THREADS_MAX:  # (1)
            future.set_exception(OSError("too many lookups are waiting already"))
            return future
        self._under_way[key] = future

        def work() -> None:
            try:
                outcome: list[Address] | OSError = self._lookup(*key)[:ADDRESSES_MAX]
            except (OSError, UnicodeError) as error:
                outcome = error if isinstance(error, OSError) else OSError("not a host name")
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._finished, key, future, outcome)

        threading.Thread(target=work, name=f"look up {key[0]}", daemon=True).start()
        return future

    def _finished(
        self, key: tuple[str, int], future: asyncio.Future[list[Address]], outcome: list[Address] | OSError
    ) -> None:
        self._under_way.pop(key, None)
        if isinstance(outcome, OSError):
            future.set_exception(outcome)
            future.exception()  # those who asked may have stopped waiting
            return
        self._known[key] = outcome
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        future.set_result(outcome)


async def open_tcp(resolver: Resolver, host: str, port: int) -> socket.socket:
    """A connected TCP socket; several addresses of a name race with head starts (RFC 8305).

    Raises:
        TransportFailure: the name cannot be looked up.
        OSError: nobody listens at any address. The caller holds the deadline.
    """
    addresses = await resolver.addresses(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0], 0)
    failure: OSError = ConnectionRefusedError("no address")
    async with asyncio.TaskGroup() as group:
        racing = {group.create_task(_outcome(each, n)) for n, each in enumerate(addresses)}
        winner: socket.socket | None = None
        try:
            while racing and winner is None:
                finished, racing = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
                for outcome in (task.result() for task in finished):
                    if isinstance(outcome, OSError):
                        failure = outcome
                    elif winner is None:
                        winner = outcome
                    else:
                        outcome.close()
        finally:
            for task in racing:
                task.add_done_callback(_close_late)
                task.cancel()
    if winner is None:
        raise failure
    return winner


def _close_late(task: asyncio.Task[socket.socket | OSError]) -> None:
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), socket.socket):
        task.result().close()  # type: ignore[union-attr]  # just looked


async def _outcome(address: Address, number: int) -> socket.socket | OSError:
    try:
        return await _connect(address, number * ATTEMPT_HEAD_START_S)
    except OSError as error:
        return error


async def _connect(address: Address, delay_s: float) -> socket.socket:
    await asyncio.sleep(delay_s)
    family, where = address
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _literal(host: str, port: int) -> Address | None:
    """The address a literal stands for, scopes included; None for names. Never asks anybody."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    family, _, _, _, address = found[0]
    return family, address
