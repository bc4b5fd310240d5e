"""Delivery in words: `sheaf doc delivery` and what `sheaf status` says of it."""

from __future__ import annotations

import json
from dataclasses import replace

from sheaf.core.base.ids import SpaceId
from sheaf.node.delivery_state import SpaceDelivery
from tests.support.fake_node import FakeNode
from tests.unit.cli.conftest import Run


def stand(node: FakeNode, delivery: SpaceDelivery) -> None:
    """Every space of the fake node stands like this."""
    for space_id in list(node._spaces):
        node._spaces[SpaceId(space_id)] = replace(node._spaces[space_id], delivery=delivery)


async def test_a_document_tells_per_device_where_it_is(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    await sheaf("doc", "create", "Home", "--title", "Birds")
    text = (await sheaf("doc", "delivery", "Birds")).out
    for expected in ("Grace", "desk", "seen", "phone", "on the relay", "wss://relay.example", "kept there"):
        assert expected in text
    assert "Incomplete: 3 changes announced by Ann's laptop have not arrived." in text
    told = json.loads((await sheaf("doc", "delivery", "Birds", "--json")).out)
    assert told["people"][0]["devices"][1] == {
        "device_id": told["people"][0]["devices"][1]["device_id"],
        "name": "phone",
        "state": "on_relay",
        "at_ms": None,
        "missing": 2,
    }


async def test_status_is_silent_when_everybody_has_everything(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    stand(node, SpaceDelivery("delivered", 0, 0, None))
    assert "“Home”" not in (await sheaf("status")).out


async def test_status_says_what_waits_what_is_missing_and_what_the_relay_did(
    sheaf: Run, node: FakeNode
) -> None:
    await sheaf("space", "create", "Home")
    stand(node, SpaceDelivery("on_relay", 2, 4, "The relay lost what it kept."))
    text = (await sheaf("status")).out
    assert "“Home”: 2 people do not have everything yet; what they miss is on the relay." in text
    assert "“Home”: incomplete, 4 changes that others have did not arrive here." in text
    assert "“Home”: The relay lost what it kept." in text
    stand(node, SpaceDelivery("saved_here", 1, 0, None))
    assert (
        "one person does not have everything yet; what they miss waits here." in (await sheaf("status")).out
    )
