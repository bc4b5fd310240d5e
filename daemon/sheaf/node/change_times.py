"""When a document is said to have changed last; for display, and no clock decides that an edit shows.

An author's clock may be years ahead or behind, and so may ours have been. Pure.
"""

from __future__ import annotations


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
