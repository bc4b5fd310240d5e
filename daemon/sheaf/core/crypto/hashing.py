"""Hashes and key derivation with domain separation (PROTOCOL §1).

Everything hashed, signed or derived goes through here, so that no two purposes can
ever share an input: `domain ‖ LP(field)…`, LP = u32 length ‖ field.
"""

from __future__ import annotations

import hashlib
import hmac


def domain(purpose: str) -> bytes:
    """The domain string of a purpose: `sheaf/1 <purpose>`, NUL-terminated."""
    return b"sheaf/1 " + purpose.encode("ascii") + b"\0"


def domain_bytes(purpose: str, *fields: bytes) -> bytes:
    """`domain ‖ LP(field)…`: what signatures are made over."""
    parts = [domain(purpose)]
    for field in fields:
        parts.append(len(field).to_bytes(4, "big"))
        parts.append(field)
    return b"".join(parts)


def domain_hash(purpose: str, *fields: bytes) -> bytes:
    """SHA-256 of `domain_bytes(purpose, *fields)`, 32 bytes."""
    return hashlib.sha256(domain_bytes(purpose, *fields)).digest()


def domain_hmac(key: bytes, purpose: str, *fields: bytes) -> bytes:
    """HMAC-SHA-256 under `key` of `domain_bytes(purpose, *fields)`, 32 bytes."""
    return hmac.digest(key, domain_bytes(purpose, *fields), "sha256")


def hkdf_extract(ikm: bytes, salt: bytes) -> bytes:
    """RFC 5869 §2.2 with SHA-256: the 32-byte pseudorandom key."""
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 §2.3 with SHA-256; `length` at most 8160."""
    if not 0 < length <= 255 * 32:
        raise ValueError("HKDF length out of range")
    block = output = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(prk, block + info + bytes((counter,)), "sha256")
        output += block
        counter += 1
    return output[:length]


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256: `length` bytes from `ikm`."""
    return hkdf_expand(hkdf_extract(ikm, salt), info, length)
