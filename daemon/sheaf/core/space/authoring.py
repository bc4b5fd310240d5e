"""Making signed control ops (PROTOCOL §4).

Every function returns raw ops for the caller to `Space.add_ops`, commit and announce; none
changes the space. Parents are the space's heads at the time of the call, so add each op
before making the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sheaf.core.base.errors import NotAllowed, UsageError
from sheaf.core.base.ids import DeviceId, EpochId, LogId, OpId, SpaceId
from sheaf.core.base.limits import DEVICES_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.crypto.key_schedule import SECRET_BYTES, SpaceKeys, epoch_commit
from sheaf.core.crypto.sealing import BoxSealer, seal_box
from sheaf.core.space.control_op import PARENTS_MAX, encode_op, op_id_of, revocation_statement, space_id_of
from sheaf.core.space.key_ring import epoch_box_info, keybox_info, wrap_secret
from sheaf.core.space.membership import EpochInfo, Member
from sheaf.core.space.op_bodies import (
    BOX_HINT_BYTES,
    EPOCH_PARENTS_MAX,
    Accept,
    Admit,
    Body,
    ChangeRole,
    Cut,
    DevAdd,
    DevRevoke,
    Epoch,
    Genesis,
    Invite,
    InviteKind,
    InviteRevoke,
    Keybox,
    Remove,
)
from sheaf.core.space.preferences import Preferences, seal_preferences
from sheaf.core.space.roles import Role
from sheaf.core.space.space import Space

GENESIS_RANDOM_BYTES = 16
CUT_LOGS_MAX = 2000
"""Entries of a cut: 2000 × 24 bytes stay below the size of an op."""


@dataclass(frozen=True, slots=True)
class NewSpace:
    """A space just founded: add `ops` and the secret to a fresh `Space`, and store both."""

    space_id: SpaceId
    ops: tuple[bytes, ...]
    epoch_id: EpochId
    secret: bytes


def create_space(
    user: UserKeys,
    device: DeviceKeys,
    certificate: DeviceCertificate,
    name: str,
    now_ms: int,
    entropy: Entropy,
    sealer: BoxSealer = seal_box,
) -> NewSpace:
    """Found a space: genesis, first epoch, preferences with the name.

    Raises:
        UsageError: `certificate` does not join `user` and `device`.
    """
    if (certificate.user, certificate.device) != (user.user_id, device.device_id):
        raise UsageError("The certificate is not for this person and device.")
    body = Genesis(certificate, entropy(GENESIS_RANDOM_BYTES))
    genesis = encode_op(device, body, space_id=None, parents=(), admission=None, hlc_ms=now_ms)
    space = Space(space_id=space_id_of(genesis), device_id=device.device_id)
    space.add_ops([genesis])
    epoch_raw, epoch_id, secret = epoch(space, device, now_ms=now_ms, entropy=entropy, sealer=sealer)
    space.add_ops([epoch_raw])
    space.add_secret(epoch_id, secret)
    prefs_raw = prefs(space, device, name=name, now_ms=now_ms, entropy=entropy)
    return NewSpace(space.space_id, (genesis, epoch_raw, prefs_raw), epoch_id, secret)


# --------------------------------------------------------------------------- people


def invite(
    space: Space,
    device: DeviceKeys,
    *,
    invite_public: bytes,
    role: Role,
    max_uses: int,
    expires_ms: int | None,
    now_ms: int,
    kind: InviteKind = InviteKind.MEMBER,
) -> bytes:
    """An open invitation; the ticket's secret stands behind `invite_public`.

    Raises:
        NotAllowed: not an owner.
        UsageError: role owner, or fewer than one use.
    """
    if role is Role.OWNER and kind is InviteKind.MEMBER:
        raise UsageError("An invitation cannot make owners: invite as editor and promote afterwards.")
    if max_uses < 1:
        raise UsageError("An invitation needs at least one use.")
    body = Invite(invite_public, kind, role, max_uses, expires_ms)
    return _owners_op(space, device, body, now_ms)


def invite_revoke(space: Space, device: DeviceKeys, *, invite_op: OpId, now_ms: int) -> bytes:
    """Withdraw an invitation. Raises NotAllowed for others than owners."""
    return _owners_op(space, device, InviteRevoke(invite_op), now_ms)


def admit(
    space: Space,
    device: DeviceKeys,
    *,
    certificates: Sequence[DeviceCertificate],
    role: Role,
    now_ms: int,
    invite_op: OpId | None = None,
    proof: bytes | None = None,
) -> bytes:
    """Let a person in, with `proof` (over `control_op.admission_statement` of the first
    certificate) when through an invitation.

    Raises:
        NotAllowed: not an owner, or the invitation does not allow it.
        UsageError: the space is full.
    """
    _check_room(space, len(certificates))
    if invite_op is not None:
        _check_invite(space, device, invite_op, role)
    body = Admit(certificates[0].user, role, tuple(certificates), invite_op, proof)
    return _owners_op(space, device, body, now_ms)


def remove(space: Space, device: DeviceKeys, *, admission: OpId, now_ms: int) -> bytes:
    """End an admission: somebody's whom the author may remove, or one's own (leaving).

    Follow it with `epoch` (after adding it), so that the removed cannot read on.
    """
    own = _own_member(space, device)
    body = Remove(admission, _cut(space, admission))
    if admission == own.admission:
        return _op(space, device, body, now_ms)
    return _owners_op(space, device, body, now_ms)


def role(space: Space, device: DeviceKeys, *, admission: OpId, role: Role, now_ms: int) -> bytes:
    """Make a reader an editor or the reverse."""
    if role is Role.OWNER:
        raise UsageError("Ownership is given by admitting somebody as owner.")
    cut = () if role.can_write else _cut(space, admission)
    return _owners_op(space, device, ChangeRole(admission, role, cut), now_ms)


def accept(space: Space, device: DeviceKeys, *, log_id: LogId, next_seq: int, now_ms: int) -> bytes:
    """Accept quarantined envelopes of a cut log below `next_seq`."""
    return _owners_op(space, device, Accept(log_id, next_seq), now_ms)


# --------------------------------------------------------------------------- devices


def dev_add(space: Space, device: DeviceKeys, *, certificate: DeviceCertificate, now_ms: int) -> bytes:
    """A further device of a member joins: the author's own person's, or the author itself.

    Raises:
        NotAllowed: that person is not a member.
        UsageError: somebody else's device, or the space is full.
    """
    _check_room(space, 1)
    member = space.membership.members.get(certificate.user)
    if member is None:
        raise NotAllowed("This person is not a member of the space.")
    if device.device_id not in {certificate.device, *(known.device for known in member.devices)}:
        raise UsageError("Only your own devices can be added this way; invite other people.")
    return _op(space, device, DevAdd(certificate), now_ms, member.admission)


def dev_revoke(
    space: Space,
    device: DeviceKeys,
    *,
    admission: OpId,
    target: DeviceId,
    now_ms: int,
    user: UserKeys | None = None,
) -> bytes:
    """Put a device out; `user` signs when it is one of the author's own. Follow with `epoch`."""
    cut = _cut(space, admission, target)
    parents = _parents(space)
    signature = None
    if user is not None:
        statement = revocation_statement(space.space_id, admission, target, cut, parents)
        signature = user.sign(statement)
    return _op(space, device, DevRevoke(admission, target, cut, signature), now_ms)


