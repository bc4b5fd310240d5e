"""The text record of an announcement: a nonce and tags only members recognise (PROTOCOL §6).

Pure: bytes in, bytes out. Tags are padded with random ones to 8, 16, 32, then to multiples
of 32, and sorted, so a stranger learns the number of spaces only roughly (decision 0018).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

VERSION: Final = b"1"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 6
TAGS_MAX: Final = 128
_TAGS_PER_KEY: Final = 32
_KEYS: Final = tuple(b"t" if n == 0 else b"t%d" % n for n in range(TAGS_MAX // _TAGS_PER_KEY))


@dataclass(frozen=True, slots=True)
class Advertised:
    """What an announcement says."""

    nonce: bytes
    tags: frozenset[bytes]


def build_txt(nonce: bytes, tags: Sequence[bytes], padding: Sequence[bytes]) -> dict[bytes, bytes]:
    """The properties to announce.

    Args:
        nonce: 12 bytes, new at every start.
        tags: 6 bytes each; those beyond 128 are left out, so the most wanted come first.
        padding: 128 random tags made once per start; re-rolling them would show which are real.
    """
    real = list(dict.fromkeys(tags))[:TAGS_MAX]
    shown = sorted({*real, *padding[: _padded(len(real)) - len(real)]})
    properties = {b"v": VERSION, b"n": nonce}
    for number, key in enumerate(_KEYS):
        part = shown[number * _TAGS_PER_KEY : (number + 1) * _TAGS_PER_KEY]
        if part:
            properties[key] = b"".join(part)
    return properties


def parse_txt(properties: Mapping[bytes, bytes | None]) -> Advertised | None:
    """Read the properties of a stranger's announcement; None when they are not Sheaf's."""
    nonce = properties.get(b"n")
    if properties.get(b"v") != VERSION or nonce is None or len(nonce) != NONCE_BYTES:
        return None
    tags: set[bytes] = set()
    for key in _KEYS:
        part = properties.get(key) or b""
        if len(part) % TAG_BYTES:
            return None
        tags.update(_split(part))
    return Advertised(nonce=nonce, tags=frozenset(tags))


def _split(part: bytes) -> Iterable[bytes]:
    return (part[at : at + TAG_BYTES] for at in range(0, len(part), TAG_BYTES))


def _padded(count: int) -> int:
    for size in (8, 16, 32):
        if count <= size:
            return size
    return -(-count // 32) * 32
