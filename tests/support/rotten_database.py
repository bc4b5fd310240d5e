"""A small database with rows in every table, whose bits are flipped one after the other.

What a reader gets from the tables' own modules is compared with what it gets when all is
sound. The pages are small, so that the whole file can be walked; one connection is kept, and
told by the file's change counter (sqlite.org/fileformat2.html, 1.3.7) to read it again.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from structlog.testing import capture_logs

from sheaf.core.base.errors import StorageFailure
from sheaf.ports import WriteBatch
from sheaf.storage import (
    checks,
    control_log,
    document_logs,
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
from sheaf.storage.damage import DamageLog
from sheaf.storage.failures import DATABASE_ERRORS, storage_failure
from sheaf.storage.migrate import known_migrations, migrate
from sheaf.storage.session import Session
from sheaf.storage.store import _apply
from tests.support.store_rows import Rows

ROWS: Final = Rows()
PAGE_BYTES: Final = 512
_COUNTER_AT: Final = 24
_DOCUMENTS: Final = 2
_SEQS: Final = 4
_SETTINGS: Final = 2
Found = dict[object, list[Any] | None]
"""What was read, by the name of the reading; None where reading failed."""


def rows_for_every_table() -> WriteBatch:
    """Few rows, a fork and an envelope kept out among them."""
    return WriteBatch(
        spaces=[ROWS.space()],
        ops=[ROWS.op(number) for number in range(2)],
        epoch_secrets=[ROWS.epoch_secret(number) for number in range(2)],
        logs=[ROWS.log(log, next_seq=_SEQS) for log in range(2)],
        envelopes=[
            *(ROWS.envelope(seq, docs=(seq % _DOCUMENTS,), size=30) for seq in range(_SEQS)),
            ROWS.envelope(2, branch=1, size=30),
            ROWS.envelope(0, log=1, is_opened=False, size=30),
        ],
        pending=[ROWS.pending(number, doc=number % _DOCUMENTS, agent="agent") for number in range(1, 4)],
        snapshots=[ROWS.snapshot(doc, size=60) for doc in range(_DOCUMENTS)],
        invitations=[ROWS.invitation(0, expires_ms=1_800_000_000_000), ROWS.invitation(1)],
        peers=[ROWS.peer(number) for number in range(2)],
        claims=[ROWS.claim(number) for number in range(1, 4)],
        quarantine=[ROWS.quarantine(3)],
        touched=[ROWS.touched(doc, 1_700_000_000_000 + doc) for doc in range(_DOCUMENTS)],
        receipts=[ROWS.receipt(number) for number in range(2)],
        mailboxes=[ROWS.mailbox()],
        settings={f"name{number}": bytes([number]) * 20 for number in range(_SETTINGS)},
    )


def make_database(path: Path) -> None:
    """A database of small pages, in one file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        migrate(connection, known_migrations(), copies_dir=path.parent)
        connection.execute("BEGIN")
        _apply(Session(connection=connection, damage=DamageLog()), rows_for_every_table())
        connection.execute("COMMIT")


def open_database(path: Path) -> sqlite3.Connection:
    """A connection that reads as the store's does."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0, cached_statements=512)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _readings() -> Iterator[tuple[object, Callable[[Session], Sequence[Any]]]]:
    """Everything that the store's methods hand out, as lists of rows."""
    space_id = ROWS.space_id
    yield "spaces", spaces.spaces
    for read in (
        control_log.ops,
        control_log.epoch_secrets,
        logs.logs,
        envelope_log.unopened,
        pending.pending,
        invitations.invitations,
        peers.peers,
        peers.claims,
        quarantine.quarantined,
        touched.touched,
        mailboxes.receipts,
        mailboxes.mailboxes,
    ):
        yield f"{read.__module__}.{read.__name__}", partial(_call, read)
    for doc in range(_DOCUMENTS):
        doc_id = ROWS.doc_id(doc)
        yield ("pending", doc), partial(pending.pending_of, space_id=space_id, doc_id=doc_id)
        yield ("snapshot", doc), partial(_one, partial(snapshots.snapshot, space_id=space_id, doc_id=doc_id))
        yield ("envelopes", doc), partial(_envelopes_of, doc=doc)
        yield ("frontier", doc), partial(_frontier, doc=doc)
        yield ("count", doc), partial(_one, partial(_counts, doc=doc))
    for log, seq in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0)):
        yield ("run", log, seq), partial(_run, log=log, seq=seq)
    for number in range(_SETTINGS):
        yield ("setting", number), partial(_one, partial(settings.setting, name=f"name{number}"))


