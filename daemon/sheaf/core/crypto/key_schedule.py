"""What is derived from one epoch secret (PROTOCOL §2).

Every key is `HKDF(epoch_secret, salt=space_id, info=domain(label) ‖ LP(parameter), n)`.
Holds secrets: never printed, never compared, never stored (the epoch secret is).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sheaf.core.base.ids import DeviceId, LogId, RendezvousId, SpaceId
from sheaf.core.crypto.hashing import domain_bytes, domain_hash, hkdf_expand, hkdf_extract

SECRET_BYTES = 32
_CIPHERS_MAX = 256


def epoch_commit(space_id: SpaceId, secret: bytes) -> bytes:
    """The 32 bytes by which an epoch op fixes its secret without telling it."""
    return domain_hash("epoch commit", space_id, secret)


class SpaceKeys:
    """All keys of one epoch of one space.

    Args:
        epoch_secret: bytes, 32.
        space_id: whose keys these are; the same secret elsewhere gives unrelated keys.
    """

    __slots__ = ("_ciphers", "_prk", "_rendezvous", "mdns_key", "psi_key", "space_id")

    def __init__(self, epoch_secret: bytes, space_id: SpaceId) -> None:
        assert len(epoch_secret) == SECRET_BYTES
        self.space_id = space_id
        self._prk = hkdf_extract(epoch_secret, space_id)
        self._ciphers: dict[LogId, AESGCM] = {}
        self._rendezvous: dict[DeviceId, RendezvousId] = {}
        self.mdns_key = self.derive("mdns")
        self.psi_key = self.derive("psi")

    def derive(self, label: str, *parameters: bytes, length: int = 32) -> bytes:
        """`length` bytes for the purpose `label`."""
        return hkdf_expand(self._prk, domain_bytes(f"key {label}", *parameters), length)

    def log_key(self, log_id: LogId) -> bytes:
        """K_log: AES-256 key of one log's envelopes in this epoch."""
        return self.derive("log", log_id)

    def log_cipher(self, log_id: LogId) -> AESGCM:
        """AES-256-GCM under `log_key(log_id)`; the last 256 are kept ready."""
        cipher = self._ciphers.get(log_id)
        if cipher is None:
            if len(self._ciphers) >= _CIPHERS_MAX:
                self._ciphers.pop(next(iter(self._ciphers)))
            cipher = self._ciphers[log_id] = AESGCM(self.log_key(log_id))
        return cipher

    def rendezvous_id(self, device_id: DeviceId) -> RendezvousId:
        """Where members leave sealed signalling for `device_id`."""
        rid = self._rendezvous.get(device_id)
        if rid is None:
            rid = RendezvousId(self.derive("rendezvous", device_id, length=16))
            self._rendezvous[device_id] = rid
        return rid

    def blob_key(self, plain_hash: bytes) -> bytes:
        """AES-256 key of one attachment, named by the hash of its plain bytes."""
        return self.derive("blob", plain_hash)

    @property
    def wrap_key(self) -> bytes:
        """AES-256 key under which this epoch hands down its parents' secrets."""
        return self.derive("wrap")

    @property
    def prefs_key(self) -> bytes:
        """AES-256 key of the space's encrypted preferences (its name)."""
        return self.derive("prefs")

    @property
    def mailbox_key(self) -> bytes:
        """K_mbx: AES-256 key of mailbox items."""
        return self.derive("mailbox")

    @property
    def mailbox_id(self) -> bytes:
        """mbx_id, 16 bytes: which mailbox."""
        return self.derive("mailbox id", length=16)

    @property
    def mailbox_token(self) -> bytes:
        """mbx_tok, 32 bytes: the bearer right to use it."""
        return self.derive("mailbox token")

    def __repr__(self) -> str:
        return f"SpaceKeys({self.space_id.short})"
