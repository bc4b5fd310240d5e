"""The live connections of this device, one per peer: sessions on channels (PROTOCOL §5).

Gives each fresh channel a session, keeps at most one link per device, and carries what
links say to spaces, invitations and joins. Making connections is the peer manager's
business; it is told who came and went.

Must not know addresses, signalling or discovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from sheaf.core.base.errors import ProtocolViolation, StorageFailure
from sheaf.core.base.ids import DeviceId, LogId, SpaceId, UserId
from sheaf.core.base.limits import PEER_PROBE_S
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.dial_lines import PathRank
from sheaf.core.protocol.messages import CLONED
from sheaf.core.protocol.session import Session
from sheaf.core.space.membership import Member
from sheaf.node.clones import Clones
from sheaf.node.connector import Connection
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.node.joins import Joins
from sheaf.node.library import Library
from sheaf.node.path_reasons import near_end, rank_of
from sheaf.node.peer_link import PeerLink
from sheaf.node.peer_views import peer_view
from sheaf.node.space_host import SpaceHost
from sheaf.node.traffic import Traffic
from sheaf.node.views import PeerView
from sheaf.ports import Clock, Store, StunReport
from sheaf.task_set import TaskSet

SPARE_S: Final = 0.5
"""How much longer than a doubted connection a worse one is kept that may have to take its place."""
TURN_S: Final = 5.0
"""How long one of two daemons with the same identity is heard before the other may take its place."""
RETIRE_S: Final = 1.0
"""How long a replaced path goes on beside a better one."""
STRANGERS_MAX: Final = 32
"""Connections to devices that share no space with us (yet); the oldest give way."""

logger = structlog.get_logger("sheaf.peers")


class PeerLinks:
    """All connections. Set `on_connected`, `on_closed` and `keeps_newcomer` before the first."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        invitations: Invitations,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
        tasks: TaskSet,
        keeps_newcomer: Callable[[DeviceId, bool, PathRank, PathRank], bool],
        on_connected: Callable[[DeviceId, PathRank], None],
        on_closed: Callable[[DeviceId, PeerLink], None],
        clones: Clones,
    ) -> None:
        self._identity = identity
        self._library = library
        self._invitations = invitations
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._tasks = tasks
        self._keeps_newcomer = keeps_newcomer
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._clones = clones
        self._own = identity.device.device_id
        self._links: dict[DeviceId, PeerLink] = {}
        self._unnamed: dict[PeerLink, Callable[[str], None] | None] = {}
        self._retired: set[PeerLink] = set()
        self._spares: dict[DeviceId, PeerLink] = {}
        self._last_seen: dict[DeviceId, int] = {}
        self.joins: Joins | None = None
        self.connections_made = 0
        self.traffic = Traffic()

    def close(self) -> None:
        """Say goodbye to everybody."""
        for link in [*self._spares.values(), *self._links.values(), *self._unnamed, *self._retired]:
            link.close("the daemon is stopping")

    def space_changed(self, space_id: SpaceId) -> None:
        """A space came or went, or its members changed."""
        is_here = self._library.find(space_id) is not None
        for link in list(self._links.values()):
            if is_here:
                link.space_added(space_id)
            else:
                link.space_removed(space_id)

    def link_to(self, user_id: UserId) -> PeerLink | None:
        """A live connection to any device of this person."""
        for link in self._links.values():
            if link.certificate is not None and link.certificate.user == user_id:
                return link
        return None

    def probe(self, device_id: DeviceId | None = None) -> None:
        """Doubt the connection to one device, or all of them: who does not answer soon is let go."""
        for known, link in list(self._links.items()):
            if device_id in (None, known):
                self._probe(link)

    def end_from_lost_addresses(self, has_address: Callable[[str], bool]) -> None:
        """Nothing can come or go any more where our own end of the path is gone: do not wait for silence."""
        for link in list(self._links.values()):
            address = near_end(link.channel)
            if address is not None and not has_address(address):
                link.close("this computer has another address now")

    def _probe(self, link: PeerLink) -> None:
        if not link.is_closed:
            link.perform(link.session.probe(self._clock.now()))

    # ------------------------------------------------------------------ links (LinkOwner)

    def adopt(
        self,
        connection: Connection,
        *,
        expected: DeviceId | None,
        on_lost: Callable[[str], None] | None = None,
    ) -> PeerLink:
        """Begin a session on a fresh connection; `on_lost` is told if it ends before the other side
        has proved who it is."""
        session = Session(
            is_offerer=connection.is_offerer,
            device=self._identity.device,
            certificate=self._identity.certificate,
            transcript=connection.transcript,
            expected=expected,
            spaces=self,
            entropy=self._entropy,
        )
        link = PeerLink(
            channel=connection.channel,
            session=session,
            transcript=connection.transcript,
            is_offerer=connection.is_offerer,
            process=connection.process,
            all_traffic=self.traffic,
            owner=self,
            store=self._store,
            clock=self._clock,
        )
        self._unnamed[link] = on_lost
        self._tasks.spawn(link.run(), "peer link")
        link.start(connection.attach)
        return link

    def link_authenticated(self, link: PeerLink) -> None:
        """The other side proved who it is; an older connection to it gives way."""
        device_id = link.device_id
        assert device_id is not None
        self._unnamed.pop(link, None)
        rank = rank_of(link.channel.path)
        older = self._links.get(device_id)
        was_cloned = self._clones.is_cloned(device_id)
        is_cloned = self._clones.met(device_id, link.process)
        if older is not None and None not in (link.process, older.process) and link.process != older.process:
            if is_cloned:
                self._take_turns(device_id, link, older, are_new=not was_cloned)
                return
            self._tasks.spawn(self._watch_both(device_id, older), "two processes of one device")
        if older is not None:
            older_rank = rank_of(older.channel.path)
            if not self._keeps_newcomer(device_id, link.is_offerer, rank, older_rank):
                self._decline(device_id, link, older, is_worse=rank < older_rank)
                return
        self._enter(device_id, link)
        if older is not None:
            self._retire(older, is_better=rank > older_rank)
        self._bound_strangers()

    def _enter(self, device_id: DeviceId, link: PeerLink) -> None:
        """This is the connection to the device now."""
        self._links[device_id] = link
        link.entered_at = self._clock.now()
        self.connections_made += 1
        self._on_connected(device_id, rank_of(link.channel.path))
        for host in self._library.hosts():
            if host.is_member(device_id):
                host.seal_now()
        logger.info("connected", device=device_id.short, path=link.channel.path.value)
        self.link_changed(link)

    def _take_turns(self, device_id: DeviceId, link: PeerLink, older: PeerLink, *, are_new: bool) -> None:
        """Two daemons have one identity. One is heard at a time, for `TURN_S` at least; whoever is sent away
        is told why, and comes back later. Both are told at once when that is found out."""
        is_turn_over = self._clock.now() >= older.entered_at + TURN_S
        if are_new or not is_turn_over:
            link.close(CLONED)
        else:
            self._enter(device_id, link)
        if are_new or is_turn_over:
            older.close(CLONED)

    async def _watch_both(self, device_id: DeviceId, older: PeerLink) -> None:
        """Who was restarted does not answer on the older connection any more."""
        self._probe(older)
        await asyncio.sleep(PEER_PROBE_S + SPARE_S)
        if not older.is_closed and self._links.get(device_id) is older:
            self._clones.noticed(device_id)

    def _decline(self, device_id: DeviceId, link: PeerLink, older: PeerLink, *, is_worse: bool) -> None:
        """There is a connection already. Yet a worse path is mostly offered by who has lost the better
        one: until that has shown that it lives, the newcomer is kept to take its place."""
        self._probe(older)
        spare = self._spares.pop(device_id, None)
        if spare is not None:
            spare.close("replaced by a newer connection")
        if not is_worse:
            link.close("there is a connection already")
            return
        self._spares[device_id] = link
        self._tasks.spawn(self._let_spare_go(device_id, link), "spare path")

    async def _let_spare_go(self, device_id: DeviceId, spare: PeerLink) -> None:
        await asyncio.sleep(PEER_PROBE_S + SPARE_S)
        if self._spares.get(device_id) is spare:
            del self._spares[device_id]
            spare.close("there is a connection already")

    def _retire(self, older: PeerLink, *, is_better: bool) -> None:
        """Let a replaced connection go: at once, or a moment after a better path was found, so that the
        other side has the new one before it misses the old."""
        if not is_better:
            older.close("replaced by a newer connection")
            return
        self._retired.add(older)
        self._tasks.spawn(self._close_soon(older), "retire a path")

    async def _close_soon(self, older: PeerLink) -> None:
        await asyncio.sleep(RETIRE_S)
        older.close("replaced by a better path")

    def rank(self, device_id: DeviceId) -> PathRank | None:
        """How good the connection to a device is; None without one."""
        link = self._links.get(device_id)
        return None if link is None else rank_of(link.channel.path)

    def _bound_strangers(self) -> None:
        """Whoever holds a ticket, or was a member once, can call as any number of new devices."""
        strangers = [
            link
            for device_id, link in self._links.items()
            if not link.is_offerer and not self._shares_a_space(device_id)
        ]
        for link in strangers[:-STRANGERS_MAX]:
            link.close("too many connections without a common space")

    def _shares_a_space(self, device_id: DeviceId) -> bool:
        return any(host.is_member(device_id) for host in self._library.hosts())

    def link_changed(self, link: PeerLink) -> None:
        """Phase or progress moved."""
        if link.device_id is not None:
            self._last_seen[link.device_id] = self._clock.wall_ms()
        if self.joins is not None:
            self.joins.link_changed(link)
        self._events.publish("peers_changed")

    def link_closed(self, link: PeerLink, reason: str) -> None:
        """A connection ended; the dialer decides when to try again."""
        self._retired.discard(link)
        on_lost = self._unnamed.pop(link, None)
        if on_lost is not None:
            on_lost(reason)
        if self.joins is not None:
            self.joins.link_closed(link, reason)
        device_id = link.device_id
        if link.is_cloned and device_id is not None and self._shares_a_space(device_id):
            self._clones.noticed_own()
        if device_id is not None and self._spares.get(device_id) is link:
            del self._spares[device_id]
        if device_id is None or self._links.get(device_id) is not link:
            return
        del self._links[device_id]
        if not self._shares_a_space(device_id):
            self._last_seen.pop(device_id, None)
        logger.info("disconnected", device=device_id.short, reason=reason)
        for host in self._library.hosts():
            host.documents.device_left(device_id)
        self._on_closed(device_id, link)
        spare = self._spares.pop(device_id, None)
        if spare is not None and link.is_peer_fault:
            spare.close("the other side broke the rules")
        elif spare is not None:
            self._enter(device_id, spare)
        self._events.publish("peers_changed")

    def join_requested(self, link: PeerLink, effect: fx.JoinRequested) -> None:
        """A holder of a ticket asks to come in; answered once the admission is durable."""
        try:
            ops = self._invitations.admit(effect.request, link.transcript)
            host = self._library.host(effect.request.space_id)
        except ProtocolViolation as error:
            link.join_answer(effect.token, str(error))
            return
        except StorageFailure:
            link.join_answer(effect.token, "the inviting device cannot save anything now; try again later")
            return
        host.seal_now()
        host.after_commit(lambda: link.join_answer(effect.token, ops))

    def join_accepted(self, link: PeerLink, effect: fx.JoinAccepted) -> None:
        """An owner let us in."""
        if self.joins is not None:
            self.joins.accepted(link, effect)

    def join_refused(self, link: PeerLink, reason: str) -> None:
        """An owner did not let us in."""
        if self.joins is not None:
            self.joins.refused(link, reason)

    def agreed(self, link: PeerLink, space_id: SpaceId, version: Mapping[LogId, int]) -> None:
        """Both sides hold exactly this; it shortens the next greeting."""
        host = self._library.find(space_id)
        if host is not None and link.device_id is not None:
            host.agree(link.device_id, version)

    def host(self, space_id: SpaceId) -> SpaceHost | None:
        """An open space, or None."""
        return self._library.find(space_id)

    # ------------------------------------------------------------------ SpaceDirectory

    def space_ids(self) -> Iterable[SpaceId]:
        """Every open space."""
        return [host.space_id for host in self._library.hosts()]

    def view(self, space_id: SpaceId) -> fx.SpaceView | None:
        """What sessions may know of a space."""
        host = self._library.find(space_id)
        return None if host is None else host.view

    # ------------------------------------------------------------------ for people

    def online_devices(self) -> frozenset[DeviceId]:
        """Devices with a live connection."""
        return frozenset(self._links)

    def views(
        self, *, is_dialling: Callable[[DeviceId], bool], stun: StunReport | None = None
    ) -> list[PeerView]:
        """Every other device in my spaces, connected ones first."""
        people: dict[DeviceId, tuple[Member, DeviceCertificate]] = {}
        for host in self._library.hosts():
            people.update(host.space.membership.devices())
        people.pop(self._own, None)
        views = [
            peer_view(
                member,
                certificate,
                link=self._links.get(device_id),
                hosts=[h for h in self._library.hosts() if h.is_member(device_id)],
                last_seen_ms=self._last_seen.get(device_id),
                is_dialling=is_dialling(device_id),
                stun=stun or StunReport(),
            )
            for device_id, (member, certificate) in people.items()
        ]
        return sorted(views, key=lambda view: (view.path is None, view.user_name.casefold(), view.device_id))
