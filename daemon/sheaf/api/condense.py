"""Fewer frames with the same news, for a tab on a slow line (decision 0069)."""

from __future__ import annotations

from collections.abc import Sequence

from sheaf.core.base.errors import SheafError
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.crdt.replica import merge_updates
from sheaf.core.protocol.presence import AwarenessEntry, decode_awareness, encode_awareness
from sheaf.core.protocol.ysync import (
    MESSAGE_AWARENESS,
    MESSAGE_COMMITTED,
    MESSAGE_SYNC,
    SYNC_STEP1,
    SYNC_UPDATE,
    AwarenessMessage,
    SyncUpdate,
    decode_message,
    encode_awareness_message,
    encode_update,
)

_UPDATE = bytes((MESSAGE_SYNC, SYNC_UPDATE))
_STEP1 = bytes((MESSAGE_SYNC, SYNC_STEP1))


def condensed(frames: Sequence[bytes]) -> list[bytes]:
    """What a tab needs of frames that wait for it.

    Updates are merged into one, of somebody's presence the newest is kept, of counts and of questions the
    last. Everything else stays as it is, before them.
    """
    updates = [frame for frame in frames if frame.startswith(_UPDATE)]
    presence = [frame for frame in frames if frame[0] == MESSAGE_AWARENESS]
    counts = [frame for frame in frames if frame[0] == MESSAGE_COMMITTED]
    questions = [frame for frame in frames if frame.startswith(_STEP1)]
    grouped = {*updates, *presence, *counts, *questions}
    others = [frame for frame in frames if frame not in grouped]
    return [*others, *_merged(updates), *_newest(presence), *counts[-1:], *questions[-1:]]


def _merged(frames: list[bytes]) -> list[bytes]:
    updates = [message.update for frame in frames if isinstance(message := decode_message(frame), SyncUpdate)]
    try:
        return [encode_update(merge_updates(updates))] if updates else []
    except SheafError:  # between some of them is a hole; they stay as they are
        return frames


def _newest(frames: list[bytes]) -> list[bytes]:
    newest: dict[int, AwarenessEntry] = {}
    for frame in frames:
        message = decode_message(frame)
        assert isinstance(message, AwarenessMessage)
        for entry in decode_awareness(message.data, bytes_max=INTEGER_MAX, clients_max=INTEGER_MAX):
            newest[entry.client_id] = entry
    return [encode_awareness_message(encode_awareness(list(newest.values())))] if newest else []
