"""One signed control op: encode, decode, statements inside it (PROTOCOL §4).

`raw` = CBOR {0:type, 1:space, 2:parents, 3:admission, 4:body, 5:hlc_ms, 6:device} ‖ sig_D.
A genesis has no fields 1 and 3. Signed bytes are kept and forwarded verbatim. Knows
nothing of other ops: authority is `evaluation`'s matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, OpId, SpaceId
from sheaf.core.base.limits import CONTROL_OP_BYTES_MAX
from sheaf.core.crypto.hashing import domain_bytes, domain_hash
from sheaf.core.crypto.identity import SIGNATURE_BYTES, DeviceCertificate, DeviceKeys, verify
from sheaf.core.space.op_bodies import BODY_TYPES, OP_TYPES, Body, Cut, DevRevoke, Genesis, OpType
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

PARENTS_MAX = 256
"""Heads one op can join; more only after as many concurrent ops."""
_SIGN = "op"


@dataclass(frozen=True, slots=True)
class ControlOp:
    """A checked op. `admission` is the op its author was admitted by (its own id for a genesis)."""

    op_id: OpId
    type: OpType
    space_id: SpaceId
    parents: tuple[OpId, ...]
    admission: OpId
    body: Body
    hlc_ms: int
    device_id: DeviceId
    raw: bytes


def encode_op(
    device: DeviceKeys,
    body: Body,
    *,
    space_id: SpaceId | None,
    parents: tuple[OpId, ...],
    admission: OpId | None,
    hlc_ms: int,
) -> bytes:
    """Make and sign an op; `space_id` and `admission` are None for a genesis only."""
    fields: dict[int, object] = {
        0: int(OP_TYPES[type(body)]),
        2: sorted(parents),
        4: body.to_map(),
        5: hlc_ms,
        6: device.device_id,
    }
    if space_id is not None and admission is not None:
        fields |= {1: space_id, 3: admission}
    signed = cbor.encode(fields)
    return signed + device.sign(domain_bytes(_SIGN, signed))


def decode_op(raw: bytes, *, is_trusted: bool = False) -> ControlOp:
    """Read an op and verify its signature.

    Args:
        raw: as received.
        is_trusted: it was verified before it was stored: skip the signature.

    Raises:
        WireError: not an op.
        ProtocolViolation: the signature does not hold.
    """
    if not SIGNATURE_BYTES < len(raw) <= CONTROL_OP_BYTES_MAX:
        raise WireError("control op of an impossible size")
    raw = bytes(raw)
    signed = raw[:-SIGNATURE_BYTES]
    fields = Fields(cbor.decode(signed, bytes_max=CONTROL_OP_BYTES_MAX), "control op")
    try:
        kind = OpType(fields.uint(0))
    except ValueError:
        raise WireError("control op of an unknown type: update Sheaf") from None
    op = _read(kind, fields, raw)
    if not is_trusted and not verify(op.device_id, domain_bytes(_SIGN, signed), raw[-SIGNATURE_BYTES:]):
        raise ProtocolViolation("control op not signed by its device")
    return op


def op_id_of(raw: bytes) -> OpId:
    """The id of an op: hash over its signed bytes and signature."""
    return OpId(domain_hash("op id", raw))


def space_id_of(genesis_raw: bytes) -> SpaceId:
    """The id of the space that a genesis founds."""
    return SpaceId(domain_hash("space", genesis_raw))


def admission_statement(space_id: SpaceId, certificate: DeviceCertificate) -> bytes:
    """What the invitation key signs for an admit: 'this device may join this space'.

    Bound to nothing of the session, so that every replica can check it for ever; the
    proof of the live JOIN is bound to the transcript and checked once, by the owner.
    """
    return domain_bytes("admit by invite", space_id, certificate.digest)


def revocation_statement(
    space_id: SpaceId, admission: OpId, device: DeviceId, cut: Cut, parents: tuple[OpId, ...]
) -> bytes:
    """What a person signs to revoke a device. Covers the op's parents: the statement cannot
    be carried to another place in the history, where it would void more."""
    encoded = cbor.encode([[log_id, seq] for log_id, seq in cut])
    return domain_bytes("revoke device", space_id, admission, device, encoded, b"".join(sorted(parents)))


def has_user_signature(op: ControlOp, certificate: DeviceCertificate) -> bool:
    """Whether a dev_revoke carries a valid statement by the person of `certificate`."""
    body = op.body
    if not isinstance(body, DevRevoke) or body.user_signature is None:
        return False
    statement = revocation_statement(op.space_id, body.admission, body.device, body.cut, op.parents)
    return verify(certificate.user, statement, body.user_signature)


def _read(kind: OpType, fields: Fields, raw: bytes) -> ControlOp:
    inner = Fields(fields.take(4), kind.name.lower())
    body = BODY_TYPES[kind].read(inner)
    inner.done()
    op_id = op_id_of(raw)
    is_genesis = kind is OpType.GENESIS
    op = ControlOp(
        op_id=op_id,
        type=kind,
        space_id=space_id_of(raw) if is_genesis else fields.id(1, SpaceId),
        parents=fields.id_list(2, OpId, maximum=PARENTS_MAX, is_sorted=True),
        admission=op_id if is_genesis else fields.id(3, OpId),
        body=body,
        hlc_ms=fields.uint(5),
        device_id=fields.id(6, DeviceId),
        raw=raw,
    )
    fields.done()
    if is_genesis == bool(op.parents):
        raise WireError("control op: a genesis has no parents, everything else has")
    if isinstance(body, Genesis) and body.certificate.device != op.device_id:
        raise WireError("genesis not by its founder's device")
    return op
