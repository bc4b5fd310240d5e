"""Spaces that fail, are left or joined in the middle of something."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sheaf.core.base.errors import StorageFailure, UsageError
from sheaf.core.base.ids import SpaceId
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.node.node import Node
from sheaf.node.peer_link import PeerLink
from sheaf.node.views import JoinState
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import join, machine, new_text, running, text_of, until


def _link(node: Node) -> PeerLink:
    [link] = node._peers.links._links.values()
    return link


async def test_a_space_whose_disk_failed_gives_back_the_credit_of_what_came() -> None:
    lan = MemoryLan()
    anns = machine(lan, "ann")
    assert isinstance(anns.store, MemoryStore)
    async with running(anns, machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space)
        await until(lambda: bob.documents(space))
        link = _link(ann)
        anns.store.fail_commits_with = StorageFailure("the disk is full")
        await bob.append_content(doc, "words", agent=None)
        await until(lambda: ann.status().storage.state == "read_only")
        anns.store.fail_commits_with = None
        await until(lambda: ann.status().storage.state == "ok")

        async def has_come() -> bool:
            return "words" in await text_of(ann, doc)

        await until(has_come)
        assert _link(ann) is link
        await until(lambda: not any(link.session._mux._held.values()), timeout_s=2)


async def _joined(node: Node, *join_ids: str) -> None:
    def is_over() -> bool:
        return all(node.join_status(each).state in (JoinState.DONE, JoinState.FAILED) for each in join_ids)

    await until(is_over, timeout_s=20)
    assert [node.join_status(each).error for each in join_ids] == [None] * len(join_ids)


async def _ticket(owner: Node, space: SpaceId) -> str:
    view = await owner.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
    assert view.ticket is not None
    return view.ticket


async def test_two_spaces_of_one_friend_can_be_joined_at_once() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        first = (await ann.create_space("Home")).space_id
        await join(ann, bob, first)
        spaces = [(await ann.create_space(name)).space_id for name in ("Work", "Club")]
        joins = [(await bob.join(await _ticket(ann, space))).join_id for space in spaces]
        await _joined(bob, *joins)
        assert {view.space_id for view in bob.spaces()} == {first, *spaces}


async def test_two_tickets_of_one_space_open_it_once() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        tickets = [await _ticket(ann, space) for _ in range(2)]
        joins = [(await bob.join(ticket)).join_id for ticket in tickets]
        await _joined(bob, *joins)
        assert len(ann.invitations(space)) == 1


async def test_an_answer_that_is_lost_does_not_use_up_the_ticket() -> None:
    """Admitted, but the connection broke before the answer arrived: the same ticket works again."""
    lan = MemoryLan()
    anns, bobs = machine(lan, "ann"), machine(lan, "bob")
    async with running(anns) as (ann,):
        space = (await ann.create_space("Home")).space_id
        ticket = await _ticket(ann, space)
        bob = await bobs.start()
        answer = PeerLink.join_answer
        lost: list[int] = []

        def cut(link: PeerLink, token: int, ops: Sequence[bytes] | str) -> None:
            if lost:
                answer(link, token, ops)
            else:
                lost.append(token)
                link.channel_closed("the Wi-Fi went away")

        PeerLink.join_answer = cut  # type: ignore[method-assign]  # for one answer
        try:
            view = await bob.join(ticket)
            await _joined(bob, view.join_id)
        finally:
            PeerLink.join_answer = answer  # type: ignore[method-assign]
        assert lost
        assert [member.role for member in ann.members(space)] == [Role.OWNER, Role.EDITOR]
        await bob.close()


async def test_who_may_not_write_any_more_can_leave_with_words_nobody_will_get() -> None:
    lan = MemoryLan()
    async with running(machine(lan, "ann"), machine(lan, "bob")) as (ann, bob):
        space = (await ann.create_space("Home")).space_id
        await join(ann, bob, space)
        doc = await new_text(ann, space)
        await until(lambda: bob.documents(space))
        await lan.cut()
        await bob.append_content(doc, "too late", agent=None)
        with pytest.raises(UsageError, match="would be lost"):
            await bob.leave_space(space)
        host = ann._library.host(space)
        [admission] = [
            member.admission
            for member in host.space.membership.members.values()
            if member.user_id != ann.profile().user_id
        ]
        removal = authoring.remove(host.space, ann._identity.device, admission=admission, now_ms=1)
        host.add_ops([removal])
        bob._library.host(space).add_ops([removal])  # the removal reaches him
        await bob.leave_space(space)
        assert bob.spaces() == []
