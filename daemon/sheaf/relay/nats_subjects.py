"""Thousands of subjects on one NATS connection that share one queue and one task.

The library gives each subscription a queue and a task of its own: 5 KB for each subject, and a daemon
has eight or so. This reaches into it (`_sid`, `_subs` and two senders), since it has no way to say that;
`tests/contract/test_fleet.py` and `test_mailbox_store.py` notice when that stops working. For handlers
that do not wait: they run one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.command import sub_cmd

Handler = Callable[[Msg], Awaitable[None]]


class ManySubjects:
    """The subjects of one connection; `open` it first. It ends with the connection."""

    def __init__(self, client: Client, handler_of: Callable[[str], Handler | None]) -> None:
        """`handler_of(subject)`: who gets its messages at this moment."""
        self._client = client
        self._handler_of = handler_of
        self._shared: Subscription | None = None
        self._sids: dict[str, int] = {}

    async def open(self) -> None:
        """Make what they share: a subscription to a subject that nobody knows. Raises as the library does."""
        self._shared = await self._client.subscribe(self._client.new_inbox(), cb=self._take)

    async def add(self, subject: str) -> None:
        """Listen there, too, once. No wildcards. Raises as the library does."""
        assert self._shared is not None
        if subject in self._sids:
            return
        client = self._client
        client._sid += 1
        sid = client._sid
        self._sids[subject] = sid
        client._subs[sid] = self._shared
        await client._send_command(sub_cmd(subject, "", sid))
        await client._flush_pending()

    async def remove(self, subject: str) -> None:
        """No more. Raises as the library does."""
        sid = self._sids.pop(subject, None)
        if sid is not None and self._client._subs.pop(sid, None) is not None:
            await self._client._send_unsubscribe(sid)

    async def _take(self, message: Msg) -> None:
        handler = self._handler_of(message.subject)
        if handler is not None:
            await handler(message)
