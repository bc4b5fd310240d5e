"""Connections to other daemons' LAN listeners, kept open for a while and used again.

An answer comes back on the connection that carried the question, so a daemon behind a
firewall that only lets it dial out can still be answered. PROTOCOL §6; decision 0017.
Knows nothing of what the messages say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import TransportFailure, WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import Deliver, Frame, Nobody, Send, Sent
from sheaf.signaling.resolver import Resolver
from sheaf.signaling.websocket import FrameSocket, dial
from sheaf.task_set import TaskSet

ANSWER_S_MAX: Final = 3.0
IDLE_S_MAX: Final = 60.0
CONNECTIONS_MAX: Final = 256
IN_FLIGHT_MAX: Final = 64

OnDelivery = Callable[[RendezvousId, bytes, "LanConnection"], None]


class LanConnection:
    """One dialled connection.

    Invariants:
    1. SENT and NOBODY answer the SENDs in the order those were sent.
    2. When the connection ends, everybody who waits is told.
    """

    def __init__(self, *, address: str, socket: FrameSocket, on_delivery: OnDelivery) -> None:
        self.address = address
        self._socket = socket
        self._on_delivery = on_delivery
        self._waiting: deque[tuple[RendezvousId, asyncio.Future[bool]]] = deque()
        self.is_open = True

    async def send(self, rid: RendezvousId, sealed: bytes) -> bool:
        """Send; True when somebody there answers to `rid`.

        Raises:
            TransportFailure: gone, silent for 3 s, or too many questions at once.
        """
        if not self.is_open or len(self._waiting) >= IN_FLIGHT_MAX:
            raise TransportFailure(f"the connection to {self.address} is gone or busy")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((rid, answer))
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await self._socket.send(Send(rid, sealed))
                return await answer
        except TimeoutError as error:
            self._socket.abort()  # answers are matched by order: one lost, all are (1)
            raise TransportFailure(f"{self.address} does not answer") from error

    def abort(self) -> None:
        """End it now, without a word."""
        self.is_open = False
        self._socket.abort()

    async def run(self) -> None:
        """Read until the connection ends or nothing happened for a minute."""
        try:
            while True:
                async with asyncio.timeout(IDLE_S_MAX):
                    frame = await self._socket.receive()
                if frame is None or not self._handle(frame):
                    return
        except (TimeoutError, WireError):
            return
        finally:
            self._end()
            await self._socket.close()

    def _handle(self, frame: Frame) -> bool:
        match frame:
            case Deliver(rid, payload):
                self._on_delivery(rid, payload, self)
                return True
            case Sent(rid) | Nobody(rid):
                if not self._waiting or self._waiting[0][0] != rid:
                    return False
                _, answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(isinstance(frame, Sent))
                return True
            case _:
                return False

    def _end(self) -> None:
        self.is_open = False
        while self._waiting:  # (2)
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(TransportFailure(f"the connection to {self.address} is gone"))
                answer.exception()  # the asker may have stopped waiting


@dataclass(slots=True)
class _Queue:
    """Those who want a connection to one address: the first dials, the others use it too."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class LanClient:
    """The dialled connections of this daemon, at most one per address."""

    def __init__(self, *, on_delivery: OnDelivery, tasks: TaskSet, resolver: Resolver) -> None:
        self._on_delivery = on_delivery
        self._resolver = resolver
        self._tasks = tasks
        self._connections: dict[str, LanConnection] = {}
        self._queues: dict[str, _Queue] = {}
        self._is_closed = False

    async def connection(self, address: str) -> LanConnection:
        """An open connection to `address`, dialled when there is none. Raises TransportFailure."""
        queue = self._queues.setdefault(address, _Queue())
        queue.waiting += 1
        try:
            async with queue.lock:
                return await self._connect(address)
        finally:
            queue.waiting -= 1
            if queue.waiting == 0:
                del self._queues[address]

    def close(self) -> None:
        """Dial no more; the connections end with the tasks."""
        self._is_closed = True

    async def _connect(self, address: str) -> LanConnection:
        existing = self._connections.get(address)
        if existing is not None and existing.is_open:
            return existing
        if not self._has_room():
            raise TransportFailure("no more signalling connections can be opened")
        socket = await dial(address, resolver=self._resolver)
        if not self._has_room():  # closed meanwhile
            await socket.close()
            raise TransportFailure("signalling is closed")
        return self._keep(address, socket)

    def _has_room(self) -> bool:
        return not self._is_closed and len(self._connections) < CONNECTIONS_MAX

    def forget(self) -> None:
        """This machine's addresses changed: no connection made before is used again."""
        for connection in self._connections.values():
            connection.abort()
        self._connections.clear()

    def _keep(self, address: str, socket: FrameSocket) -> LanConnection:
        connection = LanConnection(address=address, socket=socket, on_delivery=self._on_delivery)
        self._connections[address] = connection
        self._tasks.spawn(self._run(connection), f"signalling with {address}")
        return connection

    async def _run(self, connection: LanConnection) -> None:
        try:
            await connection.run()
        finally:
            if self._connections.get(connection.address) is connection:
                del self._connections[connection.address]
