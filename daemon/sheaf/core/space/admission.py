"""One node of the admission tree while `evaluation` passes over it (PROTOCOL §4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sheaf.core.base.ids import DeviceId, UserId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.space.control_dag import ControlDag, admitted_certificates
from sheaf.core.space.control_op import ControlOp
from sheaf.core.space.op_bodies import ChangeRole, Cut
from sheaf.core.space.roles import Role


@dataclass(slots=True)
class Admission:
    """An effective admission while the pass is under way. Positions are the DAG's."""

    op: ControlOp
    position: int
    user: UserId
    role: Role
    parent: Admission | None
    depth: int
    certificates: dict[DeviceId, DeviceCertificate]
    removals: list[tuple[int, Cut]] = field(default_factory=list)
    leavings: list[tuple[int, Cut]] = field(default_factory=list)
    revocations: dict[DeviceId, list[tuple[int, Cut]]] = field(default_factory=dict)
    roles: list[tuple[int, ChangeRole]] = field(default_factory=list)

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER

    @property
    def is_active(self) -> bool:
        return not self.removals and not self.leavings

    def descends_from(self, other: Admission) -> bool:
        """Whether `other` is a strict ancestor in the tree."""
        node = self.parent
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False


def note_device(admission: Admission, certificate: DeviceCertificate) -> None:
    """A device was added, or gave itself or its person another name.

    The key of a device that the admission names stands; otherwise, of several keys, the lowest.
    Among certificates for one key the newest by its author's clock stands: that decides names
    only. So the outcome does not depend on the order in which ops are met.
    """
    known = admission.certificates.get(certificate.device)
    if known is None:
        admission.certificates[certificate.device] = certificate
        return
    is_named = certificate.device in {own.device for own in admitted_certificates(admission.op)}
    if certificate.kem == known.kem:
        is_better = (certificate.created_ms, certificate.raw) > (known.created_ms, known.raw)
    else:
        is_better = not is_named and certificate.kem < known.kem
    if is_better:
        admission.certificates[certificate.device] = certificate


def role_at(dag: ControlDag, admission: Admission, past: int | None) -> Role:
    """The role after the role changes in `past` (None: all): the last one; of several, the lowest."""
    changes = [(at, body) for at, body in admission.roles if past is None or past >> at & 1]
    last = [
        body.role
        for at, body in changes
        if not any(other != at and dag.past(other) >> at & 1 for other, _ in changes)
    ]
    return min(last, key=lambda role: role.rank, default=admission.role)
