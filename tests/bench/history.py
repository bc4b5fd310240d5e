"""Long histories, written straight into a stopped daemon's data directory.

Everything is what the daemon would have written (sealed by its device, with claims and times),
only in large transactions instead of one for each keystroke.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pycrdt

from sheaf.clock import SystemClock
from sheaf.core.base.ids import INDEX_DOC_ID, DocId, SpaceId
from sheaf.core.crdt.index_document import IndexDocument
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.order import order_between
from sheaf.core.crdt.replica import Replica
from sheaf.core.space.log_writer import LogWriter
from sheaf.keystore.choice import open_keystore
from sheaf.node.beside import Beside
from sheaf.node.client_claims import ClientClaims
from sheaf.node.events import EventBus
from sheaf.node.identity import LocalIdentity, load_identity
from sheaf.node.library import Library
from sheaf.node.sealer import Sealer
from sheaf.node.unit_of_work import UnitOfWork
from sheaf.ports import PendingRow, TouchedRow
from sheaf.storage.lock import lock_data_dir
from sheaf.storage.store import SqliteStore, open_store
from sheaf.task_set import TaskSet
from tests.support.inline_worker import InlineWorker

ENVELOPES_PER_COMMIT = 500


@dataclass
class HistoryWriter:
    """Writes one space's history; `close` commits the rest."""

    space_id: SpaceId
    sealer: Sealer
    claims: ClientClaims
    identity: LocalIdentity
    store: SqliteStore
    unit: UnitOfWork
    envelopes: int = 0

    async def edit(self, doc_id: DocId, update: bytes) -> None:
        """One edit, in an envelope of its own."""
        now_ms = time.time_ns() // 1_000_000
        self.claims.take(inspect_update(update), self.identity.device.device_id, self.unit.batch)
        self.sealer.add(PendingRow(1, self.space_id, doc_id, update, now_ms))
        self.unit.batch.touched.append(TouchedRow(self.space_id, doc_id, now_ms))
        self.envelopes += len(self.sealer.seal_into(self.unit))
        if len(self.unit.batch.envelopes) >= ENVELOPES_PER_COMMIT:
            await self.commit()

    async def commit(self) -> None:
        """What is written so far becomes durable."""
        unit, self.unit = self.unit, UnitOfWork()
        await self.store.commit(unit.batch)


@asynccontextmanager
async def history(data_dir: Path, space_id: str) -> AsyncIterator[HistoryWriter]:
    """Open the space of a stopped daemon for writing."""
    clock = SystemClock()
    lock = lock_data_dir(data_dir, wall_ms=clock.wall_ms())
    store = await open_store(data_dir, clock=clock, lock=lock)
    tasks = TaskSet("history")
    try:
        identity = await load_identity(
            keystore=open_keystore("auto", data_dir),
            store=store,
            clock=clock,
            entropy=os.urandom,
            default_user_name="nobody",
            default_device_name="nothing",
        )
        library = Library(
            identity=identity,
            store=store,
            clock=clock,
            entropy=os.urandom,
            beside=Beside(InlineWorker()),
            events=EventBus(),
            tasks=tasks,
            on_change=lambda _: None,
        )
        await library.start()
        space = library.host(SpaceId.parse(space_id)).space
        writer = HistoryWriter(
            space_id=space.space_id,
            sealer=Sealer(
                space_id=space.space_id,
                writer=LogWriter(space, identity.device, identity.certificate, entropy=os.urandom),
                restored=[],
            ),
            claims=ClientClaims(space_id=space.space_id, owners={}, own=identity.device.device_id),
            identity=identity,
            store=store,
            unit=UnitOfWork(),
        )
        yield writer
        await writer.commit()
        await library.close()
    finally:
        await tasks.close()
        await store.close()


async def write_documents(writer: HistoryWriter, count: int) -> list[DocId]:
    """`count` text documents with a line in each: two envelopes a document."""
    index = IndexDocument(Replica(entropy=os.urandom))
    order: str | None = None
    made = []
    for number in range(count):
        doc_id = DocId(os.urandom(DocId.SIZE))
        order = order_between(order, None, os.urandom)
        created = index.create(
            doc_id,
            title=f"Document {number}",
            type="text",
            parent=None,
            order=order,
            created_ms=time.time_ns() // 1_000_000,
        )
        await writer.edit(INDEX_DOC_ID, created)
        await writer.edit(doc_id, text_update(f"The first line of document {number}.\n"))
        made.append(doc_id)
    index.close()
    return made


async def write_text(writer: HistoryWriter, doc_id: DocId, *, envelopes: int, envelope_bytes: int) -> None:
    """Append to one text document, `envelope_bytes` at a time."""
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    for _ in range(envelopes):
        before = doc.get_state()
        text.insert(len(text), os.urandom(envelope_bytes // 2).hex())
        await writer.edit(doc_id, doc.get_update(before))


def text_update(content: str) -> bytes:
    """A whole new text document, by an author who did nothing else."""
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.get("text", type=pycrdt.Text).insert(0, content)
    return doc.get_update()
