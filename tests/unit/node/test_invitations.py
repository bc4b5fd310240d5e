"""What becomes of a ticket when the answer to it gets lost, and when it is used once more."""

from __future__ import annotations

from sheaf.core.base.errors import StorageFailure
from sheaf.core.space.roles import Role
from sheaf.node.views import JoinState
from sheaf.ports import WriteBatch
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import join, machine, running, until


class NoRoomForTheFirstSpace(MemoryStore):
    """A disk that is full at the moment the first space is to be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.has_refused = False

    async def commit(self, batch: WriteBatch) -> None:
        if batch.spaces and not self.has_refused:
            self.has_refused = True
            raise StorageFailure("the disk is full")
        await super().commit(batch)


async def test_who_was_let_in_and_could_not_keep_it_may_use_the_ticket_again() -> None:
    lan = MemoryLan()
    ann_machine, bob_machine = machine(lan, "ann"), machine(lan, "bob")
    bob_machine.store = NoRoomForTheFirstSpace()
    async with running(ann_machine, bob_machine) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        invitation = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert invitation.ticket is not None
        first = await bob.join(invitation.ticket)
        await until(lambda: bob.join_status(first.join_id).state is JoinState.FAILED)
        assert len(ann.members(space)) == 2
        second = await bob.join(invitation.ticket)
        await until(lambda: bob.join_status(second.join_id).state in (JoinState.DONE, JoinState.FAILED))
        assert bob.join_status(second.join_id).error is None
        assert [each.space_id for each in bob.spaces()] == [space]
        assert len(ann.members(space)) == 2


async def test_a_used_ticket_is_refused_to_others_at_once_and_in_words() -> None:
    lan = MemoryLan()
    everybody = [machine(lan, name) for name in ("ann", "bob", "eve")]
    async with running(*everybody) as (ann, bob, eve):
        space = (await ann.create_space("Home")).space_id
        invitation = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert invitation.ticket is not None
        joined = await bob.join(invitation.ticket)
        await until(lambda: bob.join_status(joined.join_id).state is JoinState.DONE)
        refused = await eve.join(invitation.ticket)
        await until(lambda: eve.join_status(refused.join_id).state is JoinState.FAILED, timeout_s=5)
        error = eve.join_status(refused.join_id).error
        assert error is not None
        assert "used up" in error[1]
        assert len(ann.members(space)) == 2


async def test_a_second_space_is_joined_through_the_connection_that_is_there() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        spaces = [(await ann.create_space(name)).space_id for name in ("Home", "Work")]
        for space in spaces:
            invitation = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
            assert invitation.ticket is not None
            view = await bob.join(invitation.ticket)
            await until(lambda join_id=view.join_id: bob.join_status(join_id).state is JoinState.DONE)
        assert {each.space_id for each in bob.spaces()} == set(spaces)
        assert bob.metrics()["connections_made_total"] == 1


async def test_a_connection_that_breaks_at_once_does_not_hold_up_a_join() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        lan.is_mute = 1  # the next channel carries nothing and breaks
        await join(ann, bob, space)
        assert lan.is_mute == 0
