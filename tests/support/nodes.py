"""Nodes in one process, on an in-memory network and store, with real cores in between."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sheaf.clock import SystemClock
from sheaf.content_work.task import ContentWorker
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.node.identity import load_identity
from sheaf.node.network import Network
from sheaf.node.node import Node
from sheaf.node.views import CloseCode, ContentFormat, DocType, JoinState
from sheaf.ports import Clock, Store
from sheaf.ports.relay import RelayPool
from tests.support.inline_worker import InlineWorker
from tests.support.memory_network import MemoryLan, MemoryPort
from tests.support.memory_store import MemoryStore


def seeded_entropy(seed: str) -> Callable[[int], bytes]:
    """Repeatable pretend randomness."""
    count = 0

    def entropy(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return entropy


class MemoryKeyStore:
    """`ports.KeyStore` in a dict."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}

    async def load(self, name: str) -> bytes | None:
        return self.secrets.get(name)

    async def save(self, name: str, secret: bytes) -> None:
        self.secrets[name] = secret


@dataclass
class Machine:
    """What survives a restart of one pretend machine."""

    name: str
    port: MemoryPort
    store: Store
    keys: MemoryKeyStore
    starts: int = 0
    relays: RelayPool | None = None
    own_relays: tuple[str, ...] = ()
    clock: Clock = field(default_factory=SystemClock)
    worker: ContentWorker = field(default_factory=InlineWorker)
    adapt: Callable[[Network], Network] = field(default=lambda network: network)
    """Puts other adapters in, for tests of those."""

    async def start(self) -> Node:
        """A fresh process on this machine."""
        self.starts += 1
        entropy = seeded_entropy(f"{self.name}/{self.starts}")
        identity = await load_identity(
            keystore=self.keys,
            store=self.store,
            clock=self.clock,
            entropy=entropy,
            default_user_name=self.name,
            default_device_name=f"{self.name}'s laptop",
        )

        async def nothing() -> None:
            return None

        network = Network(
            webrtc=self.port,
            tunnel=self.port,
            signaling=self.port,
            discovery=self.port,
            static_addresses=(),
            local_addresses=lambda: [self.port.address.rpartition(":")[0]],
            warm_up=nothing,
            relays=self.relays,
            own_relays=self.own_relays,
        )
        node = Node(
            identity=identity,
            store=self.store,
            network=self.adapt(network),
            clock=self.clock,
            entropy=entropy,
            worker=self.worker,
            data_dir=f"/{self.name}",
        )
        await node.start()
        return node


def machine(lan: MemoryLan, name: str) -> Machine:
    """A machine with an empty disk."""
    return Machine(name, lan.port(), MemoryStore(), MemoryKeyStore())


@asynccontextmanager
async def running(*machines: Machine) -> AsyncIterator[list[Node]]:
    """All of them started; stopped at the end."""
    nodes = [await each.start() for each in machines]
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.close()


async def until(condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
    """Wait until `condition()` (which may be a coroutine) is true, a turn of the loop at a time."""
    async with asyncio.timeout(timeout_s):
        while not await _value(condition()):  # noqa: ASYNC110  # any state may be asked for; few have an event
            await asyncio.sleep(0.001)


async def _value(outcome: object) -> object:
    return await outcome if isinstance(outcome, Awaitable) else outcome


async def join(owner: Node, joiner: Node, space_id: SpaceId, role: Role = Role.EDITOR) -> None:
    """`joiner` comes into the space by an invitation, and has caught up."""
    invitation = await owner.create_invitation(space_id, role=role, expires_in_s=None, max_uses=1)
    assert invitation.ticket is not None
    view = await joiner.join(invitation.ticket)
    await until(lambda: joiner.join_status(view.join_id).state in (JoinState.DONE, JoinState.FAILED))
    assert joiner.join_status(view.join_id).error is None


async def text_of(node: Node, doc_id: DocId) -> str:
    return (await node.read_content(doc_id, ContentFormat.TEXT)).decode()


async def new_text(node: Node, space_id: SpaceId, title: str = "Notes", content: str = "") -> DocId:
    view = await node.create_document(space_id, title=title, type=DocType.TEXT, parent_id=None)
    if content:
        await node.write_content(view.document_id, ContentFormat.TEXT, content.encode(), agent=None)
    return view.document_id


class Listener:
    """A `DocumentSubscriber` that remembers what it was told."""

    def __init__(self) -> None:
        self.updates: list[bytes] = []
        self.frames = 0
        self.presence: list[bytes] = []
        self.asked: list[bytes] = []
        self.ended: tuple[CloseCode, str] | None = None

    def update(self, data: bytes) -> None:
        self.updates.append(data)

    def committed(self, frames: int, state_vector: bytes) -> None:
        self.frames = frames

    def missing(self, state_vector: bytes) -> None:
        self.asked.append(state_vector)

    def awareness(self, data: bytes) -> None:
        self.presence.append(data)

    def closed(self, code: CloseCode, reason: str) -> None:
        self.ended = (code, reason)
