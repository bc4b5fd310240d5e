"""The twelve kinds of control ops and their bodies (PROTOCOL §4).

Shapes only: what an op says, not whether it counts (`evaluation` decides that).
Each body is a frozen dataclass with `to_map` (for encoding) and `read` (from `Fields`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, EpochId, LogId, OpId, UserId
from sheaf.core.base.limits import CONTROL_OP_BYTES_MAX, DEVICES_MAX, LOGS_MAX
from sheaf.core.crypto.identity import CERTIFICATE_BYTES_MAX, SIGNATURE_BYTES, DeviceCertificate
from sheaf.core.space.roles import Role
from sheaf.core.wire.shape import Fields, as_bytes, as_uint

SUITE: Final = 1
BOX_BYTES: Final = 80
WRAPPED_BYTES: Final = 48
BOX_HINT_BYTES: Final = 8
EPOCH_PARENTS_MAX: Final = 16
INVITE_USES_MAX: Final = 10_000

Cut = tuple[tuple[LogId, int], ...]
"""[log_id, next_seq] pairs, sorted by log: what of each log existed for the one who cut."""


class OpType(IntEnum):
    """Field 0 of every op."""

    GENESIS = 0
    ADMIT = 1
    REMOVE = 2
    ROLE = 3
    DEV_ADD = 4
    DEV_REVOKE = 5
    EPOCH = 6
    KEYBOX = 7
    INVITE = 8
    INVITE_REVOKE = 9
    ACCEPT = 10
    PREFS = 11


class InviteKind(IntEnum):
    """What an invitation is for: a new member, or a further device of the issuer."""

    MEMBER = 0
    DEVICE = 1


def _cut_map(cut: Cut) -> list[list[object]]:
    return [[log_id, seq] for log_id, seq in sorted(cut)]


def _read_cut(fields: Fields, key: int) -> Cut:
    pairs = fields.pairs(key, lambda v: LogId(as_bytes(v, LogId.SIZE)), as_uint, maximum=LOGS_MAX)
    cut = tuple((log_id, int(seq)) for log_id, seq in pairs)
    if any(this[0] >= following[0] for this, following in pairwise(cut)):
        raise WireError("cut: logs out of order or repeated")
    return cut


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first op; its hash is the space id. Also the founder's admission as owner."""

    certificate: DeviceCertificate
    random: bytes
    suite: int = SUITE

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.suite, 1: self.certificate.raw, 2: self.random}

    @classmethod
    def read(cls, fields: Fields) -> Genesis:
        """Undo `to_map`; unknown suites are refused."""
        suite = fields.uint(0)
        if suite != SUITE:
            raise WireError("space of an unknown suite: update Sheaf")
        certificate = DeviceCertificate.decode(fields.octets(1, maximum=CERTIFICATE_BYTES_MAX))
        return cls(certificate, fields.octets(2, size=16), suite)


@dataclass(frozen=True, slots=True)
class Admit:
    """`user` becomes a member with `role` on these devices; `invite` and `proof` when invited."""

    user: UserId
    role: Role
    certificates: tuple[DeviceCertificate, ...]
    invite: OpId | None = None
    proof: bytes | None = None

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        fields: dict[int, object] = {
            0: self.user,
            1: self.role.rank,
            2: [certificate.raw for certificate in self.certificates],
        }
        if self.invite is not None:
            fields |= {3: self.invite, 4: self.proof}
        return fields

    @classmethod
    def read(cls, fields: Fields) -> Admit:
        """Undo `to_map`; at least one certificate, all of `user`."""
        user = fields.id(0, UserId)
        role = Role.from_rank(fields.uint(1))
        raws = fields.octets_list(2, maximum=DEVICES_MAX, item_max=CERTIFICATE_BYTES_MAX)
        certificates = tuple(DeviceCertificate.decode(raw) for raw in raws)
        devices = {certificate.device for certificate in certificates}
        if not certificates or len(devices) != len(certificates):
            raise WireError("admit: no device, or one twice")
        if any(certificate.user != user for certificate in certificates):
            raise WireError("admit: a device of somebody else")
        invite = fields.id_or_none(3, OpId)
        proof = fields.octets(4, size=SIGNATURE_BYTES) if invite is not None else None
        return cls(user, role, certificates, invite, proof)


