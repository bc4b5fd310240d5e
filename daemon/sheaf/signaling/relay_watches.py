"""Who wants to hear of which mailbox at one relay, over reconnects (PROTOCOL §7 MAILBOX_WATCH).

Several watches of one mailbox share one at the relay. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sheaf.core.wire.relay_requests import MailboxNews, MailboxUnwatch, MailboxWatch
from sheaf.ports import MailboxAccess
from sheaf.signaling.relay_connection import RelayConnection

OnNews = Callable[[int, bytes], None]


@dataclass(slots=True)
class _Watched:
    access: MailboxAccess
    listeners: list[OnNews] = field(default_factory=list)
    latest: tuple[int, bytes] | None = None
    """What this connection said last; None until it has."""


class RelayWatches:
    """All watches at one relay.

    Invariant: each connection is asked once for each mailbox, and again with the next ping while it has not
    answered (it may have refused, for being asked too much).
    """

    def __init__(self) -> None:
        self._watched: dict[bytes, _Watched] = {}
        self._connection: RelayConnection | None = None

    def add(self, access: MailboxAccess, on_news: OnNews) -> Callable[[], None]:
        """Begin to watch; returns what ends it."""
        watched = self._watched.get(access.mailbox_id)
        if watched is None:
            watched = self._watched[access.mailbox_id] = _Watched(access)
            self._ask(watched)
        elif watched.latest is not None:
            on_news(*watched.latest)
        watched.listeners.append(on_news)

        def end() -> None:
            if on_news in watched.listeners:
                watched.listeners.remove(on_news)
                self._left(watched)

        return end

    def news(self, frame: MailboxNews) -> bool:
        """The relay says where a mailbox ends; False when nobody asked."""
        watched = self._watched.get(frame.mailbox_id)
        if watched is None:
            return False
        watched.latest = (frame.last, frame.incarnation)
        for on_news in list(watched.listeners):
            on_news(frame.last, frame.incarnation)
        return True

    def connected(self, connection: RelayConnection) -> None:
        """A fresh connection: ask for everything."""
        self._connection = connection
        for watched in self._watched.values():
            self._ask(watched)

    def disconnected(self) -> None:
        """What was said last counts no more."""
        self._connection = None
        for watched in self._watched.values():
            watched.latest = None

    def ask_again(self) -> None:
        """Those the relay has not answered."""
        for watched in self._watched.values():
            if watched.latest is None:
                self._ask(watched)

    def _ask(self, watched: _Watched) -> None:
        if self._connection is not None:
            access = watched.access
            number = self._connection.next_number()
            self._connection.post(MailboxWatch(number, access.mailbox_id, access.token))

    def _left(self, watched: _Watched) -> None:
        mailbox_id = watched.access.mailbox_id
        if not watched.listeners and self._watched.get(mailbox_id) is watched:
            del self._watched[mailbox_id]
            if self._connection is not None:
                self._connection.post(MailboxUnwatch(mailbox_id))
