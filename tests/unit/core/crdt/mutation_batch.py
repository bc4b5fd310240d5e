"""Child process of `test_mutations`: thousands of broken updates against live replicas.

Prints one JSON object of counts. What must never be counted: anything but a refusal or a poisoned
replica, and a replica that accepted a broken update and then cannot be stored and loaded again.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from collections import Counter

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.crdt.replica import Replica, ReplicaPoisoned
from tests.unit.core.crdt.support import history, mutate

CUTS_PER_HISTORY = 10
MUTATIONS_PER_CUT = 15


def run(seed: int, mutations: int) -> Counter[str]:
    """Counts of what became of `mutations` broken updates."""
    outcomes: Counter[str] = Counter()
    while mutations > 0:
        seed += 1
        group, updates = history(seed)
        rng = random.Random(seed)
        full = group[0].replica.encode_state()
        for _ in range(CUTS_PER_HISTORY):
            cut = rng.randrange(len(updates))
            for _ in range(MUTATIONS_PER_CUT):
                broken = mutate(rng, rng.choice([updates[cut], full]), [*updates, full])
                outcomes[_outcome(updates, cut, broken, rng)] += 1
                mutations -= 1
    return outcomes


def _outcome(updates: list[bytes], cut: int, broken: bytes, rng: random.Random) -> str:
    replica = Replica.load(updates[:cut], entropy=rng.randbytes)
    before = replica.digest()
    try:
        replica.apply(broken)
    except UpdateRefused:
        return "refused" if replica.digest() == before else "REFUSED BUT CHANGED"
    except ReplicaPoisoned:
        return "poisoned"
    try:
        for update in updates[cut:]:
            _apply_unless_refused(replica, update)
    except ReplicaPoisoned:
        return "poisoned later"
    again = Replica.load([replica.encode_state()], entropy=rng.randbytes)
    return "accepted" if again.text() == replica.text() else "DIFFERENT WHEN LOADED AGAIN"


def _apply_unless_refused(replica: Replica, update: bytes) -> None:
    try:
        replica.apply(update)
    except UpdateRefused:
        return


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
