"""What the inspector is asked and what it answers: limits and the summary of one update.

Must not know how an update is encoded. PROTOCOL §3 (inspector).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

from sheaf.core.base import limits as base_limits

PLACE_SIZE: Final = 5
"""How many numbers one entry of `UpdateSummary.places` has."""


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """What one update may measure; above it is refused before anything is allocated."""

    bytes_max: int = base_limits.UPDATE_BYTES_MAX
    nesting_max: int = base_limits.UPDATE_NESTING_MAX
    clients_max: int = 65_536
    delete_ranges_max: int = 500_000
    has_holes: bool = False
    """Whether structs that stand for a hole are allowed."""


DEFAULT_LIMITS: Final = UpdateLimits()


class ClockRange(NamedTuple):
    """Clocks `start` ≤ clock < `end` of one client."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class UpdateSummary:
    """What an update writes and what must be there before it.

    clients: the structs it holds, by client id; deleted and collected ones included.
    dependencies: by client id, the clock a document must have reached for nothing of this
        update to be left pending (its own earlier structs, origins, parents, deletion targets).
    deletes: by client id, the (clock, length) ranges it deletes.
    roots: the names of the root types it writes into directly.
    places: for `nesting`, groups of five numbers: client, clock, and what decides how deep the
        items from that clock on lie: another item's client and clock (client -1: a root), and 1
        if that item is the parent rather than a neighbour.
    has_nested_items: an item names another item as its parent.
    has_holes: structs are left out in the middle; no document can take it as it is.
    """

    clients: dict[int, ClockRange]
    dependencies: dict[int, int]
    deletes: dict[int, tuple[tuple[int, int], ...]]
    roots: frozenset[str]
    struct_count: int
    places: array[int]
    has_nested_items: bool
    has_holes: bool = False

    @property
    def is_empty(self) -> bool:
        """The update changes nothing, whatever document it meets."""
        return not self.clients and not self.deletes
