"""What the nodes of one relay share besides the store: who listens, nameplates, waiting tunnels.

A relay of one node uses `LocalFleet`; several nodes behind a load balancer share another
implementation. Each passes `tests/contract/test_fleet.py`. Knows neither connections nor frames: a
node speaks through `Fleet` and hears through the `FleetListener` it gives to `start`. PROTOCOL §7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_words import RefusalCode
from sheaf.relay.nameplates import NameplateDesk

Side = str
"""One side of a nameplate: a name for a connection, unique over all nodes, drawn at random."""


class FleetListener(Protocol):
    """One node, as its fleet calls it. All of these only enqueue, and none raises."""

    def deliver(self, rid: RendezvousId, payload: bytes) -> bool:
        """Hand a message to this node's subscribers of `rid`; whether there is any."""
        ...

    def heard(self, side: Side, number: int, payload: bytes) -> None:
        """The other side of nameplate `number` says something to `side`."""
        ...

    def nameplate_closed(self, side: Side, number: int, code: RefusalCode) -> None:
        """`number` is worthless for `side` now: GONE or CROWDED."""
        ...


class Fleet(Protocol):
    """The nodes of one relay, seen from one of them.

    Calls for nameplates raise `RelayRefused` UNAVAILABLE while the other nodes are out of reach.
    """

    @property
    def is_up(self) -> bool:
        """Whether the other nodes can be reached (for `/healthz`)."""
        ...

    async def start(self, listener: FleetListener) -> None:
        """Begin; called once, before anything else."""
        ...

    async def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """This node has subscribers of these now (it had none before). In force when this returns."""
        ...

    async def unsubscribe(self, rids: Sequence[RendezvousId]) -> None:
        """This node's last subscribers of these have gone."""
        ...

    async def send(self, rid: RendezvousId, payload: bytes) -> bool:
        """Hand a message to all subscribers at every node, this one included (`listener.deliver`);
        whether there was any. Messages from one node to one rid arrive in order."""
        ...

    async def allocate_nameplate(self, side: Side) -> int:
        """A free number for `side`, small ones first. Refused FULL when there is none."""
        ...

    async def claim_nameplate(self, number: int, side: Side) -> None:
        """`side` becomes the second side and hears what the first has said so far.

        Refused GONE (nobody holds it, or its time is over, or it is one's own) or CROWDED (two are
        there already: it is worthless from now on, and both are told).
        """
        ...

    async def say(self, number: int, side: Side, payload: bytes) -> None:
        """Pass it to the other side, now or when it comes. Ignored from who is no side of `number`.

        Refused RATE when too much waits for a side that has not come.
        """
        ...

    async def release_nameplate(self, number: int, side: Side) -> None:
        """`side` is done with `number`, or its connection ended; the other side is told GONE, after
        what it has still to hear. Ignored from who is no side. Never raises."""
        ...

    async def hold_tunnel(self, token: bytes) -> str | None:
        """A connection waits at this node for the other side of a tunnel.

        Returns None when it shall wait here, or the URL of the node where the other side waits.
        """
        ...

    async def drop_tunnel(self, token: bytes) -> None:
        """Nobody waits here for `token` any more: both are there, or it took too long. Never raises."""
        ...

    async def tick(self) -> None:
        """Called about once a second: let nameplates go whose time is over."""
        ...

    async def close(self) -> None:
        """Leave the fleet. Idempotent."""
        ...


class LocalFleet:
    """A fleet of one node."""

    def __init__(self, *, now: Callable[[], float], choose: Callable[[int], int]) -> None:
        """`now`: monotonic seconds; `choose(n)`: a random integer from 0 to n - 1."""
        self._now = now
        self._choose = choose
        self._listener: FleetListener | None = None
        self._desk: NameplateDesk | None = None

    @property
    def is_up(self) -> bool:
        """Always: there is nobody else to reach."""
        return True

    async def start(self, listener: FleetListener) -> None:
        """See `Fleet`."""
        self._listener = listener
        self._desk = NameplateDesk(
            now=self._now,
            choose=self._choose,
            on_heard=listener.heard,
            on_closed=listener.nameplate_closed,
        )

    async def subscribe(self, rids: Sequence[RendezvousId]) -> None:
        """The node knows its own subscribers."""

    async def unsubscribe(self, rids: Sequence[RendezvousId]) -> None:
        """See `subscribe`."""

    async def send(self, rid: RendezvousId, payload: bytes) -> bool:
        """See `Fleet`."""
        assert self._listener is not None
        return self._listener.deliver(rid, payload)

    async def allocate_nameplate(self, side: Side) -> int:
        """See `Fleet`."""
        assert self._desk is not None
        return self._desk.allocate(side)

    async def claim_nameplate(self, number: int, side: Side) -> None:
        """See `Fleet`."""
        assert self._desk is not None
        self._desk.claim(number, side)

    async def say(self, number: int, side: Side, payload: bytes) -> None:
        """See `Fleet`."""
        assert self._desk is not None
        self._desk.say(number, side, payload)

    async def release_nameplate(self, number: int, side: Side) -> None:
        """See `Fleet`."""
        assert self._desk is not None
        self._desk.release(number, side)

    async def hold_tunnel(self, token: bytes) -> str | None:
        """Both sides come here."""
        return None

    async def drop_tunnel(self, token: bytes) -> None:
        """Nothing is kept of it."""

    async def tick(self) -> None:
        """See `Fleet`."""
        assert self._desk is not None
        self._desk.sweep()

    async def close(self) -> None:
        """See `Fleet`."""
