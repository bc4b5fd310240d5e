"""Opening stored envelopes again, out of sequence (PROTOCOL §3, decision 0023).

An envelope names its epoch only when that changes, so the epoch is found by trying: the
AEAD tells. Devices hold few epochs, and the one that worked last is tried first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import EpochId, LogId
from sheaf.core.space.envelope import open_envelope, parse_envelope
from sheaf.core.space.key_ring import KeyRing
from sheaf.core.space.log_set import LogHead, LogSet
from sheaf.core.space.payload import PartBuffer, Payload, PayloadItem, decode_payload, visible_items


@dataclass(frozen=True, slots=True)
class StoredItems:
    """What one stored envelope brings; `items` is empty when it cannot be read."""

    log_id: LogId
    seq: int
    hlc_ms: int
    items: tuple[PayloadItem, ...]
    agent: str | None


class StoredOpener:
    """One reading of stored rows; keeps open parts and the epoch between rows of a log."""

    def __init__(self, logs: LogSet, ring: KeyRing) -> None:
        self._logs = logs
        self._ring = ring
        self._parts: dict[LogId, PartBuffer | None] = {}
        self._last: dict[LogId, EpochId] = {}
        self._seqs: dict[LogId, int] = {}

    def open(self, rows: Iterable[tuple[LogId, int, bytes]]) -> list[StoredItems]:
        """See `Space.open_stored`."""
        return [self._open_row(log_id, seq, raw) for log_id, seq, raw in rows]

    def _open_row(self, log_id: LogId, seq: int, raw: bytes) -> StoredItems:
        head = self._logs.get(log_id)
        payload = None if head is None else self._payload(head, seq, raw)
        if payload is None:
            return StoredItems(log_id, seq, 0, (), None)
        items = self._visible(log_id, seq, payload)
        return StoredItems(log_id, seq, payload.hlc_ms, items, payload.agent)

    def _visible(self, log_id: LogId, seq: int, payload: Payload) -> tuple[PayloadItem, ...]:
        parts = self._parts.get(log_id)
        is_consecutive = self._seqs.get(log_id) == seq - 1
        self._seqs[log_id] = seq
        # The end of a chain may be missing among the rows, because it is quarantined; what
        # follows it is then no intruder.
        for before in (parts,) if parts is None or is_consecutive else (parts, None):
            try:
                items, self._parts[log_id] = visible_items(before, payload)
            except ProtocolViolation:
                self._parts[log_id] = None
            else:
                return items
        return ()

    def _payload(self, head: LogHead, seq: int, raw: bytes) -> Payload | None:
        try:
            envelope = parse_envelope(raw)
        except ProtocolViolation:
            return None
        for epoch_id in self._candidates(head, envelope.epoch):
            keys = self._ring.keys(epoch_id)
            if keys is None:
                continue
            try:
                plaintext = open_envelope(envelope, keys.log_cipher(head.log_id), prefix=head.prefix, seq=seq)
                payload = decode_payload(plaintext)
            except ProtocolViolation:
                continue
            self._last[head.log_id] = epoch_id
            return payload
        return None

    def _candidates(self, head: LogHead, named: EpochId | None) -> Iterable[EpochId]:
        if named is not None:
            return (named,)
        guesses = (self._last.get(head.log_id), head.released_epoch, *self._ring.secrets)
        return dict.fromkeys(guess for guess in guesses if guess is not None)
