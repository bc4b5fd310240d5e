"""Nodes that can meet at a relay in memory, for tests of spoken codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sheaf.clock import SystemClock
from sheaf.core.base.ids import OpId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.node.node import Node
from sheaf.node.views import CodeState, CodeView, InvitationView, JoinState, JoinView
from sheaf.ports.relay import Relay
from tests.support.memory_network import MemoryLan
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nodes import Machine, machine, running, until

URL = "wss://relay.example"
OVER = (JoinState.DONE, JoinState.FAILED)


class SettableClock(SystemClock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.ahead_s * 1000)


class CodeTown:
    """Two nodes that can meet, and a relay."""

    def __init__(
        self,
        box: RelayBox,
        machines: list[Machine],
        nodes: list[Node],
        clock: SettableClock,
        relays: MemoryRelayPool,
    ) -> None:
        self.box = box
        self.machines = machines
        self.nodes = nodes
        self.clock = clock
        self.relays = relays
        """Of somebody without a node."""

    @property
    def relay(self) -> Relay:
        return self.relays.relays()[0]


@asynccontextmanager
async def town(*names: str, without_relay: tuple[str, ...] = ()) -> AsyncIterator[CodeTown]:
    """`names` use the relay, those in `without_relay` do not."""
    lan, box, clock = MemoryLan(), RelayBox(URL), SettableClock()
    machines = [machine(lan, name) for name in (*names, *without_relay)]
    for each in machines:
        each.clock = clock
        each.relays, each.own_relays = MemoryRelayPool(box), (URL,) if each.name in names else ()
    async with running(*machines) as nodes:
        yield CodeTown(box, machines, nodes, clock, pool_of(box, URL))


def pool_of(box: RelayBox, *urls: str) -> MemoryRelayPool:
    pool = MemoryRelayPool(box)
    pool.set_urls(urls)
    return pool


async def invite(node: Node) -> tuple[SpaceId, OpId, CodeView]:
    spaces = node.spaces()
    space_id = spaces[0].space_id if spaces else (await node.create_space("Home")).space_id
    view = await node.create_invitation(
        space_id, role=Role.EDITOR, expires_in_s=None, max_uses=1, by_code=True
    )
    assert view.code is not None
    assert view.code.state is CodeState.WAITING
    assert view.ticket is None
    return space_id, view.op_id, view.code


def code_of(node: Node, space_id: SpaceId, op_id: OpId) -> CodeView:
    code = node.invitation(space_id, op_id).code
    assert code is not None
    return code


async def join_by(node: Node, text: str) -> JoinView:
    """Join, and wait for the end."""
    begun = await node.join(text)
    await until(lambda: node.join_status(begun.join_id).state in OVER)
    return node.join_status(begun.join_id)


async def until_state(node: Node, space_id: SpaceId, op_id: OpId, state: CodeState) -> CodeView:
    await until(lambda: code_of(node, space_id, op_id).state is state)
    return code_of(node, space_id, op_id)


def is_withdrawn(view: InvitationView) -> bool:
    return view.is_revoked and view.ticket is None


def misheard(code: CodeView) -> str:
    number, first, second = code.text.split("-")
    return f"{number}-{first}-{'able' if second != 'able' else 'zoo'}"
