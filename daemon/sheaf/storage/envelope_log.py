"""Envelopes and which documents they touch (PROTOCOL §3). Runs on the worker thread.

An envelope is found by (log, seq) for catch-up and by (document, log, seq) for opening a
document. Forks keep several envelopes at one (log, seq).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, Final

from sheaf.core.base.ids import DocId, EnvId, LogId, SpaceId
from sheaf.core.base.limits import MIB
from sheaf.ports import EnvelopeRow, QuarantineRow, StoredRun
from sheaf.storage.damage import UNREADABLE, DamagedRow, envelope_damage, envelope_digest
from sheaf.storage.session import Session, goes_on

SLICE_BYTES: Final = 1 * MIB
SLICE_ROWS: Final = 256
INDEX_SLICE_ROWS: Final = 4_096
"""How much one read takes before commits may go in between."""

Position = tuple[int, int, int]
"""(log, seq, order) of the index entry seen last."""
START: Final[Position] = (0, 0, -1)

COLUMNS: Final = "e.is_quarantined, e.seq, e.env_id, e.is_opened, e.documents, e.digest, e.raw"
_INSERT: Final = (
    "INSERT INTO envelopes (log, seq, env_id, before, is_quarantined, is_opened, documents, digest, raw)"
    " VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?) ON CONFLICT (log, seq, env_id) DO NOTHING"
)


def put_envelopes(session: Session, rows: Iterable[EnvelopeRow]) -> None:
    """Append envelopes. A known one is left alone, unless its stored row was found damaged."""
    for row in rows:
        log = session.log(row.space_id, row.log_id)
        keep_out = is_kept_out(session, row)
        documents = b"".join(row.documents)
        digest = envelope_digest(row, is_quarantined=keep_out)
        values = (log, row.seq, row.env_id, keep_out, row.is_opened, documents, digest, row.raw)
        cursor = session.execute(_INSERT, values)
        if cursor.rowcount > 0:
            _put_documents(session, row, log, cursor.lastrowid)
            if len(session.damage):
                session.damage.forget_envelope(row.log_id, row.seq)
        elif len(session.damage):
            _repair(session, row, log)


def put_opened(session: Session, rows: Iterable[EnvelopeRow]) -> None:
    """Replace what is known of envelopes stored sealed earlier; append those not known at all."""
    for row in rows:
        if _replace(session, row, session.log(row.space_id, row.log_id)) is None:
            put_envelopes(session, [row])


def run(session: Session, space_id: SpaceId, log_id: LogId, first_seq: int, bytes_max: int) -> StoredRun:
    """Consecutive envelopes from `first_seq`; of a fork the branch stored first.

    Ends before a missing or damaged envelope.
    """
    taken: list[bytes] = []
    size = 0
    rows = session.stream(
        f"SELECT {COLUMNS} FROM envelopes e WHERE log = ? AND seq >= ? ORDER BY seq, ord",
        (session.find_log(space_id, log_id), first_seq),
    )
    with closing(rows):
        for stored in rows:
            row = sound_envelope(session, space_id, log_id, stored)
            if row is None:  # perhaps a sound copy follows under the same seq
                continue
            wanted = first_seq + len(taken)
            if row.seq > wanted:
                break
            if row.seq < wanted:  # a later branch of a fork
                continue
            size += len(row.raw)
            if taken and size > bytes_max:
                break
            taken.append(row.raw)
    return StoredRun(log_id, first_seq, tuple(taken))


def orders_of(
    session: Session, space_id: SpaceId, doc_id: DocId, after: dict[LogId, int], position: Position
) -> tuple[list[int], Position | None]:
    """Where some envelopes of a document are stored, and from where to ask on (None: all seen).

    Seeks once per log, so what a snapshot covers is not walked over.
    """
    doc = session.find_document(space_id, doc_id)
    starts = {session.find_log(space_id, log_id): seq for log_id, seq in after.items()}
    orders: list[int] = []
    log, seq, order = position
    while len(orders) < INDEX_SLICE_ROWS:
        found = session.rows(
            "SELECT seq, ord FROM envelope_documents"
            " WHERE doc = ? AND log = ? AND (seq, ord) > (?, ?) ORDER BY seq, ord LIMIT ?",
            (doc, log, seq, order, INDEX_SLICE_ROWS),
        )
        orders += (each for _, each in found if isinstance(each, int))
        step = (log, *found[-1]) if found else _next_log(session, doc, log, starts)
        if step is None:
            return orders, None
        if not goes_on((log, seq, order), step):
            entry = f"after {(log, seq, order)}"
            session.damage.note(DamagedRow("envelope_documents", entry, space_id, doc_id=doc_id))
            return orders, None
        log, seq, order = step
    return orders, (log, seq, order)


def _next_log(
    session: Session, doc: int | None, log: int, starts: dict[int | None, int]
) -> tuple[Any, int, int] | None:
    """From where to read on in the next log that touches the document."""
    found = session.row(
        "SELECT log FROM envelope_documents WHERE doc = ? AND log > ? ORDER BY log LIMIT 1", (doc, log)
    )
    return None if found is None else (found[0], starts.get(found[0], 0), -1)


def envelopes_at(
    session: Session, space_id: SpaceId, doc_id: DocId, orders: Sequence[int]
) -> tuple[list[EnvelopeRow], int]:
    """Accepted, opened envelopes of a document at `orders`, and for how many of these it was enough."""
    rows = session.stream(
        f"SELECT e.ord, l.log_id, {COLUMNS} FROM envelopes e JOIN logs l ON l.log = e.log"
        f" WHERE e.ord IN ({','.join('?' * len(orders))}) ORDER BY e.ord",
        orders,
    )
    found: list[EnvelopeRow] = []
    size = 0
    with closing(rows):
        for order, log_id, *stored in rows:
            row = sound_envelope(session, space_id, log_id, stored)
            if row is not None and doc_id not in row.documents:
                session.damage.note(DamagedRow("envelope_documents", str(order), space_id, doc_id=doc_id))
            elif row is not None and row.is_opened and not stored[0]:
                found.append(row)
                size += len(row.raw)
            if size >= SLICE_BYTES:
                return found, orders.index(order) + 1
    return found, len(orders)


def unopened(session: Session, space_id: SpaceId) -> Sequence[EnvelopeRow]:
    """Envelopes whose epoch secret was missing when they were stored."""
    stored_rows = session.rows(
        f"SELECT l.log_id, {COLUMNS} FROM logs l JOIN envelopes e ON e.log = l.log AND e.is_opened = 0"
        " WHERE l.space = ? ORDER BY e.ord",
        (session.find_space(space_id),),
    )
    rows = (sound_envelope(session, space_id, log_id, stored) for log_id, *stored in stored_rows)
    return [row for row in rows if row is not None]


def sound_envelope(
    session: Session, space_id: SpaceId, log_id: bytes, stored: Sequence[Any]
) -> EnvelopeRow | None:
    """The row of `COLUMNS` if it matches its digest; else it is noted as damaged."""
    is_quarantined, seq, env_id, is_opened, packed, digest, raw = stored
    try:
        documents = tuple(DocId(packed[at : at + DocId.SIZE]) for at in range(0, len(packed), DocId.SIZE))
        row = EnvelopeRow(space_id, LogId(log_id), seq, EnvId(env_id), raw, documents, bool(is_opened))
        if envelope_digest(row, is_quarantined=bool(is_quarantined)) == digest:
            return row
    except UNREADABLE:
        pass
    session.damage.note(envelope_damage(space_id, log_id, seq, env_id))
    return None


def mark(session: Session, row: QuarantineRow, *, is_quarantined: bool) -> None:
    """Say in the stored envelope whether it is kept out; one that is damaged or not here stays as it is."""
    log = session.find_log(row.space_id, row.log_id)
    position = (log, row.seq, row.env_id)
    stored = session.row(
        f"SELECT {COLUMNS} FROM envelopes e WHERE log = ? AND seq = ? AND env_id = ?", position
    )
    envelope = None if stored is None else sound_envelope(session, row.space_id, row.log_id, stored)
    if envelope is None:
        return
    session.execute(
        "UPDATE envelopes SET is_quarantined = ?, digest = ? WHERE log = ? AND seq = ? AND env_id = ?",
        (is_quarantined, envelope_digest(envelope, is_quarantined=is_quarantined), *position),
    )


def is_kept_out(session: Session, row: EnvelopeRow) -> bool:
    """Whether `quarantine` names the envelope."""
    key = (session.find_space(row.space_id), row.env_id)
    return session.row("SELECT 1 FROM quarantine WHERE space = ? AND env_id = ?", key) is not None


def is_listed(session: Session, row: EnvelopeRow, doc_id: DocId, order: int) -> bool:
    """Whether the index of `doc_id` knows the envelope stored at `order`."""
    doc = session.find_document(row.space_id, doc_id)
    log = session.find_log(row.space_id, row.log_id)
    return bool(
        session.rows(
            "SELECT 1 FROM envelope_documents WHERE doc = ? AND log = ? AND seq = ? AND ord = ?",
            (doc, log, row.seq, order),
        )
    )


def _put_documents(session: Session, row: EnvelopeRow, log: int, order: int | None) -> None:
    for doc_id in row.documents:
        session.execute(
            "INSERT INTO envelope_documents (doc, log, seq, ord) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (session.document(row.space_id, doc_id), log, row.seq, order),
        )


def _replace(session: Session, row: EnvelopeRow, log: int) -> int | None:
    """Write `row` over the stored one, its place in the document index included; its order, or None
    when there is none."""
    position = (log, row.seq, row.env_id)
    stored = session.row(
        "SELECT ord, documents FROM envelopes WHERE log = ? AND seq = ? AND env_id = ?", position
    )
    if stored is None:
        return None
    order, packed = stored
    keep_out = is_kept_out(session, row)
    digest = envelope_digest(row, is_quarantined=keep_out)
    session.execute(
        "UPDATE envelopes SET is_quarantined = ?, is_opened = ?, documents = ?, digest = ?, raw = ?"
        " WHERE log = ? AND seq = ? AND env_id = ?",
        (keep_out, row.is_opened, b"".join(row.documents), digest, row.raw, *position),
    )
    _drop_documents(session, row, log, order, packed)
    _put_documents(session, row, log, order)
    return int(order)


def _drop_documents(session: Session, row: EnvelopeRow, log: int, order: int, packed: bytes) -> None:
    """Take the envelope out of the index of the documents it named before; a damaged list names none."""
    for at in range(0, len(packed) - DocId.SIZE + 1, DocId.SIZE):
        doc = session.find_document(row.space_id, DocId(packed[at : at + DocId.SIZE]))
        session.execute(
            "DELETE FROM envelope_documents WHERE doc = ? AND log = ? AND seq = ? AND ord = ?",
            (doc, log, row.seq, order),
        )


def _repair(session: Session, row: EnvelopeRow, log: int) -> None:
    """A known envelope came again; if the stored row is one of the damaged ones, replace it."""
    if any(bad.log_id == row.log_id and bad.seq == row.seq for bad in session.damage.rows()):
        _replace(session, row, log)
        session.damage.forget_envelope(row.log_id, row.seq)
