"""HPKE sealing with chosen randomness (RFC 9180 §4.1, §5.1), so that a seed gives the same bytes.

The daemon's `seal_box` draws its ephemeral key from the system (decision 0021). Boxes made here open
with the very same `open_box`; for tests and simulations only.
"""

from __future__ import annotations

import random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sheaf.core.crypto.hashing import hkdf_expand, hkdf_extract
from sheaf.core.crypto.sealing import BoxSealer

_KEM = b"KEM\x00\x20"
_HPKE = b"HPKE\x00\x20\x00\x01\x00\x02"


def repeatable_sealer(chance: random.Random) -> BoxSealer:
    """A `seal_box` whose ephemeral keys come from `chance`."""

    def seal(kem_public: bytes, plaintext: bytes, info: bytes) -> bytes:
        ephemeral = X25519PrivateKey.from_private_bytes(chance.randbytes(32))
        enc = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(kem_public))
        prk = _extract(_KEM, b"", b"eae_prk", shared)
        secret = _expand(_KEM, prk, b"shared_secret", enc + kem_public, 32)
        context = (
            b"\x00" + _extract(_HPKE, b"", b"psk_id_hash", b"") + _extract(_HPKE, b"", b"info_hash", info)
        )
        schedule = _extract(_HPKE, secret, b"secret", b"")
        key = _expand(_HPKE, schedule, b"key", context, 32)
        nonce = _expand(_HPKE, schedule, b"base_nonce", context, 12)
        return enc + AESGCM(key).encrypt(nonce, plaintext, b"")

    return seal


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hkdf_extract(b"HPKE-v1" + suite + label + ikm, salt)


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)