@dataclass(frozen=True, slots=True)
class Remove:
    """The admission ends; of its logs only what `cut` lists is accepted unasked."""

    admission: OpId
    cut: Cut

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.admission, 1: _cut_map(self.cut)}

    @classmethod
    def read(cls, fields: Fields) -> Remove:
        """Undo `to_map`."""
        return cls(fields.id(0, OpId), _read_cut(fields, 1))


@dataclass(frozen=True, slots=True)
class ChangeRole:
    """The admission's role becomes reader or editor; `cut` when that lowers it."""

    admission: OpId
    role: Role
    cut: Cut

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.admission, 1: self.role.rank, 2: _cut_map(self.cut)}

    @classmethod
    def read(cls, fields: Fields) -> ChangeRole:
        """Undo `to_map`; ownership comes by admit only."""
        admission, role = fields.id(0, OpId), Role.from_rank(fields.uint(1))
        if role is Role.OWNER:
            raise WireError("role: ownership comes by admit only")
        return cls(admission, role, _read_cut(fields, 2))


@dataclass(frozen=True, slots=True)
class DevAdd:
    """A further device of the admission the op acts under; the certificate carries sig_U."""

    certificate: DeviceCertificate

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.certificate.raw}

    @classmethod
    def read(cls, fields: Fields) -> DevAdd:
        """Undo `to_map`."""
        return cls(DeviceCertificate.decode(fields.octets(0, maximum=CERTIFICATE_BYTES_MAX)))


@dataclass(frozen=True, slots=True)
class DevRevoke:
    """A device of `admission` is out; `user_signature` is over `control_op.revocation_statement`."""

    admission: OpId
    device: DeviceId
    cut: Cut
    user_signature: bytes | None = None

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        fields: dict[int, object] = {0: self.admission, 1: self.device, 2: _cut_map(self.cut)}
        if self.user_signature is not None:
            fields[3] = self.user_signature
        return fields

    @classmethod
    def read(cls, fields: Fields) -> DevRevoke:
        """Undo `to_map`."""
        admission, device, cut = fields.id(0, OpId), fields.id(1, DeviceId), _read_cut(fields, 2)
        return cls(admission, device, cut, fields.octets_or_none(3, size=SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class Epoch:
    """A new secret: `boxes` [device_id[:8], sealed secret], `wrapped` [parent epoch, its secret]."""

    generation: int
    commit: bytes
    boxes: tuple[tuple[bytes, bytes], ...]
    wrapped: tuple[tuple[EpochId, bytes], ...]

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.generation, 1: self.commit, 2: list(self.boxes), 3: list(self.wrapped)}

    @classmethod
    def read(cls, fields: Fields) -> Epoch:
        """Undo `to_map`."""
        generation, commit = fields.uint(0), fields.octets(1, size=32)
        boxes = fields.pairs(
            2, lambda v: as_bytes(v, BOX_HINT_BYTES), lambda v: as_bytes(v, BOX_BYTES), maximum=DEVICES_MAX
        )
        wrapped = fields.pairs(
            3,
            lambda v: EpochId(as_bytes(v, EpochId.SIZE)),
            lambda v: as_bytes(v, WRAPPED_BYTES),
            maximum=EPOCH_PARENTS_MAX,
        )
        return cls(
            generation,
            commit,
            tuple((hint, as_bytes(box)) for hint, box in boxes if isinstance(box, bytes)),
            tuple((epoch, box) for epoch, box in wrapped if isinstance(box, bytes)),
        )


@dataclass(frozen=True, slots=True)
class Keybox:
    """One epoch's secret sealed to one device that was not there when the epoch began."""

    epoch_id: EpochId
    device: DeviceId
    box: bytes

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.epoch_id, 1: self.device, 2: self.box}

    @classmethod
    def read(cls, fields: Fields) -> Keybox:
        """Undo `to_map`."""
        return cls(fields.id(0, EpochId), fields.id(1, DeviceId), fields.octets(2, size=BOX_BYTES))


