"""Version vectors: what of each log somebody has (PROTOCOL §5 "VV").

A version is {log_id: next_seq}. On the wire: entries sorted by log id, `log_id 16 ‖ next_seq
uvar`; a log of which nothing is held (next_seq ≤ 1) is left out, so equal content means equal
bytes and equal digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import LOGS_MAX
from sheaf.core.crypto.hashing import domain_hash
from sheaf.core.wire.varint import decode_uvar, encode_uvar

VERSION_DIGEST_BYTES: Final = 16

Version = Mapping[LogId, int]


def encode_version(version: Version) -> bytes:
    """The canonical bytes of a version."""
    return encode_entries({log_id: seq for log_id, seq in version.items() if seq > 1})


def encode_entries(entries: Version) -> bytes:
    """As `encode_version`, but keeps entries of 0 or 1 (changes may take a log away)."""
    return b"".join(bytes(log_id) + encode_uvar(entries[log_id]) for log_id in sorted(entries))


def decode_entries(data: bytes) -> dict[LogId, int]:
    """Read what `encode_entries` wrote.

    Raises:
        WireError: truncated, unsorted, doubled, or more than 16,384 logs.
    """
    entries: dict[LogId, int] = {}
    last, position = b"", 0
    while position < len(data):
        name = data[position : position + LogId.SIZE]
        if len(name) < LogId.SIZE or name <= last or len(entries) >= LOGS_MAX:
            raise WireError("a version vector cut short, out of order or too long")
        entries[LogId(name)], position = decode_uvar(data, position + LogId.SIZE)
        last = name
    return entries


def version_digest(version: Version) -> bytes:
    """16 bytes that stand for a version."""
    return domain_hash("version vector", encode_version(version))[:VERSION_DIGEST_BYTES]


def changes_since(base: Version, version: Version) -> dict[LogId, int]:
    """The entries that turn `base` into `version`; 0 takes a log away."""
    changes = {log_id: seq for log_id, seq in version.items() if base.get(log_id) != seq}
    changes.update({log_id: 0 for log_id in base if log_id not in version})
    return changes


def apply_changes(base: Version, changes: Version) -> dict[LogId, int]:
    """The version that `changes_since(base, version)` came from."""
    merged = {**base, **changes}
    return {log_id: seq for log_id, seq in merged.items() if seq > 0}


def raise_to(version: dict[LogId, int], other: Version) -> dict[LogId, int]:
    """Raise `version` in place to at least `other`; returns what changed."""
    raised = {log_id: seq for log_id, seq in other.items() if seq > version.get(log_id, 0)}
    version.update(raised)
    return raised
