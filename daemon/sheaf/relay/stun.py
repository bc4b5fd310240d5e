"""Answers "which address do you see?": RFC 8489 Binding requests over UDP, and nothing else.

So that a team with a relay needs no third party's STUN server. An answer is never larger on the wire
than twice its question, and each address is answered so and so often only: nobody gains from asking
in somebody else's name. No authentication, no state about who asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, cast

from sheaf.relay.limits import Budget, address_key
from sheaf.relay.metrics import RelayMetrics

HEADER_BYTES: Final = 20
MESSAGE_BYTES_MAX: Final = 512
MAGIC_COOKIE: Final = 0x2112_A442
BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
BINDING_ERROR: Final = 0x0111
ERROR_CODE: Final = 0x0009
UNKNOWN_ATTRIBUTES: Final = 0x000A
XOR_MAPPED_ADDRESS: Final = 0x0020
OPTIONAL: Final = 0x8000
"""Attributes from here on may be ignored (§14)."""
UNKNOWN_MAX: Final = 4

PER_ADDRESS_BURST: Final = 32.0
PER_ADDRESS_PER_S: Final = 4.0
ALL_BURST: Final = 4000.0
ALL_PER_S: Final = 2000.0
_ADDRESSES_MAX: Final = 8192


def answer_to(datagram: bytes, host: str, port: int) -> bytes | None:
    """The answer to a datagram from host:port, or None if it is no whole Binding request (RFC 8489 §6.3).

    A request with an attribute that must be understood and is not is answered 420 (§6.3.1).
    """
    if not HEADER_BYTES <= len(datagram) <= MESSAGE_BYTES_MAX:
        return None
    kind, length, cookie = struct.unpack_from("!HHI", datagram)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(datagram) - HEADER_BYTES:
        return None
    types = _attribute_types(datagram)
    if types is None:
        return None
    transaction = datagram[8:HEADER_BYTES]
    unknown = [each for each in types if each < OPTIONAL]
    if unknown:
        return _message(BINDING_ERROR, transaction, _not_understood(unknown[:UNKNOWN_MAX]))
    return _message(BINDING_SUCCESS, transaction, _xor_mapped(transaction, host, port))


def _attribute_types(datagram: bytes) -> list[int] | None:
    """The types of all attributes; None when they do not fill the message exactly."""
    types = []
    at = HEADER_BYTES
    while at < len(datagram):
        if at + 4 > len(datagram):
            return None
        kind, length = struct.unpack_from("!HH", datagram, at)
        types.append(kind)
        at += 4 + length + -length % 4
    return types if at == len(datagram) else None


def _xor_mapped(transaction: bytes, host: str, port: int) -> bytes:
    address = ipaddress.ip_address(host)
    mask = struct.pack("!I", MAGIC_COOKIE) + transaction
    mapped = bytes(byte ^ key for byte, key in zip(address.packed, mask, strict=False))
    family = 1 if address.version == 4 else 2
    body = struct.pack("!BBH", 0, family, port ^ (MAGIC_COOKIE >> 16)) + mapped
    return struct.pack("!HH", XOR_MAPPED_ADDRESS, len(body)) + body


def _not_understood(types: Sequence[int]) -> bytes:
    listed = struct.pack(f"!{len(types)}H", *types)
    return (
        struct.pack("!HHHBB", ERROR_CODE, 4, 0, 4, 20)
        + struct.pack("!HH", UNKNOWN_ATTRIBUTES, len(listed))
        + listed
        + bytes(-len(listed) % 4)
    )


def _message(kind: int, transaction: bytes, attributes: bytes) -> bytes:
    return struct.pack("!HHI", kind, len(attributes), MAGIC_COOKIE) + transaction + attributes


class StunResponder(asyncio.DatagramProtocol):
    """Answers on one UDP socket; what goes beyond the limits is dropped in silence.

    Invariant: at most 8,192 addresses are remembered, the longest unseen forgotten first.
    """

    def __init__(self, *, metrics: RelayMetrics, now: Callable[[], float]) -> None:
        self._answered = metrics.stun.labels("answered")
        self._ignored = metrics.stun.labels("ignored")
        self._limited = metrics.stun.labels("limited")
        self._now = now
        self._all = Budget(burst=ALL_BURST, now=now())
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is ready."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        """asyncio: a datagram came. Never raises, whatever is in it."""
        host, port = str(addr[0]).partition("%")[0].removeprefix("::ffff:"), addr[1]
        if not isinstance(port, int) or port == 0 or self._transport is None:
            return
        answer = answer_to(data, host, port)
        if answer is None:
            self._ignored.inc()
        elif not self._may_answer(host):
            self._limited.inc()
        else:
            self._answered.inc()
            self._transport.sendto(answer, addr)

    def error_received(self, exc: Exception) -> None:
        """asyncio: an answer bounced; that is the asker's affair."""

    def _may_answer(self, host: str) -> bool:
        now, key = self._now(), address_key(host)
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = Budget(burst=PER_ADDRESS_BURST, now=now)
            if len(self._budgets) > _ADDRESSES_MAX:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(key)
        return budget.afford(1, now, burst=PER_ADDRESS_BURST, per_s=PER_ADDRESS_PER_S) and self._all.afford(
            1, now, burst=ALL_BURST, per_s=ALL_PER_S
        )


async def serve_stun(
    sockets: Sequence[socket.socket], *, metrics: RelayMetrics, now: Callable[[], float]
) -> list[asyncio.DatagramTransport]:
    """Answer on these bound UDP sockets until the transports are closed."""
    transports = []
    for bound in sockets:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: StunResponder(metrics=metrics, now=now), sock=bound
        )
        transports.append(transport)
    return transports
