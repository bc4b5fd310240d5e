"""Keys of persons and devices, and the certificate that joins them (PROTOCOL §2).

A person is an Ed25519 key U, a device an Ed25519 key D with an X25519 key K. The device
certificate is signed by both: U says "this device is mine", D says "and I agree".
Names in it are claims, shown to people and never decided upon. Knows no spaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, UserId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain_bytes, domain_hash
from sheaf.core.crypto.sealing import open_box
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

SIGNATURE_BYTES = 64
CERTIFICATE_BYTES_MAX = 768
NAME_BYTES_MAX = 128
CAP_CERTIFY = 1
"""caps bit 0: the device holds U and may certify further devices."""

_VERSION = 1
_PURPOSE = "device certificate"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` (64 bytes) over `message` is by the Ed25519 key `public` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class UserKeys:
    """A person's secret: `seed` is 32 bytes, the Ed25519 seed that the recovery phrase spells."""

    __slots__ = ("_key", "seed", "user_id")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.user_id = UserId(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """A new person."""
        return cls(entropy(32))

    def sign(self, message: bytes) -> bytes:
        """Ed25519, 64 bytes. `message` comes from `domain_bytes`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"UserKeys({self.user_id.short})"


class DeviceKeys:
    """A device's secrets: Ed25519 seed and X25519 private key, 32 bytes each. Never exported."""

    __slots__ = ("_kem", "_seeds", "_sign", "device_id", "kem_public")

    def __init__(self, sign_seed: bytes, kem_seed: bytes) -> None:
        self._seeds = (sign_seed, kem_seed)
        self._sign = Ed25519PrivateKey.from_private_bytes(sign_seed)
        self._kem = X25519PrivateKey.from_private_bytes(kem_seed)
        self.device_id = DeviceId(self._sign.public_key().public_bytes_raw())
        self.kem_public = self._kem.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """A new device."""
        return cls(entropy(32), entropy(32))

    def to_bytes(self) -> bytes:
        """64 bytes for the key store: sign seed ‖ kem key."""
        return b"".join(self._seeds)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Undo `to_bytes`.

        Raises:
            WireError: not 64 bytes.
        """
        if len(stored) != 64:
            raise WireError("device keys need 64 bytes")
        return cls(stored[:32], stored[32:])

    def sign(self, message: bytes) -> bytes:
        """Ed25519, 64 bytes."""
        return self._sign.sign(message)

    def open_box(self, sealed: bytes, info: bytes) -> bytes:
        """Open what was sealed to `kem_public`. Raises ProtocolViolation when it does not open."""
        return open_box(self._kem, sealed, info)

    def __repr__(self) -> str:
        return f"DeviceKeys({self.device_id.short})"


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """A checked certificate: CBOR {0:1, 1:user, 2:device, 3:kem, 4:created_ms, 5:caps, 6:name,
    7:user_name} ‖ sig_U ‖ sig_D. `raw` is what travels; `digest` names it in statements."""

    user: UserId
    device: DeviceId
    kem: bytes
    created_ms: int
    caps: int
    name: str
    user_name: str
    raw: bytes

    @classmethod
    def issue(
        cls,
        user: UserKeys,
        device: DeviceKeys,
        *,
        name: str,
        user_name: str,
        created_ms: int,
        caps: int = CAP_CERTIFY,
    ) -> DeviceCertificate:
        """Certify `device` as one of `user`'s, both keys being at hand."""
        body = certificate_body(
            user.user_id, device.device_id, device.kem_public, created_ms, caps, name, user_name
        )
        message = domain_bytes(_PURPOSE, body)
        return cls.decode(body + user.sign(message) + device.sign(message))

    @classmethod
    def decode(cls, raw: bytes) -> DeviceCertificate:
        """Read a certificate and verify both signatures.

        Raises:
            WireError: not a certificate.
            ProtocolViolation: a signature does not hold.
        """
        return _decode_certificate(bytes(raw), True)

    @classmethod
    def decode_trusted(cls, raw: bytes) -> DeviceCertificate:
        """Read a certificate that this device verified before it stored it."""
        return _decode_certificate(bytes(raw), False)

    @property
    def digest(self) -> bytes:
        """32 bytes that name exactly this certificate."""
        return domain_hash("certificate id", self.raw)

    @property
    def can_certify(self) -> bool:
        """Whether it claims to hold the person's key."""
        return bool(self.caps & CAP_CERTIFY)


def certificate_body(
    user: UserId, device: DeviceId, kem: bytes, created_ms: int, caps: int, name: str, user_name: str
) -> bytes:
    """The bytes both keys sign (inside the certificate's domain)."""
    return cbor.encode(
        {0: _VERSION, 1: user, 2: device, 3: kem, 4: created_ms, 5: caps, 6: name, 7: user_name}
    )


@lru_cache(maxsize=1024)
def _decode_certificate(raw: bytes, is_verified: bool) -> DeviceCertificate:
    # Cached: the same few certificates come with every log, session and op.
    if not 2 * SIGNATURE_BYTES < len(raw) <= CERTIFICATE_BYTES_MAX:
        raise WireError("certificate of an impossible size")
    body = raw[: -2 * SIGNATURE_BYTES]
    fields = Fields(cbor.decode(body, bytes_max=CERTIFICATE_BYTES_MAX), "certificate")
    if fields.uint(0) != _VERSION:
        raise WireError("certificate of another version")
    certificate = DeviceCertificate(
        user=fields.id(1, UserId),
        device=fields.id(2, DeviceId),
        kem=fields.octets(3, size=32),
        created_ms=fields.uint(4),
        caps=fields.uint(5, maximum=0xFF),
        name=fields.text(6, bytes_max=NAME_BYTES_MAX),
        user_name=fields.text(7, bytes_max=NAME_BYTES_MAX),
        raw=raw,
    )
    fields.done()
    if is_verified:
        _check_signatures(certificate, body)
    return certificate


def _check_signatures(certificate: DeviceCertificate, body: bytes) -> None:
    message = domain_bytes(_PURPOSE, body)
    raw = certificate.raw
    if not verify(certificate.user, message, raw[-128:-64]):
        raise ProtocolViolation("certificate not signed by its person")
    if not verify(certificate.device, message, raw[-64:]):
        raise ProtocolViolation("certificate not signed by its device")
