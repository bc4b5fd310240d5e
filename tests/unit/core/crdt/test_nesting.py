"""Types nested too deeply are refused, in one update or in many; honest documents are not."""

from __future__ import annotations

import pytest

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.limits import UPDATE_NESTING_MAX
from sheaf.core.crdt.inspector import inspect_update
from sheaf.core.crdt.nesting import Nesting
from sheaf.core.crdt.replica import Replica
from sheaf.core.crdt.state_vector import encode_uvar as uvar
from tests.unit.core.crdt.support import history, replica, seeded

ROOT = b"\x07\x01\x04body\x03\x01b"


def _child(client: int, clock: int) -> bytes:
    """An element whose parent is another one."""
    return b"\x07\x00" + uvar(client) + uvar(clock) + b"\x03\x01b"


def _update(client: int, clock: int, *structs: bytes) -> bytes:
    return b"\x01" + uvar(len(structs)) + uvar(client) + uvar(clock) + b"".join(structs) + b"\0"


def test_depth_within_one_update_is_bounded() -> None:
    chain = [ROOT, *(_child(1, clock) for clock in range(UPDATE_NESTING_MAX))]
    replica().apply(_update(1, 0, *chain[:UPDATE_NESTING_MAX]))
    with pytest.raises(UpdateRefused, match="deep"):
        replica().apply(_update(1, 0, *chain))


def test_depth_grown_over_many_updates_and_clients_is_bounded() -> None:
    document = replica()
    document.apply(_update(1, 0, ROOT))
    for level in range(1, UPDATE_NESTING_MAX):
        document.apply(_update(level + 1, 0, _child(level, 0)))
    before = document.digest()
    with pytest.raises(UpdateRefused, match="deep"):
        document.apply(_update(999, 0, _child(UPDATE_NESTING_MAX, 0)))
    assert document.digest() == before


def test_depth_grown_through_neighbours_is_bounded() -> None:
    """Each level's element follows a letter: its parent is the letter's, which is not written out."""
    structs = [ROOT]
    clock = 0
    while len(structs) < 4 * UPDATE_NESTING_MAX:
        structs.append(b"\x04\x00\x01" + uvar(clock) + b"\x01x")
        structs.append(b"\x87\x01" + uvar(clock + 1) + b"\x03\x01b")
        clock += 2
    with pytest.raises(UpdateRefused, match="deep"):
        replica().apply(_update(1, 0, *structs))


def test_depth_is_still_known_after_loading() -> None:
    chain = _update(1, 0, ROOT, *(_child(1, clock) for clock in range(UPDATE_NESTING_MAX - 1)))
    first = replica()
    first.apply(chain)
    again = Replica.load([first.encode_state()], entropy=seeded(4))
    with pytest.raises(UpdateRefused, match="deep"):
        again.apply(_update(9, 0, _child(1, UPDATE_NESTING_MAX - 1)))


def test_a_circle_of_parents_is_refused() -> None:
    circle = (
        b"\x02"
        + (b"\x01" + uvar(1) + uvar(0) + _child(2, 0))
        + (b"\x01" + uvar(2) + uvar(0) + _child(1, 0))
        + b"\0"
    )
    with pytest.raises(UpdateRefused, match="circle"):
        replica().apply(circle)


def test_long_flat_pages_are_not_deep() -> None:
    document = replica()
    for number in range(300):
        document.append_blocks([{"type": "block", "runs": [{"text": f"block {number}"}]}])
    reader = replica(2)
    reader.apply(document.encode_state())
    assert len(reader.read_page()) == 300


@pytest.mark.parametrize("seed", range(10))
def test_depths_kept_step_by_step_are_those_of_the_whole(seed: int) -> None:
    group, updates = history(seed, writers=3, steps=80)
    stepwise, known = Nesting(), dict[int, int]()
    for update in updates:
        summary = inspect_update(update)
        stepwise.note(stepwise.check(summary), known)
        known.update({client: span.end for client, span in summary.clients.items()})
    whole = Nesting()
    summary = inspect_update(group[0].replica.encode_state())
    collected = {
        (client, clock)
        for client, clock, other, _, _ in zip(*[iter(summary.places)] * 5, strict=True)
        if other < 0
    }
    runs = whole.check(summary)
    for number, (client, clock, depth) in enumerate(runs):
        if (client, clock) not in collected or depth > 1:
            assert stepwise.depth(client, clock) == depth, (number, client, clock)
