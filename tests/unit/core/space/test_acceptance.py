"""The accepted set is the closure of what is below the cuts (PROTOCOL §3)."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.ids import LogId
from sheaf.core.space.acceptance import accepted_prefixes

Deps = dict[tuple[LogId, int], list[tuple[LogId, int]]]
A, B, C = (LogId(bytes([n]) * 16) for n in range(3))


def lookup(deps: Deps, log_id: LogId, first: int, end: int) -> Iterable[tuple[LogId, int]]:
    return [dep for seq in range(first, end) for dep in deps.get((log_id, seq), [])]


def accept(next_seqs: dict[LogId, int], cuts: dict[LogId, int], deps: Deps) -> dict[LogId, int]:
    return accepted_prefixes(next_seqs, cuts, lambda log_id, first, end: lookup(deps, log_id, first, end))


def test_without_cuts_everything_is_accepted() -> None:
    assert accept({A: 4, B: 2}, {}, {}) == {A: 4, B: 2}


def test_a_removed_author_keeps_what_the_removal_lists() -> None:
    assert accept({A: 4, B: 9}, {B: 5}, {}) == {A: 4, B: 5}
    assert accept({A: 4, B: 9}, {B: 0}, {}) == {A: 4, B: 1}
    assert accept({A: 4, B: 3}, {B: 50}, {}) == {A: 4, B: 3}


def test_a_late_envelope_is_vouched_for_by_an_active_author_with_all_before_it() -> None:
    assert accept({A: 4, B: 9}, {B: 5}, {(A, 3): [(B, 6)]}) == {A: 4, B: 7}


def test_the_removed_do_not_vouch_for_each_other() -> None:
    deps: Deps = {(C, 3): [(B, 6)]}
    assert accept({B: 9, C: 9}, {B: 5, C: 2}, deps) == {B: 5, C: 2}


def test_vouching_carries_on_through_dependencies() -> None:
    deps: Deps = {(A, 1): [(B, 7)], (B, 6): [(C, 4)]}
    assert accept({A: 2, B: 9, C: 9}, {B: 5, C: 2}, deps) == {A: 2, B: 8, C: 5}


def brute_force(next_seqs: dict[LogId, int], cuts: dict[LogId, int], deps: Deps) -> dict[LogId, int]:
    """The definition, word for word, over single envelopes."""
    inside = {
        (log, seq) for log, end in next_seqs.items() for seq in range(1, min(end, max(1, cuts.get(log, end))))
    }
    while True:
        wanted = {(log, seq - 1) for log, seq in inside if seq > 1}
        wanted |= {dep for envelope in inside for dep in deps.get(envelope, [])}
        if wanted <= inside:
            return {log: 1 + sum(1 for known, _ in inside if known == log) for log in next_seqs}
        inside |= wanted


@given(st.integers(0, 10_000))
def test_random_histories_agree_with_the_definition(seed: int) -> None:
    chance = random.Random(seed)
    logs = [LogId(bytes([n]) * 16) for n in range(chance.randint(1, 4))]
    next_seqs = dict.fromkeys(logs, 1)
    deps: Deps = {}
    for _ in range(chance.randint(0, 30)):
        log = chance.choice(logs)
        others = [other for other in logs if other != log and next_seqs[other] > 1]
        deps[log, next_seqs[log]] = [
            (other, chance.randint(1, next_seqs[other] - 1)) for other in others if chance.random() < 0.3
        ]
        next_seqs[log] += 1
    cuts = {log: chance.randint(0, next_seqs[log] + 1) for log in logs if chance.random() < 0.5}
    assert accept(next_seqs, cuts, deps) == brute_force(next_seqs, cuts, deps)
