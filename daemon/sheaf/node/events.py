"""A bounded event bus: the node says that something changed, listeners refetch.

Queues hold at most `QUEUE_MAX` events. When one is full its content is replaced by a
single `resync` event: a slow listener loses detail, never correctness, and never
slows the node down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

QUEUE_MAX: Final = 256
RESYNC: Final = "resync"

EventData = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is one of the names in the HTTP reference, `data` its JSON fields."""

    kind: str
    data: EventData


class EventSubscription:
    """One listener's queue; an async iterator that ends after `close`."""

    def __init__(self, *, on_close: Callable[[EventSubscription], None]) -> None:
        self._queue: deque[Event] = deque()
        self._wakeup = asyncio.Event()
        self._is_closed = False
        self._on_close = on_close

    def put(self, event: Event) -> None:
        """Add an event; an event equal to one still waiting is not repeated."""
        if event in self._queue:
            return
        if len(self._queue) >= QUEUE_MAX:
            self._queue.clear()
            event = Event(RESYNC, {})
        self._queue.append(event)
        self._wakeup.set()

    def close(self) -> None:
        """Stop; a waiting iterator ends."""
        if not self._is_closed:
            self._is_closed = True
            self._wakeup.set()
            self._on_close(self)

    def __aiter__(self) -> EventSubscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._is_closed:
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._queue.popleft()


class EventBus:
    """Hands each event to every subscription."""

    def __init__(self) -> None:
        self._subscriptions: list[EventSubscription] = []

    def subscribe(self) -> EventSubscription:
        """A new subscription; the caller closes it."""
        subscription = EventSubscription(on_close=self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, kind: str, /, **data: str | int | None) -> None:
        """Tell every listener."""
        event = Event(kind, data)
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def close(self) -> None:
        """End every subscription."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