@dataclass(frozen=True, slots=True)
class Invite:
    """Whoever proves the secret behind `public` may be admitted with `role`, `max_uses` times.

    `expires_ms` is a hint for the issuer's daemon; clocks decide nothing."""

    public: bytes
    kind: InviteKind
    role: Role
    max_uses: int
    expires_ms: int | None

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        fields: dict[int, object] = {0: self.public, 1: int(self.kind), 2: self.role.rank, 3: self.max_uses}
        if self.expires_ms is not None:
            fields[4] = self.expires_ms
        return fields

    @classmethod
    def read(cls, fields: Fields) -> Invite:
        """Undo `to_map`; nobody becomes owner by an open invitation."""
        public = fields.octets(0, size=32)
        kind = InviteKind(fields.uint(1, maximum=1))
        role, max_uses = Role.from_rank(fields.uint(2)), fields.uint(3, maximum=INVITE_USES_MAX)
        if max_uses < 1 or (role is Role.OWNER and kind is InviteKind.MEMBER):
            raise WireError("invite: useless, or open to owners")
        return cls(public, kind, role, max_uses, fields.uint_or_none(4))


@dataclass(frozen=True, slots=True)
class InviteRevoke:
    """The invitation admits nobody any more."""

    invite: OpId

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.invite}

    @classmethod
    def read(cls, fields: Fields) -> InviteRevoke:
        """Undo `to_map`."""
        return cls(fields.id(0, OpId))


@dataclass(frozen=True, slots=True)
class Accept:
    """Quarantined envelopes of a cut log are accepted up to `next_seq`."""

    log_id: LogId
    next_seq: int

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.log_id, 1: self.next_seq}

    @classmethod
    def read(cls, fields: Fields) -> Accept:
        """Undo `to_map`."""
        return cls(fields.id(0, LogId), fields.uint(1))


@dataclass(frozen=True, slots=True)
class Prefs:
    """The space's preferences, sealed under one epoch's prefs key: nonce (12) ‖ ciphertext."""

    epoch_id: EpochId
    sealed: bytes

    def to_map(self) -> dict[int, object]:
        """The body as CBOR data."""
        return {0: self.epoch_id, 1: self.sealed}

    @classmethod
    def read(cls, fields: Fields) -> Prefs:
        """Undo `to_map`."""
        return cls(fields.id(0, EpochId), fields.octets(1, maximum=CONTROL_OP_BYTES_MAX))


Body = (
    Genesis
    | Admit
    | Remove
    | ChangeRole
    | DevAdd
    | DevRevoke
    | Epoch
    | Keybox
    | Invite
    | InviteRevoke
    | Accept
    | Prefs
)

BODY_TYPES: Final[dict[OpType, type[Body]]] = {
    OpType.GENESIS: Genesis,
    OpType.ADMIT: Admit,
    OpType.REMOVE: Remove,
    OpType.ROLE: ChangeRole,
    OpType.DEV_ADD: DevAdd,
    OpType.DEV_REVOKE: DevRevoke,
    OpType.EPOCH: Epoch,
    OpType.KEYBOX: Keybox,
    OpType.INVITE: Invite,
    OpType.INVITE_REVOKE: InviteRevoke,
    OpType.ACCEPT: Accept,
    OpType.PREFS: Prefs,
}
OP_TYPES: Final[dict[type[Body], OpType]] = {body: kind for kind, body in BODY_TYPES.items()}
