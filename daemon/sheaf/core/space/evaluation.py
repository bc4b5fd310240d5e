"""From ops to membership: one pass over the admission tree (PROTOCOL §4, decision 0022).

A pure function of a set of ops, whatever order they came in. The parent of an admission
is the admission its author acted under; the founder's genesis is the root. Owners are
evaluated by depth, so whatever can void an owner's ops (removals by tree ancestors) is
known before they are looked at:

1. An op counts iff its admission is effective, its role suffices, and it is in the past
   of every effective removal of its admission and revocation of its device (so removal
   voids what is after *or concurrent with* it).
2. Removals may name: any reader or editor; an owner admission that is a tree descendant;
   oneself. So nothing can remove what it depends on.
3. Leaving and revoking one's own device are decided before the author's other ops and do
   not void each other; a revocation signed by the person (sig_U) stands by itself.
4. Removal beats role change; of concurrent role changes the lower wins.
5. No clock and no id order decides who is in. Ids break ties only between concurrent
   preferences and equal epochs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sheaf.core.base.ids import DeviceId, EpochId, OpId, UserId
from sheaf.core.crypto.identity import DeviceCertificate, verify
from sheaf.core.space.admission import Admission, note_device, role_at
from sheaf.core.space.control_dag import ControlDag, admitted_certificates
from sheaf.core.space.control_op import ControlOp, admission_statement, has_user_signature
from sheaf.core.space.membership import Cutting, EpochInfo, InviteInfo, Member, Membership
from sheaf.core.space.op_bodies import (
    BOX_HINT_BYTES,
    Accept,
    Admit,
    ChangeRole,
    DevAdd,
    DevRevoke,
    Epoch,
    Invite,
    InviteKind,
    InviteRevoke,
    Keybox,
    Prefs,
    Remove,
)
from sheaf.core.space.roles import Role

_verified = lru_cache(maxsize=4096)(verify)


def evaluate(dag: ControlDag, heads: Iterable[OpId] | None = None) -> Membership:
    """Membership as it follows from `heads` and everything before them (None: from all ops).

    The caller makes sure that a genesis is in; heads that are not here count for nothing.
    """
    evaluation = _Evaluation(dag, dag.mask(heads))
    evaluation.run()
    return evaluation.result()


@dataclass(slots=True)
class _Claim:
    """A removal, revocation or role change waiting for its target to be reached."""

    by: Admission
    position: int
    op: ControlOp


class _Evaluation:
    """The state of one pass."""

    def __init__(self, dag: ControlDag, mask: int) -> None:
        self._dag = dag
        self._mask = mask
        self._admissions: dict[OpId, Admission] = {}
        self._claims: defaultdict[OpId, list[_Claim]] = defaultdict(list)
        self._invites: dict[OpId, tuple[Invite, Admission]] = {}
        self._uses: defaultdict[OpId, list[int]] = defaultdict(list)
        self._invite_revocations: defaultdict[OpId, list[tuple[int, Admission]]] = defaultdict(list)
        self._epochs: list[tuple[int, ControlOp, Admission]] = []
        self._keyboxes: list[Keybox] = []
        self._prefs: list[tuple[int, ControlOp]] = []
        self._accepts: list[Accept] = []

    # ------------------------------------------------------------ the pass

    def run(self) -> None:
        """Owners level by level, then everybody else."""
        assert self._mask & 1, "evaluation without a genesis"
        level = [self._founder()]
        others: list[Admission] = []
        while level:
            admitted: list[Admission] = []
            for owner in level:
                admitted += self._process(owner)
            others += [a for a in admitted if not a.is_owner]
            level = [a for a in admitted if a.is_owner]
        for member in others:
            self._process(member)

    def _founder(self) -> Admission:
        return self._admission(self._dag.at(0), 0, Role.OWNER, None)

    def _admission(self, op: ControlOp, position: int, role: Role, parent: Admission | None) -> Admission:
        certificates = admitted_certificates(op)
        admission = Admission(
            op=op,
            position=position,
            user=certificates[0].user,
            role=role,
            parent=parent,
            depth=0 if parent is None else parent.depth + 1,
            certificates={certificate.device: certificate for certificate in certificates},
        )
        self._admissions[op.op_id] = admission
        return admission

    def _process(self, admission: Admission) -> list[Admission]:
        """Decide all ops authored under `admission`; returns the admissions among them."""
        self._settle_claims(admission)
        mine = [
            (i, self._dag.at(i)) for i in self._dag.acting_under(admission.op.op_id) if self._mask >> i & 1
        ]
        self._settle_own_revocations(admission, mine)
        self._settle_leaving(admission, mine)
        admitted: list[Admission] = []
        for position, op in mine:
            if self._counts(admission, position, op, with_leaving=True):
                admitted += self._take(admission, position, op)
        return admitted

    def _counts(self, admission: Admission, position: int, op: ControlOp, *, with_leaving: bool) -> bool:
        """Rule 1: in the past of all that ended this author's authority."""
        endings = [at for at, _ in admission.removals]
        endings += [at for at, _ in admission.revocations.get(op.device_id, ())]
        if with_leaving:
            endings += [at for at, _ in admission.leavings]
        return all(at == position or self._dag.past(at) >> position & 1 for at in endings)

    # ------------------------------------------------------------ what ends authority

    def _settle_claims(self, target: Admission) -> None:
        """Apply what owners said of this admission. All who may are processed by now."""
        for claim in self._claims.pop(target.op.op_id, ()):
            may = target.descends_from(claim.by) if target.is_owner else True
            body = claim.op.body
            if not may:
                continue
            if isinstance(body, Remove):
                target.removals.append((claim.position, body.cut))
            elif isinstance(body, DevRevoke):
                target.revocations.setdefault(body.device, []).append((claim.position, body.cut))
            elif isinstance(body, ChangeRole) and not target.is_owner:
                target.roles.append((claim.position, body))

    def _settle_own_revocations(self, admission: Admission, mine: list[tuple[int, ControlOp]]) -> None:
        certificate = next(iter(admission.certificates.values()))
        for position, op in mine:
            body = op.body
            if not isinstance(body, DevRevoke) or body.admission != admission.op.op_id:
                continue
            if body.device == op.device_id or has_user_signature(op, certificate):
                admission.revocations.setdefault(body.device, []).append((position, body.cut))

    def _settle_leaving(self, admission: Admission, mine: list[tuple[int, ControlOp]]) -> None:
        for position, op in mine:
            body = op.body
            if (
                isinstance(body, Remove)
                and body.admission == admission.op.op_id
                and self._counts(admission, position, op, with_leaving=False)
            ):
                admission.leavings.append((position, body.cut))

    # ------------------------------------------------------------ effective ops

    def _take(self, author: Admission, position: int, op: ControlOp) -> Iterator[Admission]:
        """Note what an op does whose author had authority; yields a new admission."""
        body = op.body
        if isinstance(body, DevAdd):
            note_device(author, body.certificate)
        elif isinstance(body, Keybox):
            self._keyboxes.append(body)
        elif isinstance(body, Epoch):
            if author.is_owner or role_at(self._dag, author, self._dag.past(position)).can_write:
                self._epochs.append((position, op, author))
        elif author.is_owner:
            yield from self._take_owners(author, position, op)

    def _take_owners(self, author: Admission, position: int, op: ControlOp) -> Iterator[Admission]:
        body = op.body
        if isinstance(body, Admit):
            if self._may_admit(author, position, op, body):
                yield self._admission(op, position, body.role, author)
        elif isinstance(body, Remove | ChangeRole | DevRevoke):
            target = self._dag.position(body.admission)
            if target is not None and self._dag.past(position) >> target & 1:
                self._claims[body.admission].append(_Claim(author, position, op))
        elif isinstance(body, Invite):
            self._invites[op.op_id] = (body, author)
        elif isinstance(body, InviteRevoke):
            self._invite_revocations[body.invite].append((position, author))
        elif isinstance(body, Accept):
            self._accepts.append(body)
        elif isinstance(body, Prefs):
            self._prefs.append((position, op))

    def _may_admit(self, author: Admission, position: int, op: ControlOp, body: Admit) -> bool:
        """An admit through an invitation obeys it; one without is the owner's own word."""
        if body.invite is None or body.proof is None:
            return True
        invite, issuer = self._invites.get(body.invite, (None, None))
        if invite is None or issuer is not author or invite.kind is not InviteKind.MEMBER:
            return False
        past = self._dag.past(position)
        invited_at = self._dag.position(body.invite)
        if invited_at is None or not past >> invited_at & 1 or body.role is not invite.role:
            return False
        # Only the issuer's own revocations bind here: others' are heeded by the issuer's daemon.
        revoked = any(by is author and past >> at & 1 for at, by in self._invite_revocations[body.invite])
        used = sum(1 for at in self._uses[body.invite] if past >> at & 1)
        statement = admission_statement(op.space_id, body.certificates[0])
        if revoked or used >= invite.max_uses or not _verified(invite.public, statement, body.proof):
            return False
        self._uses[body.invite].append(position)
        return True

    # ------------------------------------------------------------ the result

    def result(self) -> Membership:
        """Put together what the pass found."""
        members, allowed = self._members()
        return Membership(
            founder=self._admissions[self._dag.at(0).op_id].user,
            members=members,
            allowed=allowed,
            epochs=self._effective_epochs(allowed),
            invites=self._invite_infos(),
            keyboxes=sorted(self._keyboxes, key=lambda k: (k.epoch_id, k.device, k.box)),
            prefs=self._latest_prefs(),
            cuttings=list(self._cuttings()),
            accepts=self._accepts,
            admissions={op_id: admission.user for op_id, admission in self._admissions.items()},
        )

    def _members(
        self,
    ) -> tuple[dict[UserId, Member], dict[DeviceId, tuple[Member, DeviceCertificate]]]:
        members: dict[UserId, Member] = {}
        allowed: dict[DeviceId, tuple[Member, DeviceCertificate]] = {}
        active = [a for a in self._admissions.values() if a.is_active]
        active.sort(key=lambda a: (-role_at(self._dag, a, None).rank, a.depth, a.op.op_id))
        for admission in active:
            devices = tuple(
                certificate
                for device, certificate in sorted(admission.certificates.items())
                if device not in admission.revocations
            )
            name = max(admission.certificates.values(), key=lambda c: (c.created_ms, c.raw)).user_name
            role = role_at(self._dag, admission, None)
            member = Member(admission.user, name, role, admission.op.op_id, devices)
            known = members.get(admission.user)
            if known is None or (devices and not known.devices):
                members[admission.user] = member
            for certificate in devices:
                allowed.setdefault(certificate.device, (member, certificate))
        return members, allowed

    def _effective_epochs(self, allowed: dict[DeviceId, tuple[Member, DeviceCertificate]]) -> list[EpochInfo]:
        hints = {device[:BOX_HINT_BYTES] for device in allowed}
        effective: list[tuple[int, int]] = []
        infos = []
        for position, op, author in sorted(self._epochs, key=lambda found: found[0]):
            body = op.body
            assert isinstance(body, Epoch)
            past = self._dag.past(position)
            before = max((generation for at, generation in effective if past >> at & 1), default=0)
            is_first_by_founder = before > 0 or author.parent is None
            if body.generation != before + 1 or not is_first_by_founder:
                continue
            effective.append((position, body.generation))
            infos.append(
                EpochInfo(
                    epoch_id=EpochId(op.op_id[: EpochId.SIZE]),
                    op_id=op.op_id,
                    generation=body.generation,
                    commit=body.commit,
                    boxes=body.boxes,
                    wrapped=body.wrapped,
                    is_usable=all(hint in hints for hint, _ in body.boxes),
                )
            )
        return sorted(infos, key=lambda info: info.preference)

    def _invite_infos(self) -> dict[OpId, InviteInfo]:
        return {
            op_id: InviteInfo(
                op_id=op_id,
                public=invite.public,
                kind=invite.kind,
                role=invite.role,
                max_uses=invite.max_uses,
                uses=len(self._uses[op_id]),
                expires_ms=invite.expires_ms,
                is_revoked=bool(self._invite_revocations[op_id]) or not issuer.is_active,
                issuer=issuer.user,
                admission=issuer.op.op_id,
            )
            for op_id, (invite, issuer) in self._invites.items()
        }

    def _latest_prefs(self) -> Prefs | None:
        """The one nothing later replaces; of concurrent ones the lower op id (rule 5)."""
        pasts = [self._dag.past(at) for at, _ in self._prefs]
        latest = [
            op
            for at, op in self._prefs
            if not any(
                past >> at & 1 for (other, _), past in zip(self._prefs, pasts, strict=True) if other != at
            )
        ]
        body = min(latest, key=lambda op: op.op_id).body if latest else None
        return body if isinstance(body, Prefs) else None

    def _cuttings(self) -> Iterator[Cutting]:
        for admission in self._admissions.values():
            everything = frozenset(admission.certificates)
            for _, cut in admission.removals + admission.leavings:
                yield Cutting(admission.user, everything, cut)
            for _, body in admission.roles:
                if not body.role.can_write:
                    yield Cutting(admission.user, everything, body.cut)
            for device, revocations in admission.revocations.items():
                for _, cut in revocations:
                    yield Cutting(admission.user, frozenset((device,)), cut)
