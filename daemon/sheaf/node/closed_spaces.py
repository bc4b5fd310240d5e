"""Spaces that are on this device but not open, because they could not be saved or read.

They stay in the list of spaces: what cannot be read is not the same as what is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sheaf.core.base.errors import SheafError, StorageFailure
from sheaf.core.base.ids import SpaceId
from sheaf.core.space.roles import Role
from sheaf.node.views import SpaceSummary


@dataclass(slots=True)
class ClosedSpace:
    """What was last known of a space, and why it is closed."""

    summary: SpaceSummary
    reason: str
    is_unreadable: bool
    """It was tried to open it, in vain; until then it is about to be opened again."""


class ClosedSpaces:
    """By id, every space that is here but not open."""

    def __init__(self) -> None:
        self._closed: dict[SpaceId, ClosedSpace] = {}
        self.settled = asyncio.Event()
        """Clear while a space is about to be opened again."""
        self._settle()

    def add(self, summary: SpaceSummary, failure: SheafError, *, is_unreadable: bool) -> None:
        """A space is closed from now on."""
        summary = replace(summary, state="unavailable")
        self._closed[summary.space_id] = ClosedSpace(summary, reason_of(failure), is_unreadable)
        self._settle()

    def add_unknown(self, space_id: SpaceId, failure: SheafError) -> None:
        """A space of which nothing could be read so far."""
        unknown = SpaceSummary(
            space_id=space_id,
            name="(cannot be opened)",
            role=Role.READER,
            member_count=0,
            document_count=0,
            state="unavailable",
        )
        self.add(unknown, failure, is_unreadable=True)

    def not_opened(self, space_id: SpaceId, failure: SheafError) -> None:
        """It was tried to open a closed space, in vain."""
        closed = self._closed[space_id]
        closed.is_unreadable, closed.reason = True, reason_of(failure)
        self._settle()

    def __contains__(self, space_id: SpaceId) -> bool:
        return space_id in self._closed

    def opened(self, space_id: SpaceId) -> None:
        """A space is open (again)."""
        self._closed.pop(space_id, None)
        self._settle()

    def _settle(self) -> None:
        if all(closed.is_unreadable for closed in self._closed.values()):
            self.settled.set()
        else:
            self.settled.clear()

    def require_none(self, space_id: SpaceId | None = None) -> None:
        """Raise StorageFailure when the space, or any if None is named, is closed."""
        for closed in self._closed.values():
            if space_id in (None, closed.summary.space_id):
                raise StorageFailure(closed.reason)

    def summaries(self) -> Iterator[SpaceSummary]:
        """For the list of spaces."""
        return (closed.summary for closed in self._closed.values())

    def unreadable(self) -> str | None:
        """Why one of them cannot be read; None when all that are closed are about to be opened."""
        return next((closed.reason for closed in self._closed.values() if closed.is_unreadable), None)


def reason_of(failure: SheafError) -> str:
    """A sentence about why a space is closed."""
    if isinstance(failure, StorageFailure):
        return str(failure)
    return f"A space cannot be opened, because what is stored of it is damaged: {failure}"