def _call(read: Callable[..., Sequence[Any]], session: Session) -> Sequence[Any]:
    return read(session, ROWS.space_id)


def _one(read: Callable[[Session], Any], session: Session) -> Sequence[Any]:
    return [read(session)]


def _frontier(session: Session, doc: int) -> Sequence[Any]:
    return [*document_logs.document_frontier(session, ROWS.space_id, ROWS.doc_id(doc)).items()]


def _counts(session: Session, doc: int) -> tuple[int, ...]:
    above = [(ROWS.log_id(), 1)]
    return tuple(document_logs.document_counts(session, ROWS.space_id, ROWS.doc_id(doc), above))


def _envelopes_of(session: Session, doc: int) -> Sequence[Any]:
    orders: list[int] = []
    position: envelope_log.Position | None = envelope_log.START
    while position is not None:
        some, position = envelope_log.orders_of(session, ROWS.space_id, ROWS.doc_id(doc), {}, position)
        orders += some
    return envelope_log.envelopes_at(session, ROWS.space_id, ROWS.doc_id(doc), sorted(orders))[0]


def _run(session: Session, log: int, seq: int) -> Sequence[bytes]:
    return envelope_log.run(session, ROWS.space_id, ROWS.log_id(log), seq, 1).envelopes


_READINGS: Final = tuple(_readings())


@dataclass
class _Direct:
    """As much of `Database` as `checks.check` asks for, without its thread."""

    session: Session
    damage: DamageLog = field(init=False)

    def __post_init__(self) -> None:
        self.damage = self.session.damage

    async def read(self, query: Callable[[Session], Any]) -> Any:
        """See `Database.read`."""
        try:
            return query(self.session)
        except DATABASE_ERRORS as error:
            raise storage_failure(error, Path()) from error


def check(session: Session) -> Sequence[str]:
    """What `Store.check` says."""
    checking = checks.check(_Direct(session))  # type: ignore[arg-type]
    try:
        checking.send(None)
    except StopIteration as done:
        problems: Sequence[str] = done.value
        return problems
    raise AssertionError("nothing in a check waits here")


def read_everything(session: Session) -> Found:
    """All readings; a damaged database must not surface as anything but a database error."""
    found: Found = {}
    for name, read in _READINGS:
        try:
            found[name] = [row for row in read(session) if row is not None]
        except (*DATABASE_ERRORS, StorageFailure):
            found[name] = None
    return found


class Judge:
    """Says whether a flipped bit is handed out, or takes something away, without anybody being told."""

    def __init__(self, wanted: Found) -> None:
        self._wanted = wanted
        self._allowed = {name: Counter(rows or ()) for name, rows in wanted.items()}
        branch = ROWS.envelope(2, branch=1, size=30).raw  # of a fork, either branch may be sent
        self._allowed["run", 0, 2][branch] += 1

    def sees_a_difference(self, connection: sqlite3.Connection) -> bool:
        """Whether anything is read otherwise than it was stored, noticed or not."""
        with capture_logs():
            return read_everything(Session(connection=connection, damage=DamageLog())) != self._wanted

    def fault(self, session: Session) -> str | None:
        """What is wrong with what `session` reads, or None."""
        found = read_everything(session)
        changed = [name for name, rows in found.items() if rows != self._wanted[name]]
        if not changed:
            return None
        for name in changed:
            if not self._is_allowed(name, found[name] or []):
                return f"{name} hands out what was never stored: {found[name]}"
        if None in found.values() or len(session.damage) or check(session):
            return None
        return f"{changed} changed and nobody says so"

    def _is_allowed(self, name: object, rows: list[Any]) -> bool:
        kind = name[0] if isinstance(name, tuple) else name
        if kind == "count":  # for display
            return True
        if kind == "frontier":  # a receipt may say less than is here, never more
            wanted = dict(self._wanted[name] or ())
            return all(seq <= wanted.get(log_id, 0) for log_id, seq in rows)
        return not Counter(rows) - self._allowed[name]


