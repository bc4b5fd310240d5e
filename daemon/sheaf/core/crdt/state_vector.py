"""State vectors: for each client id, the first clock not yet seen (PROTOCOL §3).

Read and written here rather than by native code, because a tab or a peer sends them.
Must not know documents or pycrdt.
"""

from __future__ import annotations

from collections.abc import Mapping

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.limits import CLOCK_MAX
from sheaf.core.crdt.lib0 import read_uvar

_CLIENTS_MAX = 65_536


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Read a Yjs state vector.

    Raises:
        UpdateRefused: malformed, a client twice, or a clock of 2^31 and above.
    """
    try:
        count, pos = read_uvar(data, 0)
        if count > _CLIENTS_MAX or count > len(data):
            raise UpdateRefused("the state vector names too many clients")
        clocks: dict[int, int] = {}
        for _ in range(count):
            client, pos = read_uvar(data, pos)
            clock, pos = read_uvar(data, pos)
            if client in clocks or clock >= CLOCK_MAX:
                raise UpdateRefused("the state vector is malformed")
            clocks[client] = clock
    except IndexError as error:
        raise UpdateRefused("the state vector is cut short") from error
    if pos != len(data):
        raise UpdateRefused("bytes follow the end of the state vector")
    return clocks


def encode_state_vector(clocks: Mapping[int, int]) -> bytes:
    """Write a Yjs state vector, clients in ascending order."""
    out = bytearray(encode_uvar(len(clocks)))
    for client in sorted(clocks):
        out += encode_uvar(client)
        out += encode_uvar(clocks[client])
    return bytes(out)


def encode_uvar(value: int) -> bytes:
    """The minimal LEB128 form of a number ≥ 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
