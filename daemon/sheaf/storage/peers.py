"""What is remembered of other devices, and who owns which Yjs client id (PROTOCOL §3, §5).

Runs on the worker thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.ports import ClientClaimRow, PeerRow
from sheaf.storage.damage import row_digest
from sheaf.storage.session import Session


def put_peers(session: Session, rows: Iterable[PeerRow]) -> None:
    """Insert or replace what is known of peers."""
    session.execute_many(
        "INSERT OR REPLACE INTO peers (space, device_id, version, addresses, last_seen_ms, digest)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                session.space(row.space_id),
                row.device_id,
                row.version,
                json.dumps(row.addresses),
                row.last_seen_ms,
                row_digest("peers", row),
            )
            for row in rows
        ),
    )


def peers(session: Session, space_id: SpaceId) -> Sequence[PeerRow]:
    """All peers of a space."""
    return session.sound_rows(
        "peers",
        space_id,
        "SELECT device_id, version, addresses, last_seen_ms, digest FROM peers"
        " WHERE space = ? ORDER BY device_id",
        lambda device_id, version, addresses, last_seen_ms: PeerRow(
            space_id, DeviceId(device_id), version, tuple(json.loads(addresses)), last_seen_ms
        ),
    )


def put_claims(session: Session, rows: Iterable[ClientClaimRow]) -> None:
    """Insert or replace the owners of client ids."""
    session.execute_many(
        "INSERT OR REPLACE INTO claims (space, client_id, device_id, digest) VALUES (?, ?, ?, ?)",
        (
            (session.space(row.space_id), row.client_id, row.device_id, row_digest("claims", row))
            for row in rows
        ),
    )


def claims(session: Session, space_id: SpaceId) -> Sequence[ClientClaimRow]:
    """All claimed client ids of a space."""
    devices: dict[bytes, DeviceId] = {}  # one object per device: 20,000 claims of few devices are usual

    def row(client_id: int, device_id: bytes) -> ClientClaimRow:
        device = devices.get(device_id)
        if device is None:
            device = devices[device_id] = DeviceId(device_id)
        return ClientClaimRow(space_id, client_id, device)

    return session.sound_rows(
        "claims",
        space_id,
        "SELECT client_id, device_id, digest FROM claims WHERE space = ? ORDER BY client_id",
        row,
    )