def fault_of(connection: sqlite3.Connection, judge: Judge) -> str | None:
    """Judge what `connection` reads now; the log would have a line for each damaged row."""
    with capture_logs():
        return judge.fault(Session(connection=connection, damage=DamageLog()))


def sound_judge(path: Path) -> Judge:
    """The judge for the database at `path`, which is sound."""
    with closing(open_database(path)) as connection:
        session = Session(connection=connection, damage=DamageLog())
        found = read_everything(session)
        assert check(session) == []
        assert all(found.values()), [name for name, rows in found.items() if not rows]
        return Judge(found)


class Walk:
    """Flips bits of a database file, one at a time, and judges each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.image = path.read_bytes()
        self._judge = sound_judge(path)
        self._schema_pages = frozenset(_tree(self.image, 1))
        self._counter = int.from_bytes(self.image[_COUNTER_AT : _COUNTER_AT + 4], "big")

    def flips(self) -> Iterator[dict[int, int]]:
        """Every bit of the file once: the byte and the bit. Bits of a page that belong to nothing, and
        that are all zero therefore, are flipped together."""
        for start in range(0, len(self.image), PAGE_BYTES):
            gap = _gap(self.image, start)
            for bit in range(8):
                if gap:
                    yield dict.fromkeys(gap, 1 << bit)
                yield from ({at: 1 << bit} for at in range(start, start + PAGE_BYTES) if at not in gap)

    def faults(self, flips: Sequence[dict[int, int]]) -> list[str]:
        """What is wrong after each of `flips`, one after the other."""
        faults = []
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            with closing(open_database(self._path)) as kept:
                for flip in flips:
                    is_schema = min(flip) // PAGE_BYTES + 1 in self._schema_pages
                    self._write(descriptor, flip)
                    fault = self._judge_afresh() if is_schema else fault_of(kept, self._judge)
                    self._write(descriptor, dict.fromkeys(flip, 0))
                    if fault is not None:
                        faults.append(f"byte {min(flip)} bit {flip[min(flip)].bit_length() - 1}: {fault}")
        finally:
            os.close(descriptor)
        return faults

    def _judge_afresh(self) -> str | None:
        """With a connection of its own, because the schema is read once for each."""
        try:
            with closing(open_database(self._path)) as connection:
                return fault_of(connection, self._judge)
        except DATABASE_ERRORS:
            return None

    def _write(self, descriptor: int, flip: dict[int, int]) -> None:
        start, end = min(flip), max(flip) + 1
        content = bytearray(self.image[start:end])
        for at, mask in flip.items():
            content[at - start] ^= mask
        if start >= 100:  # the header is judged afresh, and its counter is one of its bits
            self._counter += 1
            os.pwrite(descriptor, self._counter.to_bytes(4, "big"), _COUNTER_AT)
        os.pwrite(descriptor, content, start)


def _header_at(start: int) -> int:
    return 100 if start == 0 else start


def _gap(image: bytes, start: int) -> range:
    """The unallocated bytes of a b-tree page (sqlite.org/fileformat2.html, 1.6)."""
    at = _header_at(start)
    kind = image[at]
    if kind not in (2, 5, 10, 13):
        return range(0)
    cells = int.from_bytes(image[at + 3 : at + 5], "big")
    content = int.from_bytes(image[at + 5 : at + 7], "big")
    gap = range(at + (12 if kind in (2, 5) else 8) + 2 * cells, start + content)
    return gap if not any(image[gap.start : gap.stop]) else range(0)


def _tree(image: bytes, page: int) -> Iterator[int]:
    """The pages of the b-tree whose root is `page`, those of long rows excepted."""
    yield page
    at = _header_at((page - 1) * PAGE_BYTES)
    if image[at] not in (2, 5):
        return
    cells = int.from_bytes(image[at + 3 : at + 5], "big")
    yield from _tree(image, int.from_bytes(image[at + 8 : at + 12], "big"))
    for number in range(cells):
        pointer = at + 12 + 2 * number
        cell = (page - 1) * PAGE_BYTES + int.from_bytes(image[pointer : pointer + 2], "big")
        yield from _tree(image, int.from_bytes(image[cell : cell + 4], "big"))
