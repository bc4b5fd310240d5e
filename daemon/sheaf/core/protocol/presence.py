"""Who is in a document right now: y-protocols awareness, made safe (PROTOCOL §9).

The stock handler lets one message add 200,000 clients, never forgets and times out by the
wall clock. Here every client id belongs to the source that brought it (one tab, or one
remote device), counts and sizes are capped, and silence is measured in monotonic time.
Pure and never persisted; must not know sockets, documents or who the sources are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.limits import AWARENESS_BYTES_MAX, KIB
from sheaf.core.base.machine import Seconds
from sheaf.core.crdt.lib0 import check_json
from sheaf.core.protocol.ysync import LibReader, write_bytes, write_uvar

SOURCE_CLIENTS_MAX: Final = 4
"""Client ids one tab or one device may hold in one document."""
DOCUMENT_CLIENTS_MAX: Final = 256
STATE_BYTES_MAX: Final = AWARENESS_BYTES_MAX
STATE_NESTING_MAX: Final = 16
TAB_MESSAGE_BYTES_MAX: Final = 256 * KIB
"""Stock providers send the states of others back, so a tab's message may name the whole room."""
EXPIRY_S: Final = 30.0
"""Yjs clients repeat their state every 15 s and forget others after 30 s."""


@dataclass(frozen=True, slots=True)
class AwarenessEntry:
    """One client's state: a JSON object as text, or None when the client has left."""

    client_id: int
    clock: int
    state: str | None


def decode_awareness(data: bytes, *, bytes_max: int, clients_max: int) -> list[AwarenessEntry]:
    """Decode one awareness update.

    Args:
        data: the update, without the y-websocket message number.
        bytes_max: refuse anything larger.
        clients_max: refuse more entries than this.

    Raises:
        WireError: not a whole awareness update within the limits; nothing is returned then.
    """
    if len(data) > bytes_max:
        raise WireError("an awareness update is too large")
    reader = LibReader(data)
    count = reader.uvar()
    if count > clients_max:
        raise WireError("an awareness update names too many clients")
    entries = [AwarenessEntry(reader.uvar(), reader.uvar(), _state(reader.text())) for _ in range(count)]
    reader.end()
    return entries


def _state(text: str) -> str | None:
    if text == "null":
        return None
    if len(text) > STATE_BYTES_MAX or len(text.encode()) > STATE_BYTES_MAX:
        raise WireError("an awareness state is too large")
    if not (text.startswith("{") and text.endswith("}")):
        raise WireError("an awareness state is not a JSON object")
    try:
        check_json(text, STATE_NESTING_MAX)
    except ProtocolViolation as error:
        raise WireError("an awareness state is not sound JSON") from error
    return text


def encode_awareness(entries: Iterable[AwarenessEntry]) -> bytes:
    """Encode entries as one awareness update; the inverse of `decode_awareness`."""
    fields = [
        write_uvar(entry.client_id) + write_uvar(entry.clock) + write_bytes((entry.state or "null").encode())
        for entry in entries
    ]
    return write_uvar(len(fields)) + b"".join(fields)


def clients_of(change: bytes | None) -> list[int]:
    """The client ids that a change returned by `Presence` names as present."""
    if change is None:
        return []
    entries = decode_awareness(change, bytes_max=len(change), clients_max=DOCUMENT_CLIENTS_MAX)
    return [entry.client_id for entry in entries if entry.state is not None]


@dataclass(slots=True)
class _Client:
    source: Hashable
    clock: int
    state: str | None
    heard_at: Seconds


