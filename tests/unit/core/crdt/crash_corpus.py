"""Updates that crash, exhaust or confuse decoders (FAULTS N8), generated, never stored.

Run as a program, it is the child process of `test_crash_corpus`: it sends one case through the
daemon's way in (inspect, then apply) under a memory limit, or straight to native code.
"""

from __future__ import annotations

import resource
import sys

from sheaf.core.crdt.state_vector import encode_uvar as uvar

NESTED = 8, b"\x75\x01", b"\x76\x01\x01a"  # ContentAny; arrays of one; maps of one
MEMORY_MAX = 2 << 30


def _item(
    content: bytes, *, client: int = 1, clock: int = 0, info: int = 8, deletes: bytes = b"\x00"
) -> bytes:
    """An update of one item in the root `a`."""
    return b"\x01\x01" + uvar(client) + uvar(clock) + bytes([info]) + b"\x01\x01a" + content + deletes


def _nested_any(level: bytes, depth: int) -> bytes:
    return _item(b"\x01" + level * depth + b"\x7e")


def _nested_json(opening: bytes, closing: bytes, depth: int, info: int) -> bytes:
    text = opening * depth + b"1" + closing * depth
    body = uvar(len(text)) + text
    prefix = {2: b"\x01", 5: b"", 6: b"\x01k"}[info]
    return _item(prefix + body, info=info)


def _nested_types(depth: int) -> bytes:
    """XML elements, each the only child of the one before: deleting the first overflows the stack."""
    structs = b"\x07\x01\x04body\x03\x01b" + b"".join(
        b"\x07\x00\x01" + uvar(clock) + b"\x03\x01b" for clock in range(depth - 1)
    )
    return b"\x01" + uvar(depth) + b"\x01\x00" + structs + b"\x00"


def crash_corpus() -> dict[str, bytes]:
    """Every case by name; all of them must be refused."""
    cases: dict[str, bytes] = {}
    for depth in (65, 15_000, 40_000):
        cases[f"arrays {depth} deep"] = _nested_any(NESTED[1], depth)
        cases[f"maps {depth} deep"] = _nested_any(NESTED[2], depth)
        for kind, info in (("json", 2), ("embed", 5), ("format", 6)):
            cases[f"{kind} arrays {depth} deep"] = _nested_json(b"[", b"]", depth, info)
            cases[f"{kind} objects {depth} deep"] = _nested_json(b'{"a":', b"}", depth, info)
    for power in (31, 32, 53, 63):
        number = uvar(2**power)
        cases[f"clock 2^{power}"] = _item(b"\x01x", clock=2**power, info=4)
        cases[f"collected length 2^{power}"] = b"\x01\x01\x01\x00\x00" + number + b"\x00"
        cases[f"deleted length 2^{power}"] = _item(number, info=1)
        cases[f"skipped length 2^{power}"] = b"\x01\x01\x01\x00\x0a" + number + b"\x00"
        cases[f"origin clock 2^{power}"] = b"\x01\x01\x01\x00\x84\x02" + number + b"\x01x\x00"
        cases[f"deletion at 2^{power}"] = b"\x00\x01\x01\x01" + number + b"\x01"
        cases[f"deletion of 2^{power}"] = b"\x00\x01\x01\x01\x00" + number
        for name, head in _LENGTH_BOMBS.items():
            cases[f"{name} 2^{power}"] = head + number
    cases["client id 2^53"] = _item(b"\x01x", client=2**53, info=4)
    cases["over-long number"] = b"\x81\x00\x01\x01\x00\x04\x01\x01a\x01x\x00"
    cases["endless number"] = b"\xff" * 200
    cases["over-long any integer"] = _item(b"\x01\x7d\x81\x80\x00")
    cases["sum of lengths above 2^31"] = b"\x01\x02\x01\x00" + (b"\x00" + uvar(2**30 + 1)) * 2 + b"\x00"
    cases["elements 15,000 deep"] = _nested_types(15_000)
    cases["elements 200,000 deep"] = _nested_types(200_000)
    return cases


_LENGTH_BOMBS = {
    "client count": b"",
    "struct count": b"\x01",
    "any count": b"\x01\x01\x01\x00\x08\x01\x01a",
    "json count": b"\x01\x01\x01\x00\x02\x01\x01a",
    "array length": b"\x01\x01\x01\x00\x08\x01\x01a\x01\x75",
    "map length": b"\x01\x01\x01\x00\x08\x01\x01a\x01\x76",
    "any bytes length": b"\x01\x01\x01\x00\x08\x01\x01a\x01\x74",
    "any string length": b"\x01\x01\x01\x00\x08\x01\x01a\x01\x77",
    "string length": b"\x01\x01\x01\x00\x04\x01\x01a",
    "binary length": b"\x01\x01\x01\x00\x03\x01\x01a",
    "root name length": b"\x01\x01\x01\x00\x04\x01",
    "deletion clients": b"\x00",
    "deletion ranges": b"\x00\x01\x01",
}


def _guarded(names: list[str]) -> None:
    """Send cases through the daemon's way in; print the name of each that is refused."""
    from sheaf.core.base.errors import UpdateRefused
    from sheaf.core.crdt.replica import Replica
    from tests.unit.core.crdt.support import seeded

    cases = crash_corpus()
    for name in names or cases:
        replica = Replica(entropy=seeded(1))
        try:
            replica.apply(cases[name])
        except UpdateRefused:
            print(name, flush=True)


def _raw(name: str) -> None:
    """What happens without the guard."""
    import pycrdt

    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.apply_update(crash_corpus()[name])
    doc.apply_update(b"\x00\x01\x01\x01\x00\x01")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.argv[1] == "raw":
        _raw(sys.argv[2])
    else:
        _guarded(sys.argv[2:])
