"""When a document is said to have changed last; for display, and no clock decides that an edit shows.

An author's clock may be years ahead or behind, and so may ours have been."""

from __future__ import annotations

from collections.abc import Mapping

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.ports import Clock, TouchedRow


def change_time(known_ms: int, edited_ms: int, *, now_ms: int, is_last: bool) -> int:
    """The time to show after an edit has arrived.

    Args:
        known_ms: what was shown until now, 0 for nothing.
        edited_ms: when the edit was made, by its author's clock.
        now_ms: our clock.
        is_last: the author knew of everything that is here, so this is the last edit, whatever the times say.

    Returns:
        Unix milliseconds, never later than `now_ms`. A last edit always moves it, or brings it to now.
    """
    edited_ms = min(edited_ms, now_ms)
    if known_ms > now_ms or edited_ms >= known_ms:
        return edited_ms
    return now_ms if is_last else known_ms


class ChangeTimes:
    """The times of one space's documents; `known` is what is stored of them."""

    def __init__(self, *, space_id: SpaceId, known: Mapping[DocId, int], clock: Clock) -> None:
        self._space_id = space_id
        self._times = dict(known)
        self._clock = clock

    def note(self, doc_id: DocId, edited_ms: int, *, is_last: bool) -> TouchedRow:
        """An edit has arrived (`change_time`). Returns what to store."""
        known_ms, now_ms = self._times.get(doc_id, 0), self._clock.wall_ms()
        self._times[doc_id] = change_time(known_ms, edited_ms, now_ms=now_ms, is_last=is_last)
        return TouchedRow(self._space_id, doc_id, self._times[doc_id])

    def shown(self, doc_id: DocId, created_ms: int) -> int:
        """When it changed last, or was made; never in the future."""
        return min(self._times.get(doc_id, created_ms), self._clock.wall_ms())
