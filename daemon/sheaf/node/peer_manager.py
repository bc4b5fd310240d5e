"""Finds the other devices of my spaces and calls them (PROTOCOL §5, §6).

Turns sightings and given addresses into dials (`core.protocol.dialer` decides when),
and answers the offers and pokes that arrive; what connects goes to `PeerLinks`. Signals and sightings
come in as callbacks that only enqueue; one task works them off.

Must not know documents, SQL or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.core.base.ids import DeviceId, RendezvousId, SpaceId, UserId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.dialer import Dial, DialEffect, Dialer, Poke
from sheaf.core.protocol.pairing import InviteKeys
from sheaf.core.protocol.rendezvous import invite_tag
from sheaf.core.protocol.signaling import OpenedSignal, SignalKind, open_signal
from sheaf.node.address_book import AddressBook
from sheaf.node.connector import Connection, Connector, DialTarget, NobodyThere
from sheaf.node.driver import WakeTimer
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.invitations import Invitations
from sheaf.node.library import Library
from sheaf.node.peer_link import PeerLink
from sheaf.node.peer_links import PeerLinks
from sheaf.node.views import PeerView
from sheaf.ports import Announcement, Clock, Discovery, Sighting, Signaling, SignalRoute, Store
from sheaf.task_set import TaskSet

SIGNALS_WAITING_MAX: Final = 256
"""More than that at once is a flood; the rest is dropped, honest peers try again."""
ANSWERING_MAX: Final = 16
ACTED_ON_MAX: Final = 4096
"""Signals remembered by their session id, to know one that is played again."""
STALE_SIGNAL_MS: Final = 10 * 60 * 1000

logger = structlog.get_logger("sheaf.peers")


@dataclass(frozen=True, slots=True)
class _Signal:
    rid: RendezvousId
    sealed: bytes
    route: SignalRoute


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
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._own = identity.device.device_id
        self._book = AddressBook(own=self._own, library=library, invitations=invitations)
        self.links = PeerLinks(
            identity=identity,
            library=library,
            invitations=invitations,
            store=store,
            clock=clock,
            entropy=entropy,
            events=events,
            tasks=tasks,
            keeps_newcomer=lambda device, mine: self._dialer.keeps_newcomer(device, newcomer_is_mine=mine),
            on_connected=lambda device: self._dial_all(self._dialer.connected(device, clock.now())),
            on_closed=self._link_closed,
        )
        self._dialer = Dialer(own=self._own, entropy=entropy, static_addresses=static_addresses)
        self._timer = WakeTimer(clock=clock, on_wake=lambda now: self._dial_all(self._dialer.wake(now)))
        self._sightings: dict[str, Sighting] = {}
        self._signals: asyncio.Queue[_Signal] = asyncio.Queue(SIGNALS_WAITING_MAX)
        self._address_hint = asyncio.Event()
        self._answering = 0
        self._acted_on: dict[bytes, None] = {}
        self._refresh_due = asyncio.Event()
        self._answer_rids: frozenset[RendezvousId] = frozenset()
        self._counts = {"connections_failed": 0.0, "signals_dropped": 0.0}
        self._is_closing = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen for signals, look around, announce."""
        self._signaling.set_handler(self._signal_came)
        self._connector.on_expecting = self._expecting
        self._tasks.spawn(self._work_signals(), "signals")
        self._tasks.spawn(self._keep_announced(), "announce")
        await self._discovery.start(self._sighted)
        self.refresh()

    async def close(self) -> None:
        """Say goodbye to everybody."""
        self._is_closing = True
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
        self._subscribe()
        self._refresh_due.set()
        now = self._clock.now()
        self._dial_all(self._dialer.set_wanted(self._book.wanted(), now))
        for sighting in list(self._sightings.values()):
            self._match(sighting)
        self._events.publish("peers_changed")

    def _subscribe(self) -> None:
        self._signaling.subscribe([*self._book.own_rendezvous_ids(), *self._answer_rids])

    def _expecting(self, rids: frozenset[RendezvousId]) -> None:
        self._answer_rids = rids
        self._subscribe()

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

    def _match(self, sighting: Sighting) -> None:
        now = self._clock.now()
        for device_id in self._book.recognise(sighting):
            self._dial_all(self._dialer.sighted(device_id, sighting.addresses, now))

    def network_changed(self) -> None:
        """Addresses of this machine came or went: doubt what is open, and try everybody else again."""
        if not self._is_closing:
            self.links.probe()
            self._dial_all(self._dialer.network_changed(self._clock.now()))

    def invitation_addresses(self, keys: InviteKeys) -> Iterable[str]:
        """Where an invitation is announced right now, and the addresses given by hand."""
        for sighting in self._sightings.values():
            if invite_tag(keys.mdns_key, sighting.nonce) in sighting.tags:
                yield from sighting.addresses
        yield from self._static

    def address_hint(self) -> asyncio.Event:
        """Set whenever something new was sighted."""
        return self._address_hint

    # ------------------------------------------------------------------ dialling

    def _dial_all(self, actions: Iterable[DialEffect]) -> None:
        for action in actions:
            match action:
                case Dial():
                    self._tasks.spawn(self._dial(action.device_id, action.address), "dial")
                case Poke():
                    self._tasks.spawn(self._poke(action.device_id, action.address), "poke")
        self._timer.arm(self._dialer.next_wake())

    async def _dial(self, device_id: DeviceId, address: str | None, route: SignalRoute | None = None) -> None:
        failure = "it shares no space with us"
        for target in self._book.targets(device_id):
            try:
                connection = await self._connector.dial(target, address=address, route=route)
            except NobodyThere as error:
                failure = str(error)
                continue  # it may answer under another space's rendezvous id
            except (TransportFailure, ProtocolViolation) as error:
                failure = str(error)
                break
            self.links.adopt(
                connection,
                expected=device_id,
                on_lost=lambda reason: self._failed(device_id, address, reason),
            )
            return
        self._failed(device_id, address, failure)

    async def _poke(self, device_id: DeviceId, address: str | None) -> None:
        assert address is not None
        for target in self._book.targets(device_id):
            try:
                if await self._connector.poke(target, address=address, route=None):
                    return
            except TransportFailure as error:
                self._failed(device_id, address, str(error))
                return
        self._failed(device_id, address, "not there")

    def _failed(self, device_id: DeviceId, address: str | None, reason: str) -> None:
        self._counts["connections_failed"] += 1
        logger.info("could not connect", device=device_id.short, address=address, reason=reason)
        self._dial_all(self._dialer.failed(device_id, address, self._clock.now()))

    async def dial(self, target: DialTarget, address: str) -> Connection:
        """One attempt at one address (for joins). Raises TransportFailure, ProtocolViolation."""
        return await self._connector.dial(target, address=address, route=None)

    # ------------------------------------------------------------------ signals

    def _signal_came(self, rid: RendezvousId, sealed: bytes, route: SignalRoute) -> None:
        try:
            self._signals.put_nowait(_Signal(rid, sealed, route))
        except asyncio.QueueFull:
            self._counts["signals_dropped"] += 1

    async def _work_signals(self) -> None:
        while True:
            signal = await self._signals.get()
            try:
                self._work(signal)
            except ProtocolViolation as error:
                logger.info("signal dropped", reason=str(error), via=signal.route.label)
            except Exception:  # one bad signal must not end all others
                logger.exception("signal dropped by a defect", via=signal.route.label)

    def _work(self, signal: _Signal) -> None:
        if self._connector.take_answer(signal.rid, signal.sealed):
            return
        opened = self._open(signal)
        if opened is not None:
            self._act_on(opened, signal)

    def _open(self, signal: _Signal) -> OpenedSignal | None:
        invitation = self._invitations.by_rendezvous(signal.rid)
        if invitation is not None:
            return open_signal(signal.sealed, invitation.keys.open_box, signal.rid)
        opened = open_signal(signal.sealed, self._identity.device.open_box, signal.rid)
        if opened.body.to != self._own:
            raise ProtocolViolation("meant for another device")
        return opened

    def _act_on(self, opened: OpenedSignal, signal: _Signal) -> None:
        body = opened.body
        if body.sender.device == self._own:
            logger.warning("another machine uses this device's keys: was this profile copied?")
            return
        if abs(self._clock.wall_ms() - body.created_ms) > STALE_SIGNAL_MS:
            logger.info("an old or postdated signal; clocks may differ", via=signal.route.label)
        if not self._is_first(body.session_id):
            self._counts["signals_dropped"] += 1
            return
        match body.kind:
            case SignalKind.OFFER:
                if self._answering >= ANSWERING_MAX:
                    self._counts["signals_dropped"] += 1
                    return
                self._tasks.spawn(self._answer(opened, signal.route), "answer")
            case SignalKind.POKE:
                self._poked(body.sender, signal)
            case SignalKind.BYE | SignalKind.ANSWER:
                return

    def _is_first(self, session_id: bytes) -> bool:
        """False for a signal played again: a stranger on the network can record and repeat them."""
        if session_id in self._acted_on:
            return False
        self._acted_on[session_id] = None
        if len(self._acted_on) > ACTED_ON_MAX:
            del self._acted_on[next(iter(self._acted_on))]
        return True

    def _poked(self, sender: DeviceCertificate, signal: _Signal) -> None:
        """Somebody wants us to offer: at an address if we know one, else along the route he came by.

        Over the route only WebRTC can open (a tunnel needs an address). The device with the
        smaller id knows none when only the other was given one by hand; then it asks back, and
        the other, which has an address, offers after all.

        Who calls although there is a connection has none on its side (it was killed, or moved):
        ours is then found dead soon, and its next call is answered.
        """
        device_id = sender.device
        self.links.probe(device_id)
        address = self._dialer.address_of(device_id) or signal.route.address
        if address is None:
            if self._dialer.should_answer(device_id):
                self._tasks.spawn(self._poke_back(device_id, signal.route), "poke back")
        elif self._dialer.poked(device_id, self._clock.now()):
            self._tasks.spawn(self._dial(device_id, address), "dial")

    async def _poke_back(self, device_id: DeviceId, route: SignalRoute) -> None:
        for target in self._book.targets(device_id):
            with contextlib.suppress(TransportFailure):
                await self._connector.poke(target, address=None, route=route)
                return

    async def _answer(self, opened: OpenedSignal, route: SignalRoute) -> None:
        self._answering += 1
        try:
            connection = await self._connector.answer(opened, route)
        except (TransportFailure, ProtocolViolation) as error:
            logger.info("could not answer", via=route.label, reason=str(error))
        else:
            self.links.adopt(connection, expected=connection.peer)
        finally:
            self._answering -= 1

    def adopt_link(self, connection: Connection, *, expected: DeviceId | None) -> PeerLink:
        """Begin a session on a connection made with `dial` (for joins)."""
        return self.links.adopt(connection, expected=expected)

    def link_to(self, user_id: UserId) -> PeerLink | None:
        """A live connection to any device of this person (for joins)."""
        return self.links.link_to(user_id)

    def _link_closed(self, device_id: DeviceId, is_peer_fault: bool) -> None:
        if not self._is_closing:
            now = self._clock.now()
            self._dial_all(self._dialer.closed(device_id, now, is_peer_fault=is_peer_fault))

    # ------------------------------------------------------------------ for people

    def views(self) -> list[PeerView]:
        """Every other device in my spaces, connected ones first."""
        return self.links.views(is_dialling=self._dialer.is_dialling)

    def metrics(self) -> dict[str, float]:
        """For /metrics."""
        return {
            "peers_connected": float(len(self.links.online_devices())),
            "connections_made": float(self.links.connections_made),
            "peer_bytes_sent_total": float(self.links.traffic.sent_bytes),
            "peer_bytes_received_total": float(self.links.traffic.received_bytes),
            **self._counts,
        }
