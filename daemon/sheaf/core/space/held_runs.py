"""Runs that came too early: after a gap, or under control heads not known yet (PROTOCOL §3).

Bounded over the whole space by `limits.HELD_*`. When full, a run is not kept: its sender
is asked for it again later.
"""

from __future__ import annotations

from bisect import insort

from sheaf.core.base.ids import LogId
from sheaf.core.base.limits import HELD_BYTES_MAX, HELD_ENVELOPES_MAX
from sheaf.core.space.run import Run


class HeldRuns:
    """Runs by log, in the order of their first seq; nothing in them is verified."""

    def __init__(self) -> None:
        self._runs: dict[LogId, list[Run]] = {}
        self.envelopes = 0
        self.bytes = 0

    def __contains__(self, log_id: object) -> bool:
        return log_id in self._runs

    def logs(self) -> list[LogId]:
        """Logs of which something is held."""
        return list(self._runs)

    def keep(self, run: Run) -> bool:
        """Keep `run`; False when there is no room for it."""
        held = self._runs.get(run.log_id, [])
        if any(h.first_seq <= run.first_seq and h.next_seq >= run.next_seq for h in held):
            return True
        if self.bytes + run.size_bytes > HELD_BYTES_MAX:
            return False
        if self.envelopes + len(run.envelopes) > HELD_ENVELOPES_MAX:
            return False
        if run.envelopes:
            insort(self._runs.setdefault(run.log_id, held), run, key=lambda h: h.first_seq)
            self.bytes += run.size_bytes
            self.envelopes += len(run.envelopes)
        return True

    def take(self, log_id: LogId, next_seq: int) -> Run | None:
        """The first held run of a log, out of the hold, if it begins at or below `next_seq`."""
        held = self._runs.get(log_id)
        if not held or held[0].first_seq > next_seq:
            return None
        run = held.pop(0)
        self.bytes -= run.size_bytes
        self.envelopes -= len(run.envelopes)
        if not held:
            del self._runs[log_id]
        return run
