"""Reads a document's history into a replica, and keeps snapshots of it.

A snapshot is only a cache of what the logs say: it is merged as an update, and throwing
it away loses nothing. Knows the store's rows and the space's keys, nothing of tabs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from sheaf.core.base.errors import UpdateRefused, WireError
from sheaf.core.base.ids import DocId, EnvId, LogId
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.replica import Replica, ReplicaPoisoned, UpdateGap, survey_updates
from sheaf.core.space.payload import PayloadKind
from sheaf.core.space.space import Space
from sheaf.core.wire import cbor
from sheaf.node.beside import Beside
from sheaf.ports import EnvelopeRow, SnapshotRow, Store

COVERS_BYTES_MAX = 1024 * 1024

logger = structlog.get_logger("sheaf.documents")


@dataclass(slots=True)
class LoadedDocument:
    """A replica with everything that is stored.

    `edits` counts the updates above the snapshot; `refused` are those no replica can take:
    (log, seq, env_id, reason). `missing` says, by log, from which seq on an update could not
    be applied yet, because something it builds on is not here.
    """

    replica: Replica
    edits: int
    refused: list[tuple[LogId, int, EnvId, str]] = field(default_factory=list)
    missing: dict[LogId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stored:
    row: EnvelopeRow
    data: bytes


async def load_replica(
    *,
    store: Store,
    space: Space,
    doc_id: DocId,
    unsealed: Sequence[bytes],
    beside: Beside,
    entropy: Entropy,
) -> LoadedDocument:
    """Build the replica from the snapshot and the envelopes above it, and local edits on top.

    Args:
        unsealed: local edits that are in no envelope, or were not when the caller looked.

    Raises:
        StorageFailure: the store cannot be read.
    """
    snapshot = await store.snapshot(space.space_id, doc_id)
    if snapshot is not None:
        rows = await store.envelopes_of(space.space_id, doc_id, decode_covers(snapshot.covers))
        updates = list(_updates(space, rows, doc_id))
        try:
            return await _load([snapshot.update], updates, unsealed, beside, entropy)
        except (UpdateRefused, ReplicaPoisoned) as error:
            logger.error("a snapshot cannot be read; the logs are read instead", reason=str(error))
    rows = await store.envelopes_of(space.space_id, doc_id, {})
    return await _load([], list(_updates(space, rows, doc_id)), unsealed, beside, entropy)


async def _load(
    base: list[bytes],
    updates: Sequence[_Stored],
    unsealed: Sequence[bytes],
    beside: Beside,
    entropy: Entropy,
) -> LoadedDocument:
    """Raises UpdateRefused, ReplicaPoisoned when already `base` cannot be read."""
    everything = [*base, *(stored.data for stored in updates), *unsealed]
    try:
        survey = await beside.survey(everything, own_states=len(base))
        return LoadedDocument(Replica.load(everything, entropy=entropy, survey=survey), len(updates))
    except (UpdateRefused, ReplicaPoisoned):
        loaded = _load_carefully(base, updates, entropy)
    for update in unsealed:
        try:
            loaded.replica.apply(update)
        except UpdateGap as gap:  # what it builds on is damaged here; it is durable all the same
            logger.error("a local edit cannot be shown now", reason=str(gap))
    return loaded


def _load_carefully(base: Sequence[bytes], updates: Sequence[_Stored], entropy: Entropy) -> LoadedDocument:
    """Apply singly: what was stored before what it builds on waits; what is bad is left out."""
    survey = survey_updates(base, own_states=len(base))
    loaded = LoadedDocument(Replica.load(base, entropy=entropy, survey=survey), len(updates))
    waiting = list(updates)
    while waiting:
        again: list[_Stored] = []
        for stored in waiting:
            row = stored.row
            try:
                loaded.replica.apply(stored.data)
            except UpdateGap:
                again.append(stored)
            except UpdateRefused as error:
                loaded.refused.append((row.log_id, row.seq, row.env_id, str(error)))
            except ReplicaPoisoned as error:
                rest = _load_carefully(base, [each for each in updates if each.row is not row], entropy)
                rest.refused.append((row.log_id, row.seq, row.env_id, str(error)))
                return rest
        if len(again) == len(waiting):
            for stored in again:
                note_missing(loaded.missing, stored.row.log_id, stored.row.seq)
            break
        waiting = again
    return loaded


def note_missing(missing: dict[LogId, int], log_id: LogId, seq: int) -> None:
    """An update of this envelope is not in the replica yet."""
    missing[log_id] = min(seq, missing.get(log_id, seq))


def _updates(space: Space, rows: Sequence[EnvelopeRow], doc_id: DocId) -> Iterator[_Stored]:
    opened = space.open_stored((row.log_id, row.seq, row.raw) for row in rows)
    for row, stored in zip(rows, opened, strict=True):
        for item in stored.items:
            if item.doc_id == doc_id and item.kind is PayloadKind.UPDATE:
                yield _Stored(row, item.data)


def snapshot_row(space: Space, doc_id: DocId, replica: Replica, missing: Mapping[LogId, int]) -> SnapshotRow:
    """The present state of a loaded document and which envelopes it contains; not the `missing` ones."""
    covers = {head.log_id: min(head.applied, missing.get(head.log_id, head.applied)) for head in space.logs}
    return SnapshotRow(
        space_id=space.space_id,
        doc_id=doc_id,
        update=replica.encode_state(),
        covers=encode_covers(covers),
    )


def encode_covers(version: dict[LogId, int]) -> bytes:
    """A version vector as canonical CBOR pairs."""
    return cbor.encode([[bytes(log_id), seq] for log_id, seq in sorted(version.items())])


def decode_covers(data: bytes) -> dict[LogId, int]:
    """Reads `encode_covers`; a snapshot that cannot be read covers nothing."""
    try:
        return dict(_read_pair(pair) for pair in _pairs(data))
    except (WireError, ValueError):
        return {}


def _pairs(data: bytes) -> list[cbor.Value]:
    value = cbor.decode(data, bytes_max=COVERS_BYTES_MAX)
    if not isinstance(value, list):
        raise WireError("a version vector is a list of pairs")
    return value


def _read_pair(pair: cbor.Value) -> tuple[LogId, int]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise WireError("a version vector is a list of pairs")
    log_id, seq = pair
    if not isinstance(log_id, bytes) or not isinstance(seq, int):
        raise WireError("a pair is [log id, next seq]")
    return LogId(log_id), seq
