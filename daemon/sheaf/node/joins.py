"""Coming into somebody else's space with a ticket (PROTOCOL §8), as a task with progress.

Looks for a device that answers to the invitation (addresses and relays in the ticket, given
addresses, mDNS), connects, asks, checks what it is given, keeps the space and watches the
first catch-up. The peer manager makes the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from sheaf.core.base.errors import (
    NotFound,
    ProtocolViolation,
    SheafError,
    TransportFailure,
    UsageError,
    WireError,
)
from sheaf.core.base.ids import DeviceId, UserId
from sheaf.core.base.machine import Entropy
from sheaf.core.protocol.effects import JoinAccepted, Phase
from sheaf.core.protocol.pairing import InviteKeys, JoinRequest, check_genesis
from sheaf.core.space.space import Space
from sheaf.core.wire.relay_url import public_relay_url
from sheaf.core.wire.ticket import Ticket
from sheaf.node.connector import Connection, DialTarget
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.library import Library
from sheaf.node.path_race import delayed, first_of
from sheaf.node.peer_link import PeerLink
from sheaf.node.views import JoinState, JoinView
from sheaf.task_set import TaskSet

SEARCH_S: Final = 60.0
"""How long to look for the inviting device before saying what to check."""
RETRY_S: Final = 1.0
BUSY_S: Final = 0.02
RELAY_HEAD_START_S: Final = 0.5
"""What addresses are given before the relays are asked."""
JOINS_KEPT: Final = 64

logger = structlog.get_logger("sheaf.joins")


class Meeting(Protocol):
    """What a join needs of the peer manager."""

    def invitation_addresses(self, keys: InviteKeys) -> Iterable[str]:
        """Addresses where this invitation was seen announced, and those given by hand."""
        ...

    def hold_relay(self, url: str) -> Callable[[], None]:
        """Use a relay besides the others; the returned function lets it go."""
        ...

    def connected_relays(self) -> Sequence[str]:
        """The relays that are connected right now."""
        ...

    def address_hint(self) -> asyncio.Event:
        """Set whenever a new address was seen, or a relay came."""
        ...

    def link_to(self, user_id: UserId) -> PeerLink | None:
        """A live connection to a device of this person."""
        ...

    async def dial(self, target: DialTarget, address: str) -> Connection: ...

    def adopt_link(self, connection: Connection, *, expected: DeviceId | None) -> PeerLink: ...


@dataclass(slots=True)
class Join:
    """One join. `link` once somebody answered."""

    ticket: Ticket
    keys: InviteKeys
    view: JoinView
    link: PeerLink | None = None
    accepted: asyncio.Future[JoinAccepted] | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: TaskSet = field(default_factory=lambda: TaskSet("join"))


class Joins:
    """All joins since the daemon started."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        meeting: Meeting,
        events: EventBus,
        entropy: Entropy,
    ) -> None:
        self._identity = identity
        self._library = library
        self._meeting = meeting
        self._events = events
        self._entropy = entropy
        self._joins: dict[str, Join] = {}

    async def close(self) -> None:
        """Give up what is under way."""
        for join in self._joins.values():
            await join.tasks.close()

    # ------------------------------------------------------------------ asked by people

    def start(self, text: str, *, join_id: str | None = None) -> JoinView:
        """Begin to join with a ticket.

        Args:
            join_id: the id of the join by code that brought the ticket.

        Raises:
            UsageError: not a ticket, or a damaged one.
        """
        try:
            ticket = Ticket.decode(text)
        except WireError as error:
            raise UsageError(str(error)) from error
        running = (join for join in self._joins.values() if not join.finished.is_set())
        same = next((join for join in running if join.ticket.space_id == ticket.space_id), None)
        is_left = same is not None and (
            same.view.state is JoinState.CATCHING_UP and self._library.find(ticket.space_id) is None
        )
        if same is not None and not is_left:  # another ticket would let us into the same space
            return same.view
        join_id = join_id or self._entropy(8).hex()
        view = JoinView(join_id, ticket.space_id, ticket.name_hint or None, JoinState.SEARCHING, 0, 0, None)
        join = Join(ticket, InviteKeys(ticket.secret), view)
        while len(self._joins) >= JOINS_KEPT:
            oldest = next((key for key, j in self._joins.items() if j.finished.is_set()), None)
            if oldest is None:
                raise UsageError("too many joins are under way; wait for one to finish")
            del self._joins[oldest]
        self._joins[join_id] = join
        join.tasks.spawn(self._run(join), "join")
        return view

    def status(self, join_id: str) -> JoinView:
        """How far it is. Raises NotFound."""
        join = self._joins.get(join_id)
        if join is None:
            raise NotFound("there is no such join")
        return join.view

    async def cancel(self, join_id: str) -> None:
        """Stop trying. Raises NotFound."""
        self.status(join_id)
        join = self._joins[join_id]
        await join.tasks.close()
        if not join.finished.is_set():
            self._fail(join, "The join was cancelled", "Nothing was changed.")

    # ------------------------------------------------------------------ told by links

    def accepted(self, link: PeerLink, effect: JoinAccepted) -> None:
        """The owner let us in."""
        for future in self._waiting_for(link):
            future.set_result(effect)

    def refused(self, link: PeerLink, reason: str) -> None:
        """The owner did not let us in."""
        for future in self._waiting_for(link):
            future.set_exception(UsageError(reason))

    def link_changed(self, link: PeerLink) -> None:
        """A link's progress moved; a catch-up may go on over another link than it began on."""
        for join in self._joins.values():
            progress = link.spaces.get(join.ticket.space_id)
            if progress is None or join.view.state is not JoinState.CATCHING_UP:
                continue
            self._update(join, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes)
            if progress.phase is Phase.LIVE:
                self._update(join, state=JoinState.DONE)
                join.finished.set()

    def link_closed(self, link: PeerLink, reason: str) -> None:
        """The link broke."""
        for future in self._waiting_for(link):
            future.set_exception(TransportFailure(reason))
        for join in self._joins.values():
            if join.link is link:
                join.link = None

    def _waiting_for(self, link: PeerLink) -> list[asyncio.Future[JoinAccepted]]:
        """The join that waits for an answer over this link; earlier ones may have used it too."""
        asked = (join.accepted for join in self._joins.values() if join.link is link)
        return [future for future in asked if future is not None and not future.done()]

    # ------------------------------------------------------------------ the task

    async def _run(self, join: Join) -> None:
        space_id = join.ticket.space_id
        if self._library.find(space_id) is not None:
            self._update(join, state=JoinState.DONE)
            join.finished.set()
            return
        releases = [self._meeting.hold_relay(url) for url in _relays(join.ticket)]
        try:
            async with asyncio.timeout(SEARCH_S):
                await self._until_let_in(join)
        except TimeoutError:
            self._fail(join, "Nobody answered this invitation", self._what_to_check(join.ticket))
        except UsageError as error:
            self._fail(join, "The invitation was not accepted", str(error))
        except ProtocolViolation as error:
            self._fail(join, "The answer to this invitation cannot be trusted", str(error))
        except SheafError as error:
            self._fail(join, "Joining did not work", str(error))
        except Exception:
            logger.exception("a join failed by a defect")
            self._fail(join, "Joining did not work", "A defect of Sheaf; its log says more.")
        finally:
            for release in releases:
                release()

    def _what_to_check(self, ticket: Ticket) -> str:
        relays = _relays(ticket)
        if not relays:
            return (
                "Is the inviting computer on, running Sheaf, and on the same network? If the network "
                "blocks discovery, ask for a ticket with an address (sheaf invite --host)."
            )
        if not set(relays) & set(self._meeting.connected_relays()):
            return (
                f"The relay of this ticket cannot be reached from here ({relays[0]}), and the inviting "
                "computer was not found on this network. `sheaf doctor network` says more."
            )
        return (
            "Is the inviting computer on and running Sheaf? It was found neither over the relay nor on this "
            "network."
        )

    async def _until_let_in(self, join: Join) -> None:
        target = DialTarget(join.keys.rendezvous_id, join.keys.kem_public, None)
        hint = self._meeting.address_hint()
        while True:
            hint.clear()
            known = self._meeting.link_to(join.ticket.issuer)
            while known is not None and known.is_joining:  # one request at a time
                await asyncio.sleep(BUSY_S)
                known = self._meeting.link_to(join.ticket.issuer)
            if known is not None:
                try:
                    await self._ask(join, known)
                    return
                except TransportFailure as failure:
                    logger.info("the connection broke while joining", reason=str(failure))
            try:
                connection = await self._connect(join, target)
                link = self._meeting.adopt_link(connection, expected=connection.peer)
                await self._ask(join, link)
                return
            except TransportFailure as failure:
                logger.info("no luck yet", reason=str(failure))
            self._update(join, state=JoinState.SEARCHING)
            try:
                async with asyncio.timeout(RETRY_S):
                    await hint.wait()
            except TimeoutError:
                continue

    async def _connect(self, join: Join, target: DialTarget) -> Connection:
        """Try the addresses one after the other, and beside them, a little later, the relays.

        Raises:
            TransportFailure: nobody there yet. ProtocolViolation: somebody answers who must not.
        """
        found = self._meeting.invitation_addresses(join.keys)
        addresses = list(dict.fromkeys([*_hosts(join.ticket), *found]))
        relays = [url for url in _relays(join.ticket) if url in self._meeting.connected_relays()]
        lines = [self._one_of(join, target, addresses)] if addresses else []
        if relays:
            head_start_s = RELAY_HEAD_START_S if addresses else 0.0
            lines.append(delayed(head_start_s, lambda: self._one_of(join, target, relays)))
        return await first_of(lines, discard=lambda connection: connection.channel.close())

    async def _one_of(self, join: Join, target: DialTarget, addresses: Sequence[str]) -> Connection:
        failure = TransportFailure("nowhere to ask")
        for address in addresses:
            self._update(join, state=JoinState.CONNECTING)
            try:
                return await self._meeting.dial(target, address)
            except TransportFailure as error:
                failure = error
                logger.info("no luck at this address", address=address, reason=str(error))
        raise failure

    async def _ask(self, join: Join, link: PeerLink) -> None:
        if link.is_closed:  # it broke before anybody waited for an answer, so nobody would be told
            raise TransportFailure("the connection broke at once")
        self._update(join, state=JoinState.JOINING)
        join.accepted = asyncio.get_running_loop().create_future()
        join.link = link
        request = JoinRequest.make(
            join.keys,
            space_id=join.ticket.space_id,
            certificate=self._identity.certificate,
            transcript=link.transcript,
        )
        link.join(join.ticket.space_id, request)
        accepted = await join.accepted
        device = self._identity.device
        space_id = join.ticket.space_id
        assert link.device_id is not None, "nobody is accepted before he has proved who he is"
        check_genesis(space_id, accepted.ops, link.device_id, joiner=device.device_id)
        space = Space(space_id=space_id, device_id=device.device_id)
        space.add_ops(accepted.ops)
        secrets = dict(space.open_keyboxes(device))
        await self._library.adopt(space, secrets)
        self._update(join, state=JoinState.CATCHING_UP, space_name=space.name() or join.view.space_name)
        if join.link is not None:
            self.link_changed(join.link)
        # from here on the space is ours; if this connection breaks, the next one goes on

    def _update(
        self,
        join: Join,
        *,
        state: JoinState | None = None,
        space_name: str | None = None,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        view = replace(
            join.view,
            state=state or join.view.state,
            space_name=space_name or join.view.space_name,
            done_bytes=join.view.done_bytes if done_bytes is None else done_bytes,
            total_bytes=join.view.total_bytes if total_bytes is None else total_bytes,
        )
        if view != join.view:
            if view.state is not join.view.state:
                logger.debug("join goes on", join=view.join_id, state=view.state.value)
            join.view = view
            self._events.publish("join_changed", join_id=view.join_id, state=view.state.value)

    def _fail(self, join: Join, title: str, detail: str) -> None:
        if join.link is not None and join.accepted is not None and join.accepted.cancelled():
            join.link.give_up_joining()
        join.view = replace(join.view, state=JoinState.FAILED, error=(title, detail))
        join.finished.set()
        self._events.publish("join_changed", join_id=join.view.join_id, state=join.view.state.value)


def _hosts(ticket: Ticket) -> list[str]:
    """The addresses of a ticket. The scope of a link-local one is the issuer's and means nothing here;
    it is tried on each interface of this computer."""
    return [re.sub("%[^]]*", "", host) for host in ticket.hosts]


def _relays(ticket: Ticket) -> list[str]:
    """The relays a ticket names, as they are called here."""
    found = []
    for url in ticket.relay_urls:
        with contextlib.suppress(WireError):
            found.append(public_relay_url(url))
    return found