class Presence:
    """The awareness states of one document.

    1. A client id belongs to the source that first named it, until that source lets it go.
       So nobody moves anybody else's cursor, and the echoes of stock providers end here.
    2. A clock never goes back, also for a client that has just left: an echo still under way
       cannot bring a ghost.
    3. At most `SOURCE_CLIENTS_MAX` ids per source and `DOCUMENT_CLIENTS_MAX` in all; what
       exceeds them is ignored, not an error.
    """

    def __init__(self) -> None:
        self._clients: dict[int, _Client] = {}

    def apply(
        self, source: Hashable, data: bytes, now: Seconds, *, bytes_max: int = AWARENESS_BYTES_MAX
    ) -> bytes | None:
        """Take in what `source` says.

        Args:
            source: the tab's handle or the remote device; equal for all it sends.
            data: an awareness update.
            now: monotonic seconds.
            bytes_max: 4 KiB for remote devices; `TAB_MESSAGE_BYTES_MAX` for a tab.

        Returns:
            The part that was news, to forward to everybody (its sender too), or None.

        Raises:
            WireError: malformed or above the limits; nothing was changed.
        """
        entries = decode_awareness(data, bytes_max=bytes_max, clients_max=DOCUMENT_CLIENTS_MAX)
        news = [entry for entry in entries if self._take(source, entry, now)]
        return encode_awareness(news) if news else None

    def leave(self, source: Hashable, now: Seconds) -> bytes | None:
        """Forget `source`; returns the removal update to forward, or None if it had no client."""
        gone = [
            client_id
            for client_id, client in self._clients.items()
            if client.source == source and client.state is not None
        ]
        return self._remove(gone, now)

    def expire(self, now: Seconds) -> bytes | None:
        """Remove the clients not heard of for `EXPIRY_S`; returns the removal update, or None."""
        silent = [
            client_id for client_id, client in self._clients.items() if now - client.heard_at >= EXPIRY_S
        ]
        for client_id in silent:
            if self._clients[client_id].state is None:
                del self._clients[client_id]
        return self._remove([client_id for client_id in silent if client_id in self._clients], now)

    def states(self) -> bytes | None:
        """Everybody present, for a tab that has just come; None when nobody is."""
        return self._encode(lambda _client: True)

    def states_of(self, sources: Iterable[Hashable]) -> bytes | None:
        """The clients of `sources` only, for instance this daemon's tabs for a remote peer."""
        wanted = frozenset(sources)
        return self._encode(lambda client: client.source in wanted)

    def _encode(self, wanted: Callable[[_Client], bool]) -> bytes | None:
        present = [
            AwarenessEntry(client_id, client.clock, client.state)
            for client_id, client in self._clients.items()
            if client.state is not None and wanted(client)
        ]
        return encode_awareness(present) if present else None

    def _take(self, source: Hashable, entry: AwarenessEntry, now: Seconds) -> bool:
        known = self._clients.get(entry.client_id)
        if known is None:
            if entry.state is None or not self._has_room(source):
                return False
        elif known.state is None:
            if entry.state is None or entry.clock <= known.clock or not self._has_room(source):
                return False
        elif known.source != source or not _is_newer(entry, known):
            return False
        self._clients[entry.client_id] = _Client(source, entry.clock, entry.state, now)
        return True

    def _has_room(self, source: Hashable) -> bool:
        present = [client for client in self._clients.values() if client.state is not None]
        if len(present) >= DOCUMENT_CLIENTS_MAX:
            return False
        self._forget_surplus_departed()
        return sum(client.source == source for client in present) < SOURCE_CLIENTS_MAX

    def _forget_surplus_departed(self) -> None:
        departed = [client_id for client_id, client in self._clients.items() if client.state is None]
        for client_id in departed[: max(0, len(departed) - DOCUMENT_CLIENTS_MAX)]:
            del self._clients[client_id]

    def _remove(self, client_ids: list[int], now: Seconds) -> bytes | None:
        if not client_ids:
            return None
        for client_id in client_ids:
            client = self._clients.pop(client_id)
            self._clients[client_id] = _Client(client.source, client.clock, None, now)
        return encode_awareness(
            AwarenessEntry(client_id, self._clients[client_id].clock, None) for client_id in client_ids
        )


def _is_newer(entry: AwarenessEntry, known: _Client) -> bool:
    """y-protocols: a higher clock wins, and at the same clock only a departure does."""
    return entry.clock > known.clock or (entry.clock == known.clock and entry.state is None)
