"""How local edits are put together before they are sealed."""

from __future__ import annotations

import pytest

from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.crdt.replica import Replica, merge_updates
from sheaf.node import sealer
from sheaf.node.sealer import MERGED_BYTES_MAX
from sheaf.ports import PendingRow
from tests.support.nodes import seeded_entropy

SPACE, DOC = SpaceId(b"\1" * 32), DocId(b"\1" * 16)


def edits(*sizes: int) -> list[PendingRow]:
    """One edit for each size, of at least so many bytes."""
    replica = Replica(entropy=seeded_entropy("edits"))
    updates = [replica.append_text("x" * size) for size in sizes]
    return [PendingRow(number, SPACE, DOC, update or b"", 0, None) for number, update in enumerate(updates)]


def test_keystrokes_become_one_update() -> None:
    rows = edits(*[1] * 50)
    (item,) = sealer._items(rows)
    assert len(item.data) < sum(len(row.update) for row in rows)


def test_large_edits_go_as_they_are_and_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = edits(1, 1, MERGED_BYTES_MAX, MERGED_BYTES_MAX, 1, 1)
    merged: list[int] = []

    def watched(updates: list[bytes]) -> bytes:
        merged.append(sum(map(len, updates)))
        return merge_updates(updates)

    monkeypatch.setattr(sealer, "merge_updates", watched)
    items = sealer._items(rows)
    assert [rows[2].update, rows[3].update] == [items[1].data, items[2].data]
    assert len(items) == 4
    assert max(merged) <= MERGED_BYTES_MAX
    copy = Replica.load([item.data for item in items], entropy=seeded_entropy("copy"))
    assert copy.text() == "x" * (4 + 2 * MERGED_BYTES_MAX)