# --------------------------------------------------------------------------- keys


def epoch(
    space: Space,
    device: DeviceKeys,
    now_ms: int,
    entropy: Entropy,
    sealer: BoxSealer = seal_box,
) -> tuple[bytes, EpochId, bytes]:
    """A new epoch for all devices active now: (raw op, epoch id, secret).

    Raises:
        NotAllowed: a reader, or an earlier epoch's secret is missing here.
    """
    if not _own_member(space, device).role.can_write:
        raise NotAllowed("Readers cannot renew the keys of a space.")
    secret = entropy(SECRET_BYTES)
    commit = epoch_commit(space.space_id, secret)
    keys = SpaceKeys(secret, space.space_id)
    heads = _epoch_heads(space)
    wrapped = tuple(
        (info.epoch_id, wrap_secret(keys, info.epoch_id, space.secrets()[info.epoch_id])) for info in heads
    )
    boxes = tuple(
        (
            target[:BOX_HINT_BYTES],
            sealer(found[1].kem, secret, epoch_box_info(space.space_id, commit, target)),
        )
        for target, found in sorted(space.membership.devices().items())
    )
    generation = 1 + max((info.generation for info in space.membership.epochs), default=0)
    raw = _op(space, device, Epoch(generation, commit, boxes, wrapped), now_ms)
    return raw, EpochId(op_id_of(raw)[: EpochId.SIZE]), secret


