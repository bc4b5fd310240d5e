"""aioice with the door locked: what Sheaf adds to its connection before trusting it.

Five gaps of aioice 0.13 are closed by subclassing (FAULTS N5, N6, N19):
an empty datagram from anybody ends the DTLS pump above; datagrams from anybody are queued
without limit; every interface of the machine becomes a candidate; a STUN server that does
not answer holds everything up for five seconds; link-local IPv6 addresses, the only ones on
a cable between two computers, are passed over. Imported lazily.
Knows nothing of DTLS, SCTP or Sheaf's frames.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from aioice import ice, stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import CANDIDATES_MAX
from sheaf.transport.description import is_link_local, is_reachable_unicast
from sheaf.transport.stun_route import StunRoute

STUN_S_MAX: Final = 1.0
"""For the answers of servers that were alive a moment ago; usually it takes a round trip."""
STUN_QUESTIONS_MAX: Final = 8
EARLY_DATAGRAMS_MAX: Final = 64
"""Kept until a pair is nominated: a DTLS flight is below ten datagrams."""
QUEUED_DATAGRAMS_MAX: Final = 4096
"""Kept afterwards: four times what a full congestion window carries."""
_RECEIVE_BUFFER_BYTES: Final = 1 << 20
_SEND_BUFFER_BYTES: Final = 1 << 20


class LocalCandidate(Candidate):
    """A candidate of ours. Link-local addresses pair with link-local ones only: on a link there is no way
    to others, and to one of them none but over a link."""

    def can_pair_with(self, other: Candidate) -> bool:
        """As in aioice, and both are of a link or neither is."""
        return super().can_pair_with(other) and _is_of_link(self.host) == _is_of_link(other.host)


class GuardedStunProtocol(ice.StunProtocol):
    """One UDP socket. Passes STUN on, and data only from candidates of the peer.

    `link` is the number of the interface whose link-local address the socket has, else 0. It is put into
    every address sent to: the peer's are without a scope, which is ours to say.
    """

    link = 0

    async def send_data(self, data: bytes, addr: tuple[str, int]) -> None:
        """See aioice."""
        self.transport.sendto(data, self._on_link(addr))

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        """See aioice."""
        self.transport.sendto(bytes(message), self._on_link(addr))

    def _on_link(self, addr: tuple[str, int]) -> tuple[str | int, ...]:
        return (*addr, 0, self.link) if self.link else addr

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Drop what is empty and what is data from a stranger; the rest is aioice's."""
        if not data:
            return
        datagram = cast(bytes, data)
        connection = cast(GuardedConnection, self.receiver)
        if _looks_like_stun(datagram):
            if connection.is_listening(self):
                super().datagram_received(datagram, addr)
        elif connection.is_from_peer(addr):
            connection.data_received(datagram, self.local_candidate.component)


