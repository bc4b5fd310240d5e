"""The node: everything the local door may ask, in one place.

A thin front over the library (spaces and documents), the invitations, the joins and the
peer manager; it owns their lifetimes. Each answer is a frozen view. Must not know HTTP,
SQL or sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from sheaf import __version__
from sheaf.content_work.task import ContentWorker
from sheaf.core.base.errors import NotAllowed, StorageFailure
from sheaf.core.base.ids import OpId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from sheaf.node.beside import Beside
from sheaf.node.code_desk import CodeDesk
from sheaf.node.connector import Connector
from sheaf.node.delivery_desk import DeliveryDesk
from sheaf.node.diagnostics import look_around
from sheaf.node.document_desk import DocumentDesk
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity, rename
from sheaf.node.invitations import Invitations
from sheaf.node.joins import Joins
from sheaf.node.library import Library
from sheaf.node.member_views import member_views
from sheaf.node.network import Network, dialable
from sheaf.node.network_view import NetworkView
from sheaf.node.peer_manager import PeerManager
from sheaf.node.relay_book import RelayBook
from sheaf.node.views import (
    InvitationView,
    JoinView,
    LanView,
    MemberView,
    NodeMetrics,
    PeerView,
    ProfileView,
    SpaceSummary,
    StatusView,
    StorageView,
)
from sheaf.ports import Clock, Store
from sheaf.task_set import TaskSet

SWEEP_S = 10.0


class Node(DocumentDesk):
    """One daemon's application. `start`, then serve, then `close`."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        store: Store,
        network: Network,
        clock: Clock,
        entropy: Entropy,
        worker: ContentWorker,
        data_dir: str,
    ) -> None:
        self.events = EventBus()
        self._identity = identity
        self._store = store
        self._network = network
        self._clock = clock
        self._entropy = entropy
        self._data_dir = data_dir
        self._started_ms = clock.wall_ms()
        self._tasks = TaskSet("node")
        self._beside = Beside(worker)
        self._library = Library(
            identity=identity,
            store=store,
            clock=clock,
            entropy=entropy,
            beside=self._beside,
            events=self.events,
            tasks=self._tasks,
            on_change=self._space_changed,
        )
        self._invitations = Invitations(
            identity=identity,
            library=self._library,
            store=store,
            clock=clock,
            entropy=entropy,
            events=self.events,
            on_change=lambda: self._peers.refresh(),
            relay_urls=lambda space_id: self._relays.for_ticket(space_id),
        )
        self._relays = RelayBook(
            pool=network.relays,
            own=network.own_relays,
            identity=identity,
            library=self._library,
            invitations=self._invitations,
            store=store,
            clock=clock,
            entropy=entropy,
        )
        connector = Connector(
            webrtc=network.webrtc,
            tunnel=network.tunnel,
            signaling=network.signaling,
            device=identity.device,
            certificate=lambda: identity.certificate,
            clock=clock,
            entropy=entropy,
        )
        self._peers = PeerManager(
            identity=identity,
            library=self._library,
            invitations=self._invitations,
            connector=connector,
            signaling=network.signaling,
            discovery=network.discovery,
            static_addresses=network.static_addresses,
            relays=self._relays,
            stun=network.stun,
            has_address=network.has_address,
            store=store,
            clock=clock,
            entropy=entropy,
            events=self.events,
            tasks=self._tasks,
        )
        self._joins = Joins(
            identity=identity,
            library=self._library,
            meeting=self._peers,
            events=self.events,
            entropy=entropy,
        )
        self._peers.links.joins = self._joins
        self._desk = CodeDesk(
            identity=identity,
            library=self._library,
            invitations=self._invitations,
            joins=self._joins,
            pool=network.relays,
            hold=self._relays.hold,
            clock=clock,
            entropy=entropy,
            events=self.events,
        )
        self._delivery = DeliveryDesk(
            identity=identity,
            library=self._library,
            pool=network.relays,
            store=store,
            clock=clock,
            entropy=entropy,
            events=self.events,
        )

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the spaces, then look for peers. Raises StorageFailure."""
        await self._library.start()
        await self._delivery.start()
        self._tasks.spawn(self._delivery.mailboxes.run(), "mailboxes")
        await self._invitations.start()
        await self._peers.start()
        self._network.on_udp(self._peers.paths_may_be_better)
        self._offer_relays()
        self._library.storage.mended = self._offer_relays
        self._tasks.spawn(self._network.warm_up(), "warm up")
        self._tasks.spawn(self._sweep(), "sweep")

    def _offer_relays(self) -> None:
        self._tasks.spawn(self._relays.offer_own(), "offer relays")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._desk.codes.expire()
            for host in self._library.hosts():
                host.documents.expire_presence()

    async def close(self) -> None:
        """Stop in good order: peers told, edits written. Idempotent."""
        await self._desk.close()
        await self._joins.close()
        await self._delivery.mailboxes.close()
        await self._peers.close()
        await self._library.close()
        self.events.close()
        await self._tasks.close()

    def _space_changed(self, space_id: SpaceId) -> None:
        self._peers.space_changed(space_id)
        self._delivery.mailboxes.refresh()

    def network_changed(self) -> None:
        """Addresses of this machine came or went."""
        self._peers.network_changed()

    async def probe(self) -> None:
        """Ask the storage thread for something, for the watchdog: whether it answers, not what.

        Writes nothing, so it needs no room and keeps no disk awake. A disk that refuses is said by
        `storage`; to restart for it would help nobody.
        """
        with contextlib.suppress(StorageFailure):
            await self._store.setting("probe")

    # ------------------------------------------------------------------ me

    def profile(self) -> ProfileView:
        """Who this device says it is."""
        return replace(self._identity.profile, share_seen=self._delivery.share_seen)

    async def update_profile(
        self, *, user_name: str | None = None, device_name: str | None = None, share_seen: bool | None = None
    ) -> ProfileView:
        """Rename the person or the device, here and in every space; say what was seen, or do not.

        Raises:
            UsageError: an empty or overlong name.
        """
        if share_seen is not None:
            await self._delivery.set_share_seen(share_seen)
        if user_name is None and device_name is None:
            self.events.publish("profile_changed")
            return self.profile()
        await rename(
            self._identity,
            store=self._store,
            clock=self._clock,
            user_name=user_name,
            device_name=device_name,
        )
        for host in self._library.hosts():
            if host.role is not None:
                host.add_ops(
                    [
                        authoring.dev_add(
                            host.space,
                            self._identity.device,
                            certificate=self._identity.certificate,
                            now_ms=self._clock.wall_ms(),
                        )
                    ]
                )
                await host.flush()
        self.events.publish("profile_changed")
        return self.profile()

    def status(self) -> StatusView:
        """Everything at a glance."""
        return StatusView(
            version=__version__,
            started_ms=self._started_ms,
            data_dir=self._data_dir,
            profile=self.profile(),
            lan=self._lan(),
            storage=self.storage(),
            spaces=tuple(self.spaces()),
            peers=tuple(self.peers()),
            relays=self._relays.statuses(),
            held_changes=sum(host.documents.held_count for host in self._library.hosts()),
            clones=tuple(self._peers.clone_views()),
        )

    def _lan(self) -> LanView:
        listening = self._network.signaling.listening
        return LanView(
            listening=listening,
            mdns=self._network.discovery.state,
            addresses=dialable(listening, self._network.local_addresses()),
        )

    def network(self) -> NetworkView:
        """Where this machine stands in the network, how everybody is reached, and what to change."""
        network = self._network
        return look_around(
            interfaces=network.interfaces(),
            lan=self._lan(),
            multicast=network.discovery.multicast,
            stun=network.stun(),
            relays=[relay.status for relay in network.relays.relays()] if network.relays else (),
            peers=self.peers(),
            clones=self._peers.clone_views(),
        )

    def storage(self) -> StorageView:
        """Whether the disk takes what is written."""
        state, detail = self._library.storage.state()
        return StorageView(state, detail, sum(host.unsent_count for host in self._library.hosts()))

    def metrics(self) -> NodeMetrics:
        """Gauges and counters for /metrics."""
        hosts = list(self._library.hosts())
        return {
            "spaces": len(hosts),
            "documents": sum(space.document_count for space in self._library.summaries()),
            "documents_open": sum(host.documents.count for host in hosts),
            "tabs": sum(host.documents.tab_count for host in hosts),
            "held_changes": sum(host.documents.held_count for host in hosts),
            "unsent_edits": sum(host.unsent_count for host in hosts),
            "logs": sum(len(host.durable) for host in hosts),
            **self._storage_metrics(),
            **self._peers.metrics(),
            **self._delivery.metrics(),
        }

    def _storage_metrics(self) -> NodeMetrics:
        state, _ = self._library.storage.state()
        free = self._library.storage.free_bytes
        return {
            "storage_failed": float(state in ("failed", "read_only")),
            "storage_read_only": float(state == "read_only"),
            **({} if free is None else {"storage_free_bytes": float(free)}),
        }

    # ------------------------------------------------------------------ spaces

    def spaces(self) -> list[SpaceSummary]:
        """All spaces, by name."""
        return sorted(self._library.summaries(), key=lambda space: (space.name.casefold(), space.space_id))

    def space(self, space_id: SpaceId) -> SpaceSummary:
        """One space. Raises NotFound."""
        return self._library.summary(space_id)

    async def create_space(self, name: str) -> SpaceSummary:
        """Found a space. Raises UsageError."""
        host = await self._library.create(name)
        await self._relays.offer_own()
        return self._library.summary(host.space_id)

    async def rename_space(self, space_id: SpaceId, name: str) -> SpaceSummary:
        """Give it another name. Raises NotFound, NotAllowed, UsageError."""
        await self._library.rename(space_id, name)
        return self._library.summary(space_id)

    async def set_relays(self, space_id: SpaceId, urls: Sequence[str]) -> SpaceSummary:
        """Choose a space's relays, for everybody in it. Raises NotFound, NotAllowed, UsageError."""
        await self._relays.set_space(space_id, urls)
        return self._library.summary(space_id)

    async def leave_space(self, space_id: SpaceId) -> None:
        """Remove it from this device. Raises NotFound, UsageError."""
        await self._library.leave(space_id)

    def members(self, space_id: SpaceId) -> list[MemberView]:
        """The people in a space, me first. Raises NotFound."""
        return member_views(
            self._library.host(space_id).space.membership,
            me=self._identity.user.user_id,
            own=self._identity.device.device_id,
            online=self._peers.links.online_devices(),
        )

    def peers(self) -> list[PeerView]:
        """Every other device in my spaces."""
        return self._peers.views()

    # ------------------------------------------------------------------ people

    async def create_invitation(
        self,
        space_id: SpaceId,
        *,
        role: Role,
        expires_in_s: int | None,
        max_uses: int,
        by_code: bool = False,
    ) -> InvitationView:
        """Issue a ticket, or a spoken code. Raises NotFound, NotAllowed, UsageError, TransportFailure."""
        if self._library.host(space_id).role is not Role.OWNER:
            raise NotAllowed("only an owner of the space can invite")
        create = self._desk.invite_by_code if by_code else self._invitations.create
        return await create(space_id, role=role, expires_in_s=expires_in_s, max_uses=max_uses)

    def invitations(self, space_id: SpaceId) -> list[InvitationView]:
        """Open invitations, and codes that were over lately. Raises NotFound."""
        return self._desk.invitations(space_id)

    def invitation(self, space_id: SpaceId, op_id: OpId) -> InvitationView:
        """One invitation, open or not. Raises NotFound."""
        return self._desk.invitation(space_id, op_id)

    async def revoke_invitation(self, space_id: SpaceId, op_id: OpId) -> None:
        """Withdraw a ticket or a code. Raises NotFound, NotAllowed."""
        await self._desk.revoke(space_id, op_id)

    async def join(self, ticket: str, relay: str | None = None) -> JoinView:
        """Begin to join, with a ticket or a spoken code (`relay`: where to ask for it). Raises UsageError."""
        return await self._desk.join(ticket, relay)

    def join_status(self, join_id: str) -> JoinView:
        """How far a join is. Raises NotFound."""
        return self._desk.join_status(join_id)

    async def cancel_join(self, join_id: str) -> None:
        """Give a join up. Raises NotFound."""
        await self._desk.cancel_join(join_id)
