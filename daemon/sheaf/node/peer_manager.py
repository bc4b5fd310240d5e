"""Finds the other devices of my spaces and calls them (PROTOCOL §5, §6).

Turns sightings, given addresses and relays into dials (`core.protocol.dialer` decides when),
and answers the offers and pokes that arrive (`signal_desk` opens them); what connects goes to `PeerLinks`.

Must not know documents, SQL or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.core.base.ids import DeviceId, RendezvousId, SpaceId, UserId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.dialer import Dial, DialEffect, Dialer, Poke
from sheaf.core.protocol.pairing import InviteKeys
from sheaf.core.protocol.rendezvous import invite_tag
from sheaf.core.protocol.signaling import OpenedSignal
from sheaf.core.wire.relay_url import is_relay_address
from sheaf.node.address_book import AddressBook
from sheaf.node.clones import Clones
from sheaf.node.connector import Connection, Connector, DialTarget, NobodyThere
from sheaf.node.driver import WakeTimer
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.node.library import Library
from sheaf.node.path_reasons import rank_of
from sheaf.node.peer_link import PeerLink
from sheaf.node.peer_links import PeerLinks
from sheaf.node.peer_views import clone_view
from sheaf.node.relay_book import RelayBook
from sheaf.node.signal_desk import SignalDesk
from sheaf.node.views import CloneView, PeerView
from sheaf.ports import (
    Announcement,
    Clock,
    Discovery,
    Sighting,
    Signaling,
    SignalRoute,
    Store,
    StunReport,
)
from sheaf.task_set import TaskSet

KNOCK_AGAIN_S: Final = 300.0
"""While somebody on the LAN announces this very device."""

logger = structlog.get_logger("sheaf.peers")


class PeerManager:
    """Finds, calls and answers; `links` holds what came of it."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        invitations: Invitations,
        connector: Connector,
        signaling: Signaling,
        discovery: Discovery,
        static_addresses: tuple[str, ...],
        relays: RelayBook,
        stun: Callable[[], StunReport],
        has_address: Callable[[str], bool],
        store: Store,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
        tasks: TaskSet,
    ) -> None:
        self._identity = identity
        self._invitations = invitations
        self._connector = connector
        self._signaling = signaling
        self._discovery = discovery
        self._static = static_addresses
        self._relays = relays
        self._stun = stun
        self._has_address = has_address
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._own = identity.device.device_id
        self._book = AddressBook(own=self._own, library=library, invitations=invitations)
        self.clones = Clones(own=self._own, clock=clock, on_news=lambda: events.publish("clones_changed"))
        self.links = PeerLinks(
            identity=identity,
            library=library,
            invitations=invitations,
            store=store,
            clock=clock,
            entropy=entropy,
            events=events,
            tasks=tasks,
            keeps_newcomer=lambda device, mine, newcomer, older: self._dialer.keeps_newcomer(
                device, newcomer_is_mine=mine, newcomer=newcomer, older=older
            ),
            on_connected=lambda device, rank: self._dial_all(
                self._dialer.connected(device, clock.now(), rank)
            ),
            on_closed=self._link_closed,
            clones=self.clones,
        )
        self._dialer = Dialer(own=self._own, entropy=entropy, static_addresses=static_addresses)
        self._timer = WakeTimer(clock=clock, on_wake=lambda now: self._dial_all(self._dialer.wake(now)))
        self._sightings: dict[str, Sighting] = {}
        self._signals = SignalDesk(
            identity=identity,
            invitations=invitations,
            connector=connector,
            taker=self,
            clock=clock,
            tasks=tasks,
        )
        self._address_hint = asyncio.Event()
        self._refresh_due = asyncio.Event()
        self._relays_moved = asyncio.Event()
        self._awaited: Mapping[RendezvousId, str | None] = {}
        self._failures = 0
        self._is_closing = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen for signals, look around, announce."""
        self._signaling.set_handler(self._signals.came)
        self._connector.on_expecting = self._expecting
        self._relays.on_change(self._relays_moved.set)
        self._tasks.spawn(self._signals.run(), "signals")
        self._tasks.spawn(self._keep_announced(), "announce")
        self._tasks.spawn(self._follow_relays(), "relays")
        await self._discovery.start(self._sighted)
        self.refresh()

    async def close(self) -> None:
        """Say goodbye to everybody."""
        self._is_closing = True
        self._signaling.subscribe([], dict.fromkeys(self._relays.names({}), ()))
        self._timer.cancel()
        self.links.close()

    # ------------------------------------------------------------------ what is wanted

    def space_changed(self, space_id: SpaceId) -> None:
        """A space came, went, or its members changed."""
        self.links.space_changed(space_id)
        self.refresh()

    def refresh(self) -> None:
        """Members, epochs or invitations changed: listen, announce and dial accordingly."""
        if self._is_closing:
            return
        self._relays.refresh()
        self._subscribe()
        self._refresh_due.set()
        now = self._clock.now()
        self._dial_all(self._dialer.set_wanted(self._book.wanted(), now))
        self._dial_all(self._dialer.set_relays(self._relays.meeting_places(), now))
        for sighting in list(self._sightings.values()):
            self._match(sighting)
        self._events.publish("peers_changed")

    def _subscribe(self) -> None:
        self._signaling.subscribe(
            [*self._book.own_rendezvous_ids(), *self._awaited], self._relays.names(self._awaited)
        )

    def _expecting(self, awaited: Mapping[RendezvousId, str | None]) -> None:
        self._awaited = awaited
        self._subscribe()

    async def _follow_relays(self) -> None:
        """A relay came or went: ask there for everybody we miss, and let joins look again."""
        while True:
            await self._relays_moved.wait()
            self._relays_moved.clear()
            self._subscribe()
            self._dial_all(self._dialer.set_relays(self._relays.meeting_places(), self._clock.now()))
            self._address_hint.set()
            self._events.publish("relays_changed")

    async def _keep_announced(self) -> None:
        while True:
            await self._refresh_due.wait()
            self._refresh_due.clear()
            listening = self._signaling.listening
            if listening is not None:
                port = int(listening.rpartition(":")[2])
                await self._discovery.announce(Announcement(port, self._book.tags_for))

    # ------------------------------------------------------------------ sightings

    def _sighted(self, sighting: Sighting) -> None:
        where = ",".join(sighting.addresses)
        logger.debug("sighted", instance=sighting.instance, addresses=where, is_gone=sighting.is_gone)
        if sighting.is_gone:
            gone = self._sightings.pop(sighting.instance, None)
            for device_id in self._book.recognise(gone) if gone is not None else ():
                for address in gone.addresses if gone is not None else ():
                    self._dialer.lost_sight(device_id, address)
            return
        self._sightings[sighting.instance] = sighting
        self._address_hint.set()
        self._match(sighting)
        if self._book.is_my_tag(sighting):
            self._tasks.spawn(self._knock_at_myself(sighting), "another daemon with my identity")

    def _match(self, sighting: Sighting) -> None:
        now = self._clock.now()
        for device_id in self._book.recognise(sighting):
            self._dial_all(self._dialer.sighted(device_id, sighting.addresses, now))

    async def _knock_at_myself(self, sighting: Sighting) -> None:
        """Somebody announces this very device. A poke tells it about us, which only our key could make;
        it tells us in the same way. Said again as long as both are there."""
        while self._sightings.get(sighting.instance) is sighting:
            for address in sighting.addresses:
                for target in self._book.targets(self._own):
                    with contextlib.suppress(TransportFailure):
                        await self._connector.poke(target, address=address, route=None)
            await asyncio.sleep(KNOCK_AGAIN_S)

    def network_changed(self) -> None:
        """Addresses of this machine came or went: end what used them, doubt what is open otherwise, and
        try everybody else again."""
        if not self._is_closing:
            self._dial_all(self._dialer.network_changed(self._clock.now()))
            self.links.end_from_lost_addresses(self._has_address)
            self.links.probe()

    def paths_may_be_better(self) -> None:
        """UDP gets out of this network, which it did not before."""
        if not self._is_closing:
            self._dial_all(self._dialer.seek_better(self._clock.now()))

    def invitation_addresses(self, keys: InviteKeys) -> Iterable[str]:
        """Where an invitation is announced right now, and the addresses given by hand."""
        for sighting in self._sightings.values():
            if invite_tag(keys.mdns_key, sighting.nonce) in sighting.tags:
                yield from sighting.addresses
        yield from self._static

    def hold_relay(self, url: str) -> Callable[[], None]:
        """Use a relay besides the others (for joins); the returned function lets it go."""
        return self._relays.hold(url)

    def connected_relays(self) -> Sequence[str]:
        """The relays we are connected with right now."""
        return self._relays.connected()

    def address_hint(self) -> asyncio.Event:
        """Set whenever something new was sighted, or a relay came."""
        return self._address_hint

    # ------------------------------------------------------------------ dialling

    def _dial_all(self, actions: Iterable[DialEffect]) -> None:
        for action in actions:
            match action:
                case Dial():
                    self._tasks.spawn(self._dial(action), "dial")
                case Poke():
                    self._tasks.spawn(self._poke(action.device_id, action.address), "poke")
        self._timer.arm(self._dialer.next_wake())

    def _targets(self, device_id: DeviceId, address: str | None) -> Iterator[DialTarget]:
        """How a device is called at an address; at a relay only by the names it is told."""
        if address is None or not is_relay_address(address):
            return self._book.targets(device_id)
        return self._book.targets(device_id, among=lambda host: self._relays.serves(address, host))

    async def _dial(self, call: Dial) -> None:
        device_id, address = call.device_id, call.address
        failure, is_absent = "it shares no space with us there", is_relay_address(address)
        for target in self._targets(device_id, address):
            try:
                connection = await self._connector.dial(
                    target, address=address, route=None, better_than=call.better_than
                )
            except NobodyThere as error:
                failure = str(error)
                continue  # it may answer under another space's rendezvous id
            except (TransportFailure, ProtocolViolation) as error:
                failure, is_absent = str(error), False
                break
            if not call.is_replacing and self._is_superfluous(connection, device_id):
                await connection.channel.close()
                return
            self.links.adopt(
                connection,
                expected=device_id,
                on_lost=lambda reason: self._failed(device_id, address, reason),
            )
            return
        self._failed(device_id, address, failure, is_absent=is_absent)

    def _is_superfluous(self, connection: Connection, device_id: DeviceId) -> bool:
        """Whether another call was faster, with a path that is as good."""
        rank = self.links.rank(device_id)
        return rank is not None and rank >= rank_of(connection.channel.path)

    async def _poke(self, device_id: DeviceId, address: str) -> None:
        for target in self._targets(device_id, address):
            try:
                if await self._connector.poke(target, address=address, route=None):
                    return
            except TransportFailure as error:
                self._failed(device_id, address, str(error))
                return
        self._failed(device_id, address, "not there", is_absent=is_relay_address(address))

    def _failed(self, device_id: DeviceId, address: str, reason: str, *, is_absent: bool = False) -> None:
        if not is_absent:
            self._failures += 1
            logger.info("could not connect", device=device_id.short, address=address, reason=reason)
        self._dial_all(self._dialer.failed(device_id, address, self._clock.now(), is_absent=is_absent))

    async def dial(self, target: DialTarget, address: str) -> Connection:
        """One attempt at one address (for joins). Raises TransportFailure, ProtocolViolation."""
        return await self._connector.dial(target, address=address, route=None)

    # ------------------------------------------------------------------ signals

    def met_myself(self) -> None:
        """A signal came that was made with our own key, by another daemon."""
        self.clones.noticed_own()

    def poked(self, sender: DeviceCertificate, route: SignalRoute, process: bytes | None) -> None:
        """Somebody wants us to offer: at an address if we know one, else along the route he came by.

        Over a LAN route only WebRTC can open (a tunnel needs an address). The device with the
        smaller id knows none when only the other was given one by hand; then it asks back, and
        the other, which has an address, offers after all. Over a relay both poke first, and the
        smaller offers when it is poked; so the larger only asks back.

        Who calls although there is a connection has none on its side (it was killed, or moved), or
        seeks a better path: ours is doubted, and called is all the same.

        Where two daemons have the identity of this device, one of our addresses for it may be the other's:
        on the LAN, who asks is asked back, and calls itself.
        """
        if self._is_closing:
            return
        device_id = sender.device
        self.links.probe(device_id)
        is_cloned = self.clones.met(device_id, process)
        if route.address is not None and is_relay_address(route.address):
            self._poked_over_relay(device_id, route.address, route)
            return
        address = self._dialer.address_of(device_id) or route.address
        if is_cloned:
            self._tasks.spawn(self._poke_back(device_id, route), "poke back")
        elif address is None:
            if self._dialer.should_answer(device_id):
                self._tasks.spawn(self._poke_back(device_id, route), "poke back")
        else:
            self._dial_poked(device_id, address)

    def _poked_over_relay(self, device_id: DeviceId, url: str, route: SignalRoute) -> None:
        if self._own < device_id:
            self._dial_poked(device_id, url)
        elif self._dialer.is_wanted(device_id):
            self._tasks.spawn(self._poke_back(device_id, route), "poke back")

    def _dial_poked(self, device_id: DeviceId, address: str) -> None:
        call = self._dialer.poked(device_id, self._clock.now(), address)
        if call is not None:
            self._tasks.spawn(self._dial(call), "dial")
            self._timer.arm(self._dialer.next_wake())

    async def _poke_back(self, device_id: DeviceId, route: SignalRoute) -> None:
        for target in self._targets(device_id, route.address):
            with contextlib.suppress(TransportFailure):
                if await self._connector.poke(target, address=None, route=route) or route.address is None:
                    return

    async def offered(self, opened: OpenedSignal, route: SignalRoute) -> None:
        """Somebody calls: answer."""
        if self._is_closing:
            return
        try:
            connection = await self._connector.answer(opened, route)
        except (TransportFailure, ProtocolViolation) as error:
            logger.info("could not answer", via=route.label, reason=str(error))
        else:
            self.links.adopt(connection, expected=connection.peer)

    def adopt_link(self, connection: Connection, *, expected: DeviceId | None) -> PeerLink:
        """Begin a session on a connection made with `dial` (for joins)."""
        return self.links.adopt(connection, expected=expected)

    def link_to(self, user_id: UserId) -> PeerLink | None:
        """A live connection to any device of this person (for joins)."""
        return self.links.link_to(user_id)

    def _link_closed(self, device_id: DeviceId, link: PeerLink) -> None:
        if not self._is_closing:
            now, is_cloned = self._clock.now(), link.is_cloned or self.clones.is_cloned(device_id)
            self._dial_all(
                self._dialer.closed(device_id, now, is_peer_fault=link.is_peer_fault, is_cloned=is_cloned)
            )

    # ------------------------------------------------------------------ for people

    def views(self) -> list[PeerView]:
        """Every other device in my spaces, connected ones first."""
        return self.links.views(is_dialling=self._dialer.is_dialling, stun=self._stun())

    def clone_views(self) -> list[CloneView]:
        """The devices, this one first, whose identity two daemons use."""
        views = [
            clone_view(certificate, noticed_ms, is_self=device_id == self._own)
            for device_id, noticed_ms in self.clones.cloned().items()
            if (certificate := self._certificate_of(device_id)) is not None
        ]
        return sorted(views, key=lambda view: (not view.is_self, view.device_id))

    def _certificate_of(self, device_id: DeviceId) -> DeviceCertificate | None:
        if device_id == self._own:
            return self._identity.certificate
        return self._book.certificate_of(device_id)

    def metrics(self) -> dict[str, float]:
        """For /metrics."""
        return {
            "peers_connected": float(len(self.links.online_devices())),
            "connections_made_total": float(self.links.connections_made),
            "peer_bytes_sent_total": float(self.links.traffic.sent_bytes),
            "peer_bytes_received_total": float(self.links.traffic.received_bytes),
            "devices_cloned": float(len(self.clones.cloned())),
            "connections_failed_total": float(self._failures),
            "signals_dropped_total": float(self._signals.dropped),
            "relays_connected": float(len(self._relays.connected())),
        }
