"""What the control plane adds up to: who is in, with what role, under which keys.

Plain immutable results of `evaluation.evaluate`, and the lookups others need. Knows no
secrets and no envelopes. PROTOCOL §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sheaf.core.base.ids import DeviceId, EpochId, LogId, OpId, UserId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.space.op_bodies import Accept, Cut, InviteKind, Keybox, Prefs
from sheaf.core.space.roles import Role


@dataclass(frozen=True, slots=True)
class Member:
    """A person who is in now. `devices` are the active ones, sorted by id; `admission` is
    the op their ops and devices act under (the most powerful when there are several)."""

    user_id: UserId
    name: str
    role: Role
    admission: OpId
    devices: tuple[DeviceCertificate, ...]


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """An effective epoch. `is_usable`: all its boxes belong to devices active now."""

    epoch_id: EpochId
    op_id: OpId
    generation: int
    commit: bytes
    boxes: tuple[tuple[bytes, bytes], ...]
    wrapped: tuple[tuple[EpochId, bytes], ...]
    is_usable: bool

    @property
    def preference(self) -> tuple[int, bytes]:
        """Smaller is better: the highest generation, then the lower id."""
        return (-self.generation, self.epoch_id)


@dataclass(frozen=True, slots=True)
class InviteInfo:
    """An effective invitation. `uses` counts effective admits through it."""

    op_id: OpId
    public: bytes
    kind: InviteKind
    role: Role
    max_uses: int
    uses: int
    expires_ms: int | None
    is_revoked: bool
    issuer: UserId
    admission: OpId

    @property
    def invite_pub(self) -> bytes:
        """The Ed25519 key derived from the ticket's secret, 32 bytes."""
        return self.public

    @property
    def is_open(self) -> bool:
        """Whether the issuer may still admit through it (expiry apart)."""
        return not self.is_revoked and self.uses < self.max_uses


@dataclass(frozen=True, slots=True)
class Cutting:
    """One effective removal, demotion or revocation: envelopes of these devices' logs at or
    above `cut` (0 where unlisted) are not accepted unasked."""

    user: UserId
    devices: frozenset[DeviceId]
    cut: Cut


class Membership:
    """The result of one evaluation; immutable, shared and cached.

    Args:
        founder: the person whose genesis this is.
        members: who is in now.
        allowed: every active device with the strongest membership it has.
        epochs: effective epochs, best first.
        invites, keyboxes, prefs, cuttings, accepts: the effective ones.
        admissions: effective admissions with their person (also ended ones).
    """

    __slots__ = (
        "_allowed",
        "accepts",
        "admissions",
        "cuttings",
        "epochs",
        "founder",
        "invites",
        "keyboxes",
        "members",
        "prefs",
    )

    def __init__(
        self,
        *,
        founder: UserId,
        members: Mapping[UserId, Member],
        allowed: Mapping[DeviceId, tuple[Member, DeviceCertificate]],
        epochs: Sequence[EpochInfo],
        invites: Mapping[OpId, InviteInfo],
        keyboxes: Sequence[Keybox],
        prefs: Prefs | None,
        cuttings: Sequence[Cutting],
        accepts: Sequence[Accept],
        admissions: Mapping[OpId, UserId],
    ) -> None:
        self.founder = founder
        self.members = members
        self._allowed = allowed
        self.epochs = tuple(epochs)
        self.invites = invites
        self.keyboxes = tuple(keyboxes)
        self.prefs = prefs
        self.cuttings = tuple(cuttings)
        self.accepts = tuple(accepts)
        self.admissions = admissions

    def device(self, device_id: DeviceId) -> tuple[Member, DeviceCertificate] | None:
        """The member a device belongs to, while it is active."""
        return self._allowed.get(device_id)

    def devices(self) -> Mapping[DeviceId, tuple[Member, DeviceCertificate]]:
        """All active devices."""
        return self._allowed

    def is_active(self, device_id: DeviceId) -> bool:
        """Whether it is a device of a member now."""
        return device_id in self._allowed

    def role_of(self, device_id: DeviceId) -> Role | None:
        """What the device may do; None for strangers and the removed."""
        found = self._allowed.get(device_id)
        return None if found is None else found[0].role

    def can_write(self, device_id: DeviceId) -> bool:
        """Whether the device may write envelopes."""
        role = self.role_of(device_id)
        return role is not None and role.can_write

    @property
    def cuts(self) -> tuple[Cutting, ...]:
        """Effective removals, demotions and revocations."""
        return self.cuttings

    def cut(self, log_id: LogId, device_id: DeviceId) -> int | None:
        """First seq of a log that is not accepted unasked; None while its author may write.

        Args:
            log_id: the log.
            device_id: the device its genesis names.
        """
        if self.can_write(device_id):
            return None
        listed = [dict(c.cut).get(log_id, 0) for c in self.cuttings if device_id in c.devices]
        accepted = [accept.next_seq for accept in self.accepts if accept.log_id == log_id]
        return max(listed + accepted, default=0)

    def summary(self) -> dict[str, object]:
        """Everything that decides, as plain data: equal summaries mean equal outcomes."""
        return {
            "members": {
                user.hex(): (m.role.value, m.admission.hex(), [d.device.hex() for d in m.devices])
                for user, m in sorted(self.members.items())
            },
            "allowed": {d.hex(): m.role.value for d, (m, _) in sorted(self._allowed.items())},
            "epochs": [(e.epoch_id.hex(), e.generation, e.is_usable) for e in self.epochs],
            "invites": {i.hex(): (n.uses, n.is_revoked) for i, n in sorted(self.invites.items())},
            "keyboxes": sorted((k.epoch_id.hex(), k.device.hex()) for k in self.keyboxes),
            "prefs": None if self.prefs is None else self.prefs.sealed.hex(),
            "cuts": sorted((c.user.hex(), c.cut) for c in self.cuttings),
            "accepts": sorted((a.log_id.hex(), a.next_seq) for a in self.accepts),
            "admissions": sorted(op.hex() for op in self.admissions),
        }
