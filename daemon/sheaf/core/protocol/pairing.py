"""Coming in by invitation: the keys of a ticket, and the request that proves it is held (PROTOCOL §8).

The ticket's 16-byte secret gives an Ed25519 key (its public half stands in the `invite` op), an
X25519 key (signalling before anybody knows anybody), a rendezvous id and an mDNS key. The proof is
bound to the transcript of the session and to the device, so it is of no use to whoever sees it.
Who is let in is decided by the owner's side; the joiner checks what it gets with `check_genesis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, RendezvousId, SpaceId
from sheaf.core.crypto.hashing import domain, domain_bytes, hkdf
from sheaf.core.crypto.identity import CERTIFICATE_BYTES_MAX, DeviceCertificate, DeviceKeys, verify
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.control_op import decode_op
from sheaf.core.space.evaluation import evaluate
from sheaf.core.space.membership import Membership
from sheaf.core.space.roles import Role
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

JOIN_CERTIFICATES_MAX: Final = 8
JOIN_REQUEST_BYTES_MAX: Final = 8192
NAME_BYTES_MAX: Final = 128


class InviteKeys:
    """Everything that follows from a ticket's secret (16 bytes)."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == 16
        self._secret = secret
        self._keys = DeviceKeys(self._derive("sign", 32), self._derive("kem", 32))

    @property
    def public(self) -> bytes:
        """Ed25519 public key, 32 bytes; what the `invite` op names."""
        return bytes(self._keys.device_id)

    @property
    def kem_public(self) -> bytes:
        """X25519 public key, 32 bytes; signalling to the inviter is sealed to it."""
        return self._keys.kem_public

    @property
    def rendezvous_id(self) -> RendezvousId:
        """Where the inviter listens for this invitation."""
        return RendezvousId(self._derive("rendezvous", RendezvousId.SIZE))

    @property
    def mdns_key(self) -> bytes:
        """Key of the invitation's mDNS tag, 32 bytes."""
        return self._derive("mdns", 32)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature by the invitation, 64 bytes."""
        return self._keys.sign(message)

    def open_box(self, sealed: bytes, info: bytes) -> bytes:
        """Open signalling sealed to `kem_public`. Raises ProtocolViolation when it does not open."""
        return self._keys.open_box(sealed, info)

    def _derive(self, label: str, length: int) -> bytes:
        return hkdf(self._secret, b"", domain(f"invite {label}"), length)

    def __repr__(self) -> str:
        return f"InviteKeys({self.public.hex()[:8]})"


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A device asks to be let into a space. `certificates`: the asking device's first, then other
    devices of the same person; `name` is how the person wants to be called."""

    space_id: SpaceId
    certificates: tuple[bytes, ...]
    name: str
    proof: bytes

    @classmethod
    def make(
        cls, invite: InviteKeys, *, space_id: SpaceId, certificate: DeviceCertificate, transcript: bytes
    ) -> JoinRequest:
        """The request of the device with this certificate, good for one session."""
        proof = invite.sign(_proof_message(transcript, space_id, certificate.device))
        return cls(space_id, (certificate.raw,), certificate.user_name, proof)

    def verify(self, invite_public: bytes, transcript: bytes) -> tuple[DeviceCertificate, ...]:
        """Check the proof and the certificates; returns them, the asking device's first.

        Args:
            invite_public: bytes, 32, from the effective `invite` op the request is tried against.
            transcript: bytes, 32, of the session it came over.

        Raises:
            ProtocolViolation: the asker does not hold the ticket, or the certificates are not
                sound and of one person.
        """
        certificates = tuple(DeviceCertificate.decode(raw) for raw in self.certificates)
        if len({certificate.user for certificate in certificates}) != 1:
            raise ProtocolViolation("certificates of several people in one request")
        message = _proof_message(transcript, self.space_id, certificates[0].device)
        if not verify(invite_public, message, self.proof):
            raise ProtocolViolation("the proof is not by this invitation")
        return certificates

    def encode(self) -> bytes:
        """For the JOIN message."""
        return cbor.encode({0: self.space_id, 1: self.certificates, 2: self.name, 3: self.proof})

    @classmethod
    def decode(cls, data: bytes) -> JoinRequest:
        """Read a JOIN. Raises WireError; `verify` checks what it claims."""
        fields = Fields(cbor.decode(data, bytes_max=JOIN_REQUEST_BYTES_MAX), "JOIN")
        request = cls(
            space_id=fields.id(0, SpaceId),
            certificates=tuple(
                fields.octets_list(1, maximum=JOIN_CERTIFICATES_MAX, item_max=CERTIFICATE_BYTES_MAX)
            ),
            name=fields.text(2, bytes_max=NAME_BYTES_MAX),
            proof=fields.octets(3, size=64),
        )
        fields.done()
        if not request.certificates:
            raise WireError("JOIN without a certificate")
        return request


def _proof_message(transcript: bytes, space_id: SpaceId, device_id: DeviceId) -> bytes:
    return domain_bytes("join", transcript, space_id, device_id)


def check_genesis(
    space_id: SpaceId, ops: Sequence[bytes], responder: DeviceId, *, joiner: DeviceId
) -> Membership:
    """What a joiner does with the ops it was admitted with: believe nothing but the space id.

    Args:
        ops: as received, parents first.
        responder: the device that the session authenticated.

    Returns:
        The membership that follows from exactly these ops.

    Raises:
        ProtocolViolation: the genesis is not the one the ticket names, an op is unsound or
            hangs in the air, the responder is no effective owner, or we were not admitted.
    """
    dag = ControlDag(space_id)
    for raw in ops:
        op = decode_op(raw)
        if dag.missing_parents(op):
            raise ProtocolViolation("the space's membership history does not hold together")
        dag.add(op)
    if not ops:
        raise ProtocolViolation("an answer without the space's history")
    membership = evaluate(dag)
    if membership.role_of(responder) is not Role.OWNER:
        raise ProtocolViolation("the device that answered is not an owner of the space in the ticket")
    if not membership.is_active(joiner):
        raise ProtocolViolation("the answer does not admit this device")
    return membership
