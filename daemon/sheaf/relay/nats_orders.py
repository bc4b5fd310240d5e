"""What nodes of a fleet say to each other about nameplates and tunnels: small CBOR messages.

The bus belongs to the operator, yet a decoder is total: a message is whole or it is dropped. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_words import NAMEPLATE_MAX, SAYING_BYTES_MAX, URL_BYTES_MAX, RefusalCode

NAME_BYTES_MAX: Final = 64
ORDER_BYTES_MAX: Final = SAYING_BYTES_MAX + 4 * NAME_BYTES_MAX


@unique
class OrderKind(IntEnum):
    """What a node asks of another, or tells it."""

    CLAIM = 1
    """A side at the sender's is the second at a number of the receiver's; answered by a verdict."""
    SAY = 2
    RELEASE = 3
    HEARD = 4
    CLOSED = 5


@dataclass(frozen=True, slots=True)
class Order:
    """One message about a nameplate. `node` is the sender."""

    kind: OrderKind
    node: str
    side: str
    number: int
    payload: bytes = b""
    """SAY and HEARD: what is said. CLOSED: one byte, the `RefusalCode`."""


def encode_order(order: Order) -> bytes:
    return cbor.encode([order.kind.value, order.node, order.side, order.number, order.payload])


def decode_order(data: bytes) -> Order:
    """Read one message. Raises WireError."""
    match cbor.decode(data, bytes_max=ORDER_BYTES_MAX):
        case [int(kind), str(node), str(side), int(number), bytes(payload)] if _fits(
            kind, node, side, number
        ):
            try:
                return Order(OrderKind(kind), node, side, number, payload)
            except ValueError:
                raise WireError("fleet message: unknown kind") from None
        case _:
            raise WireError("fleet message: not five fields that fit")


def _fits(kind: int, node: str, side: str, number: int) -> bool:
    if isinstance(kind, bool) or isinstance(number, bool):
        return False
    return max(len(node), len(side)) <= NAME_BYTES_MAX and 0 <= number <= NAMEPLATE_MAX


def encode_verdict(code: RefusalCode | None) -> bytes:
    """The answer to CLAIM; None: it is done."""
    return bytes((0 if code is None else code.value,))


def decode_verdict(data: bytes) -> RefusalCode | None:
    """Read the answer to CLAIM, or the payload of CLOSED. Raises WireError."""
    if len(data) != 1:
        raise WireError("fleet message: a verdict is one byte")
    try:
        return None if data == b"\0" else RefusalCode(data[0])
    except ValueError:
        raise WireError("fleet message: unknown verdict") from None


def encode_here(node: str, url: str) -> bytes:
    """One side of a tunnel waits (or begins to wait) at this node."""
    return cbor.encode([node, url])


def decode_here(data: bytes) -> tuple[str, str]:
    """Node and URL. Raises WireError."""
    match cbor.decode(data, bytes_max=URL_BYTES_MAX + 2 * NAME_BYTES_MAX):
        case [str(node), str(url)] if len(node) <= NAME_BYTES_MAX and len(url) <= URL_BYTES_MAX:
            return node, url
        case _:
            raise WireError("fleet message: no node and URL")
