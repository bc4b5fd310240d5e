"""Making and comparing control planes in tests: ops nobody would author, merges, invitations."""

from __future__ import annotations

import random

from sheaf.core.base.errors import NotAllowed
from sheaf.core.base.ids import OpId
from sheaf.core.crypto.identity import UserKeys
from sheaf.core.space import authoring
from sheaf.core.space.control_op import admission_statement, decode_op, encode_op
from sheaf.core.space.membership import Membership
from sheaf.core.space.op_bodies import Admit, Body
from sheaf.core.space.roles import Role
from tests.support.space_world import Person, Replica, World


def admission_of(replica: Replica, person: Person) -> OpId:
    return replica.space.membership.members[person.user.user_id].admission


def merge(*replicas: Replica) -> Membership:
    """Everybody gets everybody's ops, in different orders; all agree."""
    raws = {raw for replica in replicas for raw in replica.ops}
    summaries = []
    for index, replica in enumerate(replicas):
        mine = sorted(raws)
        random.Random(index).shuffle(mine)
        replica.add_ops(*mine)
        summaries.append(replica.space.membership.summary())
    assert all(summary == summaries[0] for summary in summaries)
    return replicas[0].space.membership


def by(replica: Replica, body: Body) -> bytes:
    """An op that authoring would refuse to make."""
    found = replica.space.membership.device(replica.person.device.device_id)
    if found is None:
        raise NotAllowed("not a member any more")
    return encode_op(
        replica.person.device,
        body,
        space_id=replica.space.space_id,
        parents=replica.space.control.heads(),
        admission=found[0].admission,
        hlc_ms=1,
    )


def remove(replica: Replica, person: Person) -> None:
    replica.add_ops(
        authoring.remove(
            replica.space,
            replica.person.device,
            admission=admission_of(replica, person),
            now_ms=replica.world.tick(),
        )
    )


def roles(membership: Membership) -> dict[str, Role]:
    return {member.name: member.role for member in membership.members.values()}


def invited(world: World, a: Replica, max_uses: int = 1, role: Role = Role.EDITOR) -> tuple[UserKeys, OpId]:
    """An invitation key (any Ed25519 key does) and the op that opens it."""
    key = UserKeys.generate(world.entropy)
    raw = authoring.invite(
        a.space,
        a.person.device,
        invite_public=key.user_id,
        role=role,
        max_uses=max_uses,
        expires_ms=None,
        now_ms=world.tick(),
    )
    a.add_ops(raw)
    return key, decode_op(raw).op_id


def admit_by_invite(
    a: Replica, person: Person, key: UserKeys, invite: OpId, role: Role = Role.EDITOR
) -> bytes:
    proof = key.sign(admission_statement(a.space.space_id, person.certificate))
    return by(a, Admit(person.user.user_id, role, (person.certificate,), invite, proof))
