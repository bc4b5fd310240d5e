"""Which stored envelopes count after a removal: the accepted set (PROTOCOL §3).

A pure function of envelopes and cuts. An active author's log has no cut; a removed one's
is cut where the removal says. base = everything below the cuts; accepted = closure of base
under predecessors and dependencies, so a late envelope of the removed that an accepted one
builds on is *vouched* for and stays (withholding it would stall its readers). The rest is
quarantine. Since predecessors are in, the accepted part of each log is a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sheaf.core.base.ids import LogId

DepsOf = Callable[[LogId, int, int], Iterable[tuple[LogId, int]]]
"""`deps_of(log, first, end)`: every (log, seq) that envelopes first ≤ seq < end depend on."""


def accepted_prefixes(
    next_seqs: Mapping[LogId, int], cuts: Mapping[LogId, int], deps_of: DepsOf
) -> dict[LogId, int]:
    """How much of each log is accepted.

    Args:
        next_seqs: the stored logs; envelopes 1..next_seq-1 exist.
        cuts: first seq not accepted unasked, of the logs that are cut (0 and 1 both mean all).
        deps_of: looks dependencies up; asked at most once for every envelope.

    Returns:
        per log the first seq that is *not* accepted (quarantine = from there to next_seq).
    """
    accepted = {log_id: _base(log_id, end, cuts) for log_id, end in next_seqs.items()}
    todo = [(log_id, 1, end) for log_id, end in accepted.items() if end > 1]
    while todo:
        log_id, first, end = todo.pop()
        for needed, seq in deps_of(log_id, first, end):
            known = accepted.get(needed)
            if known is None or seq < known:
                continue
            reached = min(seq + 1, next_seqs[needed])
            if reached > known:
                accepted[needed] = reached
                todo.append((needed, known, reached))
    return accepted


def _base(log_id: LogId, end: int, cuts: Mapping[LogId, int]) -> int:
    cut = cuts.get(log_id)
    return end if cut is None else max(1, min(cut, end))
