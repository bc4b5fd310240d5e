"""Reading everything once and saying what is wrong (`Store.check`, FAULTS S7, S8).

Three questions: does SQLite find its structure sound, does every row match its digest,
does every envelope stand in the index of its documents. They are asked in slices, so that
commits go in between. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.storage import (
    control_log,
    envelope_log,
    invitations,
    logs,
    mailboxes,
    peers,
    pending,
    quarantine,
    settings,
    snapshots,
    spaces,
    touched,
)
from sheaf.storage.damage import UNREADABLE, DamagedRow
from sheaf.storage.database import Database
from sheaf.storage.session import Session, goes_on

PROBLEMS_MAX: Final = 1_000
_SLICE: Final = 512

_SMALL_TABLES: Final[tuple[Callable[[Session, SpaceId], object], ...]] = (
    control_log.ops,
    control_log.epoch_secrets,
    logs.logs,
    pending.pending,
    invitations.invitations,
    peers.peers,
    peers.claims,
    mailboxes.receipts,
    mailboxes.mailboxes,
    quarantine.quarantined,
    touched.touched,
)
_SliceCheck = Callable[[Session, int], tuple[int | None, list[str]]]
"""Checks the rows after a key; returns the last key checked (None at the end) and problems."""


async def check(database: Database) -> Sequence[str]:
    """One line per problem, at most `PROBLEMS_MAX`; empty when all is sound."""
    problems: list[str] = []
    questions = (_check_structure, _check_small_tables, _check_snapshots, _check_envelopes)
    for question in questions:
        try:
            problems += await question(database)
        except StorageFailure as error:
            problems.append(str(error))
    problems += [row.text for row in database.damage.rows()]
    return problems[:PROBLEMS_MAX]


async def _check_structure(database: Database) -> list[str]:
    problems = []
    names = await database.read(
        lambda session: session.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    )
    for (name,) in names:
        problems += await database.read(partial(_check_table, name=name))
    return problems


def _check_table(session: Session, name: str) -> list[str]:
    found = [text for (text,) in session.rows(f"PRAGMA integrity_check({name})") if text != "ok"]
    strays = session.rows(f"PRAGMA foreign_key_check({name})")
    return found + [f"{name}: row {rowid} belongs to no {parent}" for _, rowid, parent, _ in strays]


async def _check_small_tables(database: Database) -> list[str]:
    for row in await database.read(spaces.spaces):
        for read in _SMALL_TABLES:
            await database.read(partial(_touch, read=read, space_id=row.space_id))
    await database.read(settings.check_all)
    return []


def _touch(session: Session, read: Callable[[Session, SpaceId], object], space_id: SpaceId) -> None:
    """Reading verifies; what is wrong is in the damage log afterwards."""
    read(session, space_id)


async def _check_snapshots(database: Database) -> list[str]:
    return await _in_slices(database, _check_some_snapshots)


async def _check_envelopes(database: Database) -> list[str]:
    return await _in_slices(database, _check_some_envelopes)


async def _in_slices(database: Database, check_slice: _SliceCheck) -> list[str]:
    problems: list[str] = []
    last: int | None = -1
    while last is not None and len(problems) < PROBLEMS_MAX:
        after = last
        last, found = await database.read(partial(_call, check_slice=check_slice, after=after))
        problems += found
        if last is not None and not goes_on((after,), (last,)):
            return [*problems, f"the rows after {after} are out of order; the others were not looked at"]
    return problems


def _call(session: Session, check_slice: _SliceCheck, after: int) -> tuple[int | None, list[str]]:
    return check_slice(session, after)


def _check_some_snapshots(session: Session, after: int) -> tuple[int | None, list[str]]:
    # One at a time: a snapshot may be megabytes.
    row = session.row(
        "SELECT d.doc, s.space_id, d.doc_id FROM snapshots n JOIN documents d ON d.doc = n.doc"
        " JOIN spaces s ON s.space = d.space WHERE n.doc > ? AND s.state <> ? ORDER BY n.doc LIMIT 1",
        (after, spaces.FORGOTTEN),
    )
    if row is None:
        return None, []
    doc, space_id, doc_id = row
    try:
        snapshots.snapshot(session, SpaceId(space_id), DocId(doc_id))
    except UNREADABLE:
        session.damage.note(DamagedRow("documents", str(doc)))
    return doc, []


def _check_some_envelopes(session: Session, after: int) -> tuple[int | None, list[str]]:
    orders = [
        order
        for (order,) in session.rows(
            f"SELECT ord FROM envelopes WHERE ord > ? ORDER BY ord LIMIT {_SLICE}", (after,)
        )
    ]
    if not orders:
        return None, []
    problems = []
    for order, space_id, log_id, *stored in session.rows(
        f"SELECT e.ord, s.space_id, l.log_id, {envelope_log.COLUMNS} FROM envelopes e"
        " JOIN logs l ON l.log = e.log JOIN spaces s ON s.space = l.space"
        " WHERE e.ord BETWEEN ? AND ? AND s.state <> ?",
        (orders[0], orders[-1], spaces.FORGOTTEN),
    ):
        try:
            row = envelope_log.sound_envelope(session, SpaceId(space_id), log_id, stored)
        except UNREADABLE:
            session.damage.note(DamagedRow("spaces", f"of envelope {order}"))
            continue
        if row is not None:
            if stored[0] != envelope_log.is_kept_out(session, row):
                problems.append(f"quarantine: {row.log_id.short} seq {row.seq} is kept out by one row only")
            problems += [
                f"envelope_documents: {row.log_id.short} seq {row.seq} is missing from {doc_id.short}"
                for doc_id in row.documents
                if not envelope_log.is_listed(session, row, doc_id, order)
            ]
    return orders[-1], problems
