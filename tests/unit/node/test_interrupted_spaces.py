"""Spaces that fail, are left or joined in the middle of something."""

from __future__ import annotations

from sheaf.core.base.errors import StorageFailure
from sheaf.node.node import Node
from sheaf.node.peer_link import PeerLink
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
        await until(lambda: ann.status().storage.state == "failed")
        anns.store.fail_commits_with = None
        await until(lambda: ann.status().storage.state == "ok")

        async def has_come() -> bool:
            return "words" in await text_of(ann, doc)

        await until(has_come)
        assert _link(ann) is link
        await until(lambda: not any(link.session._mux._held.values()), timeout_s=2)
