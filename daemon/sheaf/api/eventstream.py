"""Server-sent events: the node's event bus as `text/event-stream`.

A comment every 15 s shows both sides that the line is alive and counts as use of the
session. Each write has a deadline; who does not read is let go and refetches later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

from sheaf.api.hangups import Hangups
from sheaf.node.events import Event, EventSubscription

HEARTBEAT_S: Final = 15.0
_HELLO: Final = b"retry: 1000\n: connected\n\n"
_HEARTBEAT: Final = b": alive\n\n"


def encode_event(event: Event) -> bytes:
    """One event in the wire form; JSON escapes line ends, so a name cannot forge a field."""
    return f"event: {event.kind}\ndata: {json.dumps(dict(event.data))}\n\n".encode()


async def event_stream(
    subscription: EventSubscription,
    *,
    hangups: Hangups,
    is_signed_in: Callable[[], bool],
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[bytes]:
    """The bytes of the stream, until the daemon stops, the session ends or the client leaves.

    Args:
        subscription: closed by this generator.
        hangups: where a stopping daemon ends the stream.
        is_signed_in: asked at every heartbeat; renews the session.
        heartbeat_s: seconds between comments when nothing happens.
    """
    remove = hangups.add(subscription.close)
    try:
        yield _HELLO
        while is_signed_in() and not hangups.is_stopping:
            try:
                async with asyncio.timeout(heartbeat_s):
                    event = await anext(subscription)
            except TimeoutError:
                yield _HEARTBEAT
            except StopAsyncIteration:
                return
            else:
                yield encode_event(event)
    finally:
        remove()
        subscription.close()
