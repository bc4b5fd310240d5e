"""Digests for the statements of a migration, which SQL cannot compute (storage/damage.py)."""

from __future__ import annotations

import sqlite3
from typing import Any

from sheaf.core.base.ids import DocId, EnvId, LogId, SpaceId
from sheaf.ports import EnvelopeRow
from sheaf.storage.damage import UNREADABLE, document_digest, envelope_digest


def add_functions(connection: sqlite3.Connection) -> None:
    """Make the functions known to `connection`; only migrations call them."""
    connection.create_function("document_digest", 3, _document_digest, deterministic=True)
    connection.create_function("quarantined_digest", 8, _quarantined_digest, deterministic=True)


def _document_digest(space_id: Any, doc_id: Any, updated_ms: Any) -> bytes:
    try:
        return document_digest(space_id, doc_id, updated_ms)
    except UNREADABLE:
        return b""  # damaged; no row has this digest


def _quarantined_digest(
    space_id: Any, log_id: Any, seq: Any, env_id: Any, is_opened: Any, packed: Any, raw: Any, digest: Any
) -> Any:
    """The digest of an envelope that is kept out, if `digest` says that the row is sound; else `digest`."""
    try:
        documents = tuple(DocId(packed[at : at + DocId.SIZE]) for at in range(0, len(packed), DocId.SIZE))
        row = EnvelopeRow(
            SpaceId(space_id), LogId(log_id), seq, EnvId(env_id), raw, documents, bool(is_opened)
        )
        return envelope_digest(row, is_quarantined=True) if envelope_digest(row) == digest else digest
    except UNREADABLE:
        return digest
