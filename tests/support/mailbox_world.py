"""Nodes of one space that can reach a relay in memory and, when the LAN is up, each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sheaf.core.base.errors import NotFound
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.node.delivery_state import DocumentDelivery, PersonDelivery
from sheaf.node.mailbox_worker import MailboxWorker
from sheaf.node.node import Node
from sheaf.node.space_host import SpaceHost
from sheaf.node.views import ContentFormat
from sheaf.ports import MailboxAccess
from tests.support.memory_network import MemoryLan
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Machine, MemoryKeyStore, join, text_of
from tests.support.virtual_time import LoopClock

URL = "wss://relay.example"
STEP_S = 0.05
NOWHERE = SpaceId(bytes(32))


@dataclass
class MailboxWorld:
    """See the module; `apart()` after the beginning."""

    box: RelayBox
    lan: MemoryLan = field(default_factory=MemoryLan)
    machines: dict[str, Machine] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    space_id: SpaceId = NOWHERE

    @classmethod
    @asynccontextmanager
    async def of(
        cls, *names: str, box: RelayBox | None = None, roles: dict[str, Role] | None = None
    ) -> AsyncIterator[MailboxWorld]:
        """`names[0]` founds the space and sets its relay; the others join; then nobody sees anybody."""
        world = cls(box or RelayBox(URL))
        for name in names:
            world.machines[name] = Machine(
                name, world.lan.port(), MemoryStore(), MemoryKeyStore(), clock=LoopClock()
            )
        try:
            await world.start(*names)
            founder = world.nodes[names[0]]
            world.space_id = (await founder.create_space("Home")).space_id
            world.set_relays(names[0], URL)
            for name in names[1:]:
                await join(founder, world.nodes[name], world.space_id, (roles or {}).get(name, Role.EDITOR))
            await world.until(world.is_level)
            await asyncio.sleep(3)
            await world.apart()
            yield world
        finally:
            for name in list(world.nodes):
                await world.stop(name)

    # ------------------------------------------------------------------ machines

    async def start(self, *names: str) -> None:
        for name in names:
            pool = MemoryRelayPool(self.box)
            pool.set_urls([self.box.url])
            self.machines[name].relays, self.machines[name].own_relays = pool, (self.box.url,)
            self.nodes[name] = await self.machines[name].start()

    async def stop(self, *names: str) -> None:
        """In good order."""
        for name in names:
            await self.nodes.pop(name).close()
            await self._let_go(name)

    async def crash(self, name: str) -> None:
        """The power goes: what is not committed is gone, and nothing more is said."""
        node = self.nodes.pop(name)
        machine = self.machines[name]
        store = machine.store
        assert isinstance(store, MemoryStore)
        machine.store = store.copy()
        await self._let_go(name)
        await node.close()

    async def _let_go(self, name: str) -> None:
        pool = self.machines[name].relays
        if pool is not None:
            await pool.close()

    async def apart(self) -> None:
        """Nobody reaches anybody but the relay."""
        await self.lan.cut()
        await asyncio.sleep(0.1)

    # ------------------------------------------------------------------ acts and questions

    def __getattr__(self, name: str) -> Node:
        try:
            return self.__dict__["nodes"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def host(self, name: str) -> SpaceHost:
        return self.nodes[name]._library.host(self.space_id)

    def worker(self, name: str) -> MailboxWorker:
        return self.nodes[name]._delivery.mailboxes.workers(self.space_id)[0]

    def access(self, name: str) -> MailboxAccess:
        """The right to the newest mailbox that a machine knows."""
        keys = self.host(name).space.recent_keys()[0]
        return MailboxAccess(keys.mailbox_id, keys.mailbox_token)

    def set_relays(self, name: str, *urls: str) -> None:
        node, host = self.nodes[name], self.host(name)
        host.add_ops(
            [
                authoring.prefs(
                    host.space,
                    node._identity.device,
                    now_ms=node._clock.wall_ms(),
                    entropy=node._entropy,
                    relay_urls=urls,
                )
            ]
        )

    async def write(self, name: str, doc: DocId, text: str) -> None:
        await self.nodes[name].write_content(doc, ContentFormat.TEXT, text.encode(), agent=None)

    async def append(self, name: str, doc: DocId, text: str) -> None:
        await self.nodes[name].append_content(doc, text, agent=None)

    async def text(self, name: str, doc: DocId) -> str:
        return await text_of(self.nodes[name], doc)

    async def person(self, name: str, doc: DocId, whose: str) -> PersonDelivery:
        """How far a document came to somebody, as `name` is told."""
        view: DocumentDelivery = await self.nodes[name].delivery(doc)
        return next(person for person in view.people if person.name == whose)

    def items(self) -> int:
        """Items in all mailboxes."""
        return sum(len(mailbox.items) for mailbox in self.box.mailboxes.values())

    def is_level(self) -> bool:
        """Whether everybody who runs has the same ops and envelopes, all of them released."""
        hosts = [self.host(name) for name in self.nodes]
        first = hosts[0]
        return all(
            dict(host.durable) == dict(first.durable)
            and host.space.control.heads() == first.space.control.heads()
            and not host.space.waiting()
            and not host.unsent_count
            for host in hosts
        )

    async def until(
        self, condition: Callable[[], object], *, timeout_s: float = 120.0, step_s: float = STEP_S
    ) -> None:
        """Let time pass until it holds (it may be a coroutine)."""
        async with asyncio.timeout(timeout_s):
            while True:
                outcome = condition()
                if asyncio.iscoroutine(outcome):
                    outcome = await outcome
                if outcome:
                    return
                await asyncio.sleep(step_s)

    async def until_text(self, name: str, doc: DocId, text: str, *, timeout_s: float = 120.0) -> None:
        async def is_there() -> bool:
            try:
                return await self.text(name, doc) == text
            except NotFound:
                return False

        await self.until(is_there, timeout_s=timeout_s)