class GuardedConnection(ice.Connection):
    """An ICE connection over given local addresses, deaf to strangers.

    Invariants:
    1. No empty datagram is ever queued.
    2. Data is queued only from an address that is a candidate of the peer: named in its
       sealed description, or learned from a STUN request that carried the password.
    3. The queue is bounded before and after nomination.
    """

    def __init__(self, *, is_controlling: bool, addresses: Sequence[str]) -> None:
        super().__init__(ice_controlling=is_controlling)
        self._addresses = tuple(addresses)
        self.stun: tuple[StunRoute, ...] = ()
        """Whom to ask while gathering."""
        self.dropped = 0
        """Datagrams refused so far."""

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Open one guarded socket per given address; `addresses` found by aioice are ignored."""
        loop = asyncio.get_running_loop()
        candidates: list[Candidate] = []
        for address in self._addresses:
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: GuardedStunProtocol(self), local_addr=(address, 0)
                )
            except OSError:
                continue  # the address went away meanwhile
            _enlarge_buffers(transport)
            host, port, *scope = transport.get_extra_info("sockname")
            protocol.link = scope[1] if scope else 0
            protocol.local_candidate = LocalCandidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host", 65535 - len(candidates)),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        return candidates

    async def gather_candidates(self) -> None:
        """Gather without asking aioice for interfaces (its list has no filter)."""
        if not self._local_candidates_start:
            self._local_candidates_start = True
            self._local_candidates = await self.get_component_candidates(1, [])
            self._local_candidates += await self._reflexive_candidates()
            self._local_candidates_end = True

    async def _reflexive_candidates(self) -> list[Candidate]:
        """How the sockets look from outside, as far as somebody says so within `STUN_S_MAX`."""
        room = CANDIDATES_MAX - len(self._local_candidates)
        asking = [
            (protocol, route.server)
            for protocol in self._protocols
            for route in self.stun
            if protocol.local_candidate.host == route.local
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_reflexive(*each)) for each in asking[:STUN_QUESTIONS_MAX]]
        known = {(candidate.host, candidate.port) for candidate in self._local_candidates}
        answers = [candidate for task in tasks if (candidate := task.result()) is not None]
        found = {(answer.host, answer.port): answer for answer in answers}
        return [candidate for where, candidate in found.items() if where not in known][:room]

    def is_listening(self, protocol: GuardedStunProtocol) -> bool:
        """False in the instants before the socket's candidate is known."""
        return hasattr(protocol, "local_candidate")

    def is_from_peer(self, addr: tuple[Any, ...]) -> bool:
        """Whether data from this address may be queued (2)."""
        pair = self._nominated.get(1)
        if pair is not None and pair.remote_addr == (addr[0], addr[1]):
            return True
        return any(
            candidate._network_host == addr[0] and candidate.port == addr[1]
            for candidate in self._remote_candidates
        )

    def data_received(self, data: bytes, component: int) -> None:
        """Queue one datagram for DTLS, within bounds (1, 3)."""
        room = QUEUED_DATAGRAMS_MAX if self._nominated else EARLY_DATAGRAMS_MAX
        if data and self._queue.qsize() < room:
            super().data_received(data, component)
        else:
            self.dropped += 1

    @property
    def selected(self) -> tuple[Candidate, Candidate] | None:
        """The nominated (local, remote) pair."""
        pair = self._nominated.get(1)
        return (pair.local_candidate, pair.remote_candidate) if pair is not None else None


async def _reflexive(protocol: ice.StunProtocol, server: tuple[str, int]) -> Candidate | None:
    """What one server says of one socket; None when it does not answer in time."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    try:
        async with asyncio.timeout(STUN_S_MAX):
            response, _ = await protocol.request(request, server)
        host, port = response.attributes["XOR-MAPPED-ADDRESS"]
    except (TimeoutError, OSError, KeyError, stun.TransactionError):
        return None
    local = protocol.local_candidate
    is_sound = (":" in host) == (":" in local.host) and is_reachable_unicast(
        ipaddress.ip_address(host), is_loopback_allowed=False
    )
    if not is_sound:
        return None
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", local.host),
        component=local.component,
        transport="udp",
        priority=candidate_priority(local.component, "srflx"),
        host=host,
        port=port,
        type="srflx",
        related_address=local.host,
        related_port=local.port,
    )


def _looks_like_stun(datagram: bytes) -> bool:
    """RFC 7983 section 7: the first byte of STUN is 0 to 3; then aioice's own parser decides."""
    if datagram[0] > 3:
        return False
    try:
        stun.parse_message(datagram)
    except (ValueError, struct.error):
        return False
    return True


def _is_of_link(host: str) -> bool:
    return is_link_local(ipaddress.ip_address(host))


def _enlarge_buffers(transport: asyncio.DatagramTransport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def check_shape() -> None:
    """Make sure that aioice still has the shape these guards were written for.

    Raises:
        TransportFailure: it has not; without the guards nothing may run.
    """
    probe = ice.Connection(ice_controlling=True)
    missing = [
        name
        for name in (
            "_queue",
            "_nominated",
            "_protocols",
            "_remote_candidates",
            "_local_candidates",
            "_local_candidates_start",
            "_local_candidates_end",
        )
        if not hasattr(probe, name)
    ]
    signatures = {
        "data_received": ["self", "data", "component"],
        "get_component_candidates": ["self", "component", "addresses", "timeout"],
        "gather_candidates": ["self"],
    }
    missing += _changed(ice.Connection, signatures)
    of_sockets = {
        "datagram_received": ["self", "data", "addr"],
        "send_data": ["self", "data", "addr"],
        "send_stun": ["self", "message", "addr"],
    }
    missing += _changed(ice.StunProtocol, of_sockets)
    missing += _changed(Candidate, {"can_pair_with": ["self", "other"]})
    if missing:
        raise TransportFailure(f"aioice changed ({', '.join(missing)}); the safety guards do not fit it")


def _changed(owner: type, signatures: Mapping[str, list[str]]) -> list[str]:
    return [
        f"{owner.__name__}.{name}"
        for name, parameters in signatures.items()
        if list(inspect.signature(getattr(owner, name)).parameters) != parameters
    ]