def keyboxes(
    space: Space,
    device: DeviceKeys,
    target: DeviceCertificate,
    now_ms: int,
    sealer: BoxSealer = seal_box,
) -> list[bytes]:
    """The newest epochs for a newcomer's device; older ones open through the wrapped parents."""
    raws = []
    for info in _epoch_heads(space):
        context = keybox_info(space.space_id, info.epoch_id, target.device)
        box = sealer(target.kem, space.secrets()[info.epoch_id], context)
        raws.append(_op(space, device, Keybox(info.epoch_id, target.device, box), now_ms))
    return raws


def prefs(
    space: Space,
    device: DeviceKeys,
    *,
    now_ms: int,
    entropy: Entropy,
    name: str | None = None,
    relay_urls: Sequence[str] | None = None,
    retention_days: int | None = None,
) -> bytes:
    """Change the space's preferences; what is None stays as it is.

    Raises:
        NotAllowed: not an owner, or the space's key is not here yet.
    """
    epoch_id = space.current_epoch()
    if epoch_id is None:
        raise NotAllowed("The key of this space has not arrived yet.")
    old = space.preferences()
    new = Preferences(
        name=old.name if name is None else name,
        relay_urls=old.relay_urls if relay_urls is None else tuple(relay_urls),
        retention_days=old.retention_days if retention_days is None else retention_days,
    )
    body = seal_preferences(new, epoch_id, space.keys(epoch_id), entropy)
    return _owners_op(space, device, body, now_ms)


# --------------------------------------------------------------------------- inside


def _own_member(space: Space, device: DeviceKeys) -> Member:
    found = space.membership.device(device.device_id) if space.is_founded else None
    if found is None:
        raise NotAllowed("This device is not a member of the space.")
    return found[0]


def _op(space: Space, device: DeviceKeys, body: Body, now_ms: int, admission: OpId | None = None) -> bytes:
    return encode_op(
        device,
        body,
        space_id=space.space_id,
        parents=_parents(space),
        admission=admission or _own_member(space, device).admission,
        hlc_ms=now_ms,
    )


def _parents(space: Space) -> tuple[OpId, ...]:
    return space.control.heads()[:PARENTS_MAX]


def _owners_op(space: Space, device: DeviceKeys, body: Body, now_ms: int) -> bytes:
    if _own_member(space, device).role is not Role.OWNER:
        raise NotAllowed("Only owners of the space can do that.")
    return _op(space, device, body, now_ms)


def _check_invite(space: Space, device: DeviceKeys, invite_op: OpId, role: Role) -> None:
    info = space.membership.invites.get(invite_op)
    if info is None or not info.is_open:
        raise NotAllowed("This invitation is used up or was withdrawn.")
    if info.admission != _own_member(space, device).admission:
        raise NotAllowed("Only the person who made this invitation can let people in by it.")
    if info.role is not role:
        raise NotAllowed(f"This invitation is for the role {info.role.value}.")


def _cut(space: Space, admission: OpId, device_id: DeviceId | None = None) -> Cut:
    """Where the logs of an admission's person (or one device) stand here.

    At most `CUT_LOGS_MAX`, those first that no other log depends on: what they depend on is
    accepted with them (PROTOCOL §3), so nothing is lost by leaving the rest out.
    """
    user = space.membership.admissions.get(admission)
    if user is None:
        raise UsageError("There is no such admission.")
    theirs = [head for head in space.logs if head.user_id == user and device_id in (None, head.device_id)]
    theirs.sort(key=lambda head: (head.is_covered, head.log_id))
    return tuple(sorted((head.log_id, head.next_seq) for head in theirs[:CUT_LOGS_MAX]))


def _check_room(space: Space, count: int) -> None:
    if len(space.membership.devices()) + count > DEVICES_MAX:
        raise UsageError(f"A space has room for {DEVICES_MAX} devices; remove some that are not used.")


def _epoch_heads(space: Space) -> list[EpochInfo]:
    """Epochs no other epoch hands down: together they open everything. All must be held."""
    epochs = space.membership.epochs
    handed_down = {parent for info in epochs for parent, _ in info.wrapped}
    heads = [info for info in epochs if info.epoch_id not in handed_down][:EPOCH_PARENTS_MAX]
    held: Mapping[EpochId, bytes] = space.secrets()
    if any(info.epoch_id not in held for info in heads):
        raise NotAllowed("A key of this space has not arrived yet; try again when it has.")
    return heads
