"""One side of a nameplate at a relay (the `Nameplate` port, PROTOCOL §7, §8 "Spoken code").

Lives and dies with the connection it was made on. Knows nothing of what is said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_requests import (
    NameplateAllocate,
    NameplateClaim,
    NameplateClosed,
    NameplateHeard,
    NameplateHeld,
    NameplateRelease,
    NameplateSay,
)
from sheaf.core.wire.relay_words import SAYING_BYTES_MAX, RelayRefused
from sheaf.signaling.relay_connection import RelayConnection

HEARD_MAX: Final = 16
"""Messages that wait to be heard; an exchange has four. More are dropped: it fails and is begun anew."""


class RelayNameplate:
    """See the port."""

    def __init__(self, *, number: int, relay_url: str, connection: RelayConnection) -> None:
        self._number = number
        self._relay_url = relay_url
        self._connection = connection
        self._inbox: deque[bytes] = deque()
        self._over: TransportFailure | None = None
        self._changed = asyncio.Event()

    @property
    def number(self) -> int:
        return self._number

    @property
    def relay_url(self) -> str:
        return self._relay_url

    async def say(self, data: bytes) -> None:
        """Pass ≤ 4 KiB to the other side. Raises TransportFailure."""
        assert len(data) <= SAYING_BYTES_MAX, f"a saying of {len(data)} bytes"
        if self._over is not None:
            raise self._over
        await self._connection.say(NameplateSay(self._number, data))

    async def hear(self) -> bytes:
        """The other side's next message. Raises RelayRefused (GONE, CROWDED), TransportFailure."""
        while not self._inbox:
            if self._over is not None:
                raise self._over
            self._changed.clear()
            await self._changed.wait()
        return self._inbox.popleft()

    async def release(self) -> None:
        """Give the number back; never fails."""
        if self._over is None:
            self.end(TransportFailure("the number was given back"))
            self._connection.post(NameplateRelease(self._number))

    # ------------------------------------------------------------------ told by the connection

    def heard(self, frame: NameplateHeard | NameplateClosed) -> None:
        """The other side, or the relay, says something."""
        match frame:
            case NameplateHeard():
                if len(self._inbox) < HEARD_MAX:
                    self._inbox.append(frame.payload)
                    self._changed.set()
            case NameplateClosed():
                self.end(RelayRefused(frame.code))

    def end(self, reason: TransportFailure) -> None:
        """It is over, for this reason."""
        if self._over is None:
            self._over = reason
            self._changed.set()

    @property
    def is_over(self) -> bool:
        """Nothing more will be heard."""
        return self._over is not None


class Nameplates:
    """The nameplates held on one connection."""

    def __init__(self, *, relay_url: str) -> None:
        self._relay_url = relay_url
        self._held: dict[int, RelayNameplate] = {}

    async def allocate(self, connection: RelayConnection) -> RelayNameplate:
        """A free number. Raises TransportFailure."""
        held = await connection.request(NameplateAllocate, NameplateHeld)
        return self._keep(held.number, connection)

    async def claim(self, connection: RelayConnection, number: int) -> RelayNameplate:
        """The other side of a number. Raises RelayRefused, TransportFailure."""
        # what was said before we came follows the answer at once: be there before it is worked off
        plate = self._keep(number, connection)
        try:
            held = await connection.request(lambda request: NameplateClaim(request, number), NameplateHeld)
        except BaseException:
            self._forget(number, plate)
            raise
        if held.number != number:
            self._forget(number, plate)
            raise TransportFailure("the relay gives another number than was asked for")
        return plate

    def heard(self, frame: NameplateHeard | NameplateClosed) -> bool:
        """False when nobody here holds that number."""
        plate = self._held.get(frame.number)
        if plate is None:
            return False
        plate.heard(frame)
        if plate.is_over:
            self._forget(frame.number, plate)
        return True

    def end(self, reason: TransportFailure) -> None:
        """The connection is gone, and with it all numbers."""
        held, self._held = self._held, {}
        for plate in held.values():
            plate.end(reason)

    def _keep(self, number: int, connection: RelayConnection) -> RelayNameplate:
        earlier = self._held.get(number)
        if earlier is not None and not earlier.is_over:
            raise TransportFailure(f"number {number} is in use here already")
        plate = RelayNameplate(number=number, relay_url=self._relay_url, connection=connection)
        self._held[number] = plate
        return plate

    def _forget(self, number: int, plate: RelayNameplate) -> None:
        if self._held.get(number) is plate:
            del self._held[number]
