"""The chain of a log: ids, one signature for a run, and what is left when it fails (PROTOCOL §3).

Every id covers its predecessor and the whole envelope, so a valid signature vouches for
all before it. Pure functions; a head is only read.
"""

from __future__ import annotations

from collections.abc import Sequence

from sheaf.core.base.errors import WireError
from sheaf.core.crypto.identity import SIGNATURE_BYTES, verify
from sheaf.core.space.envelope import Envelope, envelope_id, parse_envelope, signed_bytes
from sheaf.core.space.log_set import LogHead


def verify_chain(head: LogHead, raws: Sequence[bytes]) -> tuple[list[tuple[Envelope, bytes]], str | None]:
    """Parse and chain envelopes from the head on; one signature vouches for all before it.

    Returns:
        the longest authentic prefix found, with ids; what is wrong after it, or None.
    """
    chain: list[tuple[Envelope, bytes]] = []
    problem: str | None = None
    previous, seq, prefix = head.head, head.next_seq, head.prefix
    for raw in raws:
        try:
            envelope = parse_envelope(raw)
        except WireError as error:
            problem = str(error)
            break
        previous = envelope_id(prefix, seq, previous, raw)
        seq += 1
        chain.append((envelope, previous))
    if chain and not _holds(head, chain, len(chain)):
        problem = "envelope not signed by the log's device"
        del chain[_authentic(head, chain) :]
    return chain, problem


def _authentic(head: LogHead, chain: Sequence[tuple[Envelope, bytes]]) -> int:
    """The longest prefix whose last signature holds, by bisection: log2(n) signatures, so
    junk behind good envelopes neither hides them nor costs much. The whole does not hold."""
    good, bad = 0, len(chain)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _holds(head, chain, middle):
            good = middle
        else:
            bad = middle
    return good


def _holds(head: LogHead, chain: Sequence[tuple[Envelope, bytes]], count: int) -> bool:
    previous = chain[count - 2][1] if count > 1 else head.head
    return is_signed(head, head.next_seq + count - 1, previous, chain[count - 1][0].raw)


def is_signed(head: LogHead, seq: int, previous: bytes, raw: bytes) -> bool:
    return verify(head.device_id, signed_bytes(head.prefix, seq, previous, raw), raw[-SIGNATURE_BYTES:])
