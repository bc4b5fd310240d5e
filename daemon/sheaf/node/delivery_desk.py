"""Delivery for the local door: where a document is, what was seen, and the mailboxes behind it.

Brings together what devices said (`Delivery`), what relays hold (`Mailboxes`) and what documents
consist of (the store). Must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sheaf.core.base.ids import INDEX_DOC_ID, DeviceId, DocId, LogId, SpaceId
from sheaf.core.base.machine import Entropy
from sheaf.node.delivery_state import DeliveryState as State
from sheaf.node.delivery_state import DeviceDelivery, DocumentDelivery, Incomplete, SpaceDelivery
from sheaf.node.delivery_views import (
    by_person,
    lacking,
    others,
    owner_of,
    relay_view,
    space_view,
    state_of,
)
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity
from sheaf.node.library import Library
from sheaf.node.mailboxes import Mailboxes
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, RelayPool, Store, WriteBatch

SHARE_SEEN: Final = "share_seen"
MISSING_SHOWN_MAX: Final = 999_999
"""A device can claim anything; beyond this the number says nothing."""


class DeliveryDesk:
    """See the module. `start` once the library is open."""

    def __init__(
        self,
        *,
        identity: LocalIdentity,
        library: Library,
        pool: RelayPool | None,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        events: EventBus,
    ) -> None:
        self._identity = identity
        self._own = identity.device.device_id
        self._library = library
        self._store = store
        self._events = events
        self.share_seen = True
        library.delivery_of = self.space
        self.mailboxes = Mailboxes(
            own=self._own,
            library=library,
            pool=pool,
            store=store,
            clock=clock,
            entropy=entropy,
            events=events,
        )

    async def start(self) -> None:
        """Read the settings. Raises StorageFailure."""
        self.share_seen = await self._store.setting(SHARE_SEEN) != b"\x00"

    async def set_share_seen(self, share: bool) -> None:
        """Whether others learn from now on what was seen here. Raises StorageFailure."""
        await self._store.commit(WriteBatch(settings={SHARE_SEEN: b"\x01" if share else b"\x00"}))
        self.share_seen = share

    # ------------------------------------------------------------------ documents

    async def seen(self, doc_id: DocId) -> None:
        """The document is on the screen, with everything that came so far. Raises NotFound."""
        host, _ = self._library.place(doc_id)
        if self.share_seen:
            host.delivery.saw(doc_id, await self._store.document_frontier(host.space_id, doc_id))

    async def document(self, doc_id: DocId) -> DocumentDelivery:
        """Where a document is. Raises NotFound, StorageFailure."""
        host, _ = self._library.place(doc_id)
        await host.flush()
        about = doc_id
        frontier, unsealed = await self._frontier(host, about)
        if not frontier and not unsealed:  # nothing was written in it: it is where its name is
            about = INDEX_DOC_ID
            frontier, unsealed = await self._frontier(host, about)
        relays = self.mailboxes.workers(host.space_id)
        names = others(host.space.membership, self._own)
        needed: dict[LogId, int] = {}
        devices: dict[DeviceId, DeviceDelivery] = {}
        for device_id, (_, _, name) in names.items():
            word = host.delivery.book.of(device_id)
            lacks = lacking(word, frontier)
            for log_id, first in lacks.items():
                needed[log_id] = min(first, needed.get(log_id, first))
            state = state_of(word, frontier, relays, doc_id=doc_id, has_unsealed=unsealed > 0)
            at_ms = None
            if word is not None and state is State.SEEN:
                at_ms = word.seen[doc_id].at_ms
            elif word is not None and state is State.DELIVERED:
                at_ms = word.made_ms
            missing = unsealed + await self._count(host, about, lacks)
            devices[device_id] = DeviceDelivery(device_id, name, state, at_ms, missing)
        return DocumentDelivery(
            document_id=doc_id,
            space_id=host.space_id,
            saved=True,
            relays=tuple(relay_view(relay, needed, frontier, has_unsealed=unsealed > 0) for relay in relays),
            people=by_person(names, devices),
            incomplete=self._incomplete(host),
        )

    async def _frontier(self, host: SpaceHost, doc_id: DocId) -> tuple[Mapping[LogId, int], int]:
        """What the document consists of, and how many edits are not in that: counted before as well as
        after the question, since an edit may be sealed in between."""
        before = host.unsettled(doc_id)
        frontier = await self._store.document_frontier(host.space_id, doc_id)
        return frontier, max(before, host.unsettled(doc_id))

    async def _count(self, host: SpaceHost, doc_id: DocId, lacks: Mapping[LogId, int]) -> int:
        if not lacks:
            return 0
        return sum(await self._store.document_counts(host.space_id, doc_id, list(lacks.items())))

    # ------------------------------------------------------------------ spaces

    def space(self, space_id: SpaceId) -> SpaceDelivery:
        """How a space stands. Raises NotFound."""
        host = self._library.host(space_id)
        return space_view(
            others(host.space.membership, self._own),
            host.delivery.book,
            {log_id: seq for log_id, seq in host.durable.items() if seq > 1},
            self.mailboxes.workers(space_id),
            own_user=self._identity.user.user_id,
            has_unsealed=host.unsettled() > 0,
            incomplete=self._incomplete(host),
        )

    def _incomplete(self, host: SpaceHost) -> Incomplete | None:
        found = host.delivery.incomplete()
        if found is None:
            return None
        missing, device_id = found
        member, certificate = host.space.membership.devices()[device_id]
        return Incomplete(min(missing, MISSING_SHOWN_MAX), owner_of(member.name, certificate.name))

    # ------------------------------------------------------------------ figures

    def metrics(self) -> dict[str, float]:
        """Counters and gauges for /metrics."""
        hosts = list(self._library.hosts())
        missing = [host.delivery.incomplete() for host in hosts]
        return {
            **self.mailboxes.metrics(),
            "spaces_incomplete": float(sum(each is not None for each in missing)),
        }
