"""Handing stored envelopes out to documents, in causal order (PROTOCOL §3).

An envelope is released when its log's earlier envelopes are, its dependencies are, and
its epoch's secret is known; only then is it decrypted. Until then it waits here in
memory (at most `WAITING_BYTES_MAX` over all logs; beyond that the log is *spilled*: its
envelopes are in the store, and `reopen` brings them back). So the version vector runs
ahead of what is readable, nothing is ever sent twice for want of a dependency, and a
document never sees a gap.

Knows nothing of the store and of who may write: only what is verified comes here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DocId, EnvId, EpochId, LogId
from sheaf.core.base.limits import MIB
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.space.envelope import Dep, Envelope, envelope_id, open_envelope, parse_envelope
from sheaf.core.space.log_set import LogHead, LogSet
from sheaf.core.space.payload import PayloadItem, decode_payload, documents_of, visible_items
from sheaf.core.space.run import IngestedEnvelope

WAITING_BYTES_MAX = 32 * MIB
"""About 50,000 keystrokes; only during a catch-up whose logs come in an unlucky order."""
_ENTRY_COST = 500
"""Bytes of Python objects per waiting envelope, estimated."""


class Entry:
    """A stored envelope on its way out; `items` stays None until released."""

    __slots__ = (
        "agent",
        "documents",
        "env_id",
        "envelope",
        "epoch",
        "head",
        "hlc_ms",
        "items",
        "problem",
        "seq",
    )

    def __init__(self, head: LogHead, seq: int, env_id: bytes, envelope: Envelope) -> None:
        self.head = head
        self.seq = seq
        self.env_id = env_id
        self.envelope = envelope
        self.hlc_ms = 0
        self.items: tuple[PayloadItem, ...] | None = None
        self.documents: tuple[DocId, ...] = ()
        self.agent: str | None = None
        self.problem: str | None = None

    def result(self) -> IngestedEnvelope:
        """As the caller sees it."""
        head = self.head
        return IngestedEnvelope(
            head.log_id,
            self.seq,
            EnvId(self.env_id),
            self.envelope.raw,
            head.device_id,
            head.user_id,
            self.hlc_ms,
            self.items,
            self.documents,
            self.agent,
            self.problem,
        )


class Releaser:
    """The waiting room of one space.

    Args:
        logs: the heads; `released…` and the frontier are advanced here.
        keys_of: SpaceKeys of an epoch, or None while its secret is missing.
    """

    def __init__(self, logs: LogSet, keys_of: Callable[[EpochId], SpaceKeys | None]) -> None:
        self._logs = logs
        self._keys_of = keys_of
        self._waiting: dict[LogId, deque[Entry]] = {}
        self._waiting_bytes = 0
        self._for_log: dict[LogId, list[tuple[int, LogId]]] = {}
        self._for_key: dict[EpochId, dict[LogId, None]] = {}
        self._ready: dict[LogId, None] = {}  # dicts as ordered sets: repeatable runs

    @property
    def waiting(self) -> Mapping[LogId, int]:
        """How many envelopes of which logs wait in memory."""
        return {log_id: len(entries) for log_id, entries in self._waiting.items()}

    def add(self, entries: list[Entry]) -> None:
        """Consecutive envelopes of one log, just verified; call `drain` afterwards."""
        head = entries[0].head
        if head.is_spilled:
            return
        queue = self._waiting.get(head.log_id)
        if queue is None:
            # Otherwise the first of the queue is registered with what it waits for.
            queue = self._waiting[head.log_id] = deque()
            self._ready[head.log_id] = None
        queue.extend(entries)
        self._waiting_bytes += sum(_cost(entry) for entry in entries)

    def key_learned(self, epoch: EpochId) -> None:
        """What waited for this epoch's secret may go on."""
        self._ready |= self._for_key.pop(epoch, {})

    def reload(self, rows: Iterable[tuple[LogId, int, bytes]]) -> None:
        """Take back stored, unreleased envelopes of any logs; call `drain` afterwards."""
        by_log: dict[LogId, dict[int, bytes]] = {}
        for log_id, seq, raw in rows:
            by_log.setdefault(log_id, {})[seq] = raw
        for log_id, stored in by_log.items():
            head = self._logs.get(log_id)
            if head is not None and head.is_spilled:
                self._reload_log(head, stored)

    def _reload_log(self, head: LogHead, stored: Mapping[int, bytes]) -> None:
        entries = []
        previous = head.released_id
        for seq in range(head.released, head.next_seq):
            raw = stored.get(seq)
            if raw is None:
                break
            env_id = envelope_id(head.prefix, seq, previous, raw)
            entries.append(Entry(head, seq, env_id, parse_envelope(raw)))
            previous = env_id
        head.is_spilled = False
        if entries:
            self.add(entries)
        head.is_spilled = head.released + len(entries) < head.next_seq

    def drain(self) -> tuple[list[Entry], dict[LogId, None], bool]:
        """Release all that can be.

        Returns:
            the released in causal order; the logs whose head changed; whether a spilled log
            could go on if it were reloaded.
        """
        released: list[Entry] = []
        changed: dict[LogId, None] = {}
        needs_reload = False
        while self._ready:
            log_id, _ = self._ready.popitem()
            head = self._logs.get(log_id)
            if head is None:
                continue
            entries = self._waiting.get(log_id)
            if entries:
                self._advance(head, entries, released, changed)
            needs_reload |= head.is_spilled and not self._waiting.get(log_id)
        self._spill()
        return released, changed, needs_reload

    # ------------------------------------------------------------ one log

    def _advance(
        self, head: LogHead, entries: deque[Entry], released: list[Entry], changed: dict[LogId, None]
    ) -> None:
        before = len(released)
        while entries:
            entry = entries[0]
            keys = self._keys_for(head, entry)
            if keys is None or not self._deps_released(head, entry.envelope.deps):
                break
            entries.popleft()
            self._waiting_bytes -= _cost(entry)
            self._release(head, entry, keys, changed)
            released.append(entry)
        if not entries:
            del self._waiting[head.log_id]
        if len(released) > before:
            changed[head.log_id] = None
            self._wake_dependents(head)

    def _keys_for(self, head: LogHead, entry: Entry) -> SpaceKeys | None:
        epoch = entry.envelope.epoch or head.released_epoch
        assert epoch is not None, "ingest lets no log begin without an epoch"
        keys = self._keys_of(epoch)
        if keys is None:
            self._for_key.setdefault(epoch, {})[head.log_id] = None
        return keys

    def _deps_released(self, head: LogHead, deps: tuple[Dep, ...]) -> bool:
        for dep in deps:
            other = self._logs.get(dep.log_id)
            known = None if other is None else other.recent_id(dep.seq)
            is_other_branch = known is not None and known[: len(dep.check)] != dep.check
            if other is None or other.released <= dep.seq or is_other_branch:
                heapq.heappush(self._for_log.setdefault(dep.log_id, []), (dep.seq, head.log_id))
                return False
        return True

    def _release(self, head: LogHead, entry: Entry, keys: SpaceKeys, changed: dict[LogId, None]) -> None:
        for dep in entry.envelope.deps:
            other = self._logs.get(dep.log_id)
            if other is not None and other is not head and other.released == dep.seq + 1:
                self._logs.cover(dep.log_id)
                changed[dep.log_id] = None
        _open(head, entry, keys)
        head.released = entry.seq + 1
        head.released_id = entry.env_id
        head.released_epoch = entry.envelope.epoch or head.released_epoch
        self._logs.advance(head)

    def _wake_dependents(self, head: LogHead) -> None:
        waiters = self._for_log.get(head.log_id)
        while waiters and waiters[0][0] < head.released:
            self._ready[heapq.heappop(waiters)[1]] = None
        if waiters is not None and not waiters:
            del self._for_log[head.log_id]

    def _spill(self) -> None:
        """Too much waits: forget the newest queues, down to three quarters; the store has them."""
        if self._waiting_bytes <= WAITING_BYTES_MAX:
            return
        while self._waiting and self._waiting_bytes > WAITING_BYTES_MAX * 3 // 4:
            log_id, entries = self._waiting.popitem()
            self._waiting_bytes -= sum(_cost(entry) for entry in entries)
            head = self._logs.get(log_id)
            if head is not None:
                head.is_spilled = True


def _cost(entry: Entry) -> int:
    return len(entry.envelope.raw) + _ENTRY_COST


def _open(head: LogHead, entry: Entry, keys: SpaceKeys) -> None:
    """Decrypt an entry whose turn it is; what its author spoilt brings nothing and says so."""
    try:
        plaintext = open_envelope(
            entry.envelope,
            keys.log_cipher(head.log_id),
            prefix=head.prefix,
            seq=entry.seq,
        )
        payload = decode_payload(plaintext)
        entry.hlc_ms, entry.agent = payload.hlc_ms, payload.agent
        entry.documents = documents_of(payload)
        entry.items, head.parts = visible_items(head.parts, payload)
    except ProtocolViolation as error:
        entry.items = ()
        entry.problem = str(error)
        head.parts = None
