"""Sealed boxes (HPKE) and authenticated encryption (AES-256-GCM), suite 1 (PROTOCOL §1).

HPKE base mode, DHKEM(X25519, HKDF-SHA256) / HKDF-SHA256 / AES-256-GCM, single shot:
all context goes into `info`. A box is `enc (32) ‖ ciphertext ‖ tag (16)`, so 48 bytes
longer than its plaintext. Sealing draws its ephemeral key from the system's generator:
boxes are the one thing in the core that no injected entropy makes repeatable
(decision 0021); callers that need repeatable bytes pass their own `BoxSealer`.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sheaf.core.base.errors import ProtocolViolation

BoxSealer = Callable[[bytes, bytes, bytes], bytes]
"""`seal(kem_public, plaintext, info)`."""

BOX_OVERHEAD_BYTES = 48
TAG_BYTES = 16
NONCE_BYTES = 12

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_box(kem_public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Encrypt to the holder of an X25519 key.

    Args:
        kem_public: bytes, 32, X25519 public key.
        plaintext: bytes, any length.
        info: bound to the box; opening needs the same.

    Raises:
        ProtocolViolation: `kem_public` is no usable key (a low-order point).
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(kem_public), info)
    except ValueError as error:
        raise ProtocolViolation("unusable encryption key") from error


def open_box(kem_private: X25519PrivateKey, sealed: bytes, info: bytes) -> bytes:
    """Decrypt what `seal_box` made for this key.

    Raises:
        ProtocolViolation: not for this key, other info, or damaged.
    """
    if len(sealed) < BOX_OVERHEAD_BYTES:
        raise ProtocolViolation("sealed box too short")
    try:
        return _SUITE.decrypt(sealed, kem_private, info)
    except (InvalidTag, ValueError) as error:
        raise ProtocolViolation("sealed box does not open") from error


def encrypt(key: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    """AES-256-GCM: ciphertext ‖ tag. `key` 32 bytes; `nonce` 12 bytes, never twice under one key."""
    return AESGCM(key).encrypt(nonce, plaintext, context)


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, context: bytes) -> bytes:
    """Undo `encrypt`.

    Raises:
        ProtocolViolation: another key, nonce or context, or damaged bytes.
    """
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, context)
    except (InvalidTag, ValueError) as error:
        raise ProtocolViolation("ciphertext does not open") from error
