"""What a member with a changed program can do: seal bytes that an honest daemon would refuse.

Works on the data directory of a daemon that is not running. The envelopes are valid in every
respect (key, chain, signature); only what is inside is not. When the daemon runs again it
hands them out like any others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sheaf.clock import SystemClock
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.space.log_writer import LogWriter
from sheaf.core.space.payload import PayloadItem, PayloadKind
from sheaf.core.space.run import LogState
from sheaf.core.space.space import Space
from sheaf.keystore.choice import open_keystore
from sheaf.node.identity import load_identity
from sheaf.ports import EnvelopeRow, LogRow, Store, WriteBatch
from sheaf.storage import open_store


async def seal_into(data_dir: Path, space_id: SpaceId, doc_id: DocId, updates: Sequence[bytes]) -> int:
    """Seal each update into an envelope of its own, in this member's name; returns how many there are."""
    store = await open_store(data_dir, clock=SystemClock())
    try:
        return await _seal(store, data_dir, space_id, doc_id, updates)
    finally:
        await store.close()


async def _seal(
    store: Store, data_dir: Path, space_id: SpaceId, doc_id: DocId, updates: Sequence[bytes]
) -> int:
    clock = SystemClock()
    identity = await load_identity(
        keystore=open_keystore("auto", data_dir),
        store=store,
        clock=clock,
        entropy=os.urandom,
        default_user_name="nobody",
        default_device_name="nothing",
    )
    space = Space(space_id=space_id, device_id=identity.device.device_id)
    space.restore(
        [row.raw for row in await store.ops(space_id)],
        {row.epoch_id: row.secret for row in await store.epoch_secrets(space_id)},
        [LogState(row.log_id, row.genesis, row.next_seq, row.state) for row in await store.logs(space_id)],
    )
    writer = LogWriter(space, identity.device, identity.certificate, entropy=os.urandom)
    count = 0
    for update in updates:
        item = PayloadItem(doc_id, PayloadKind.UPDATE, update)
        result = writer.seal([item], hlc_ms=clock.wall_ms())
        count += len(result.envelopes)
        await store.commit(
            WriteBatch(
                logs=[
                    LogRow(space_id, state.log_id, state.genesis, state.next_seq, state.state)
                    for state in result.log_states
                ],
                envelopes=[
                    EnvelopeRow(space_id, e.log_id, e.seq, e.env_id, e.raw, e.documents)
                    for e in result.envelopes
                ],
            )
        )
    return count
