"""The door in front of the in-memory node, served for real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sheaf.node.views import DocType, DocumentView
from tests.support.fake_node import FakeNode
from tests.support.local_door import RunningDoor, running_door


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def door(node: FakeNode, tmp_path: Path) -> AsyncIterator[RunningDoor]:
    async with running_door(node, tmp_path, send_deadline_s=1.0) as running:
        yield running


@pytest.fixture
async def client(door: RunningDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as client:
        yield client


@pytest.fixture
async def document(node: FakeNode) -> DocumentView:
    space = await node.create_space("Home")
    return await node.create_document(space.space_id, title="Text", type=DocType.TEXT, parent_id=None)
