"""What a member may do in a space (PROTOCOL §2)."""

from __future__ import annotations

from enum import StrEnum

from sheaf.core.base.errors import WireError


class Role(StrEnum):
    """Ordered by power: `rank` 0 reader, 1 editor, 2 owner (also the number on the wire)."""

    READER = "reader"
    EDITOR = "editor"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        """0, 1 or 2; higher may do all that lower may."""
        return _RANKS[self]

    @property
    def can_write(self) -> bool:
        """Editors and owners write envelopes and make epochs."""
        return self is not Role.READER

    @classmethod
    def from_rank(cls, rank: int) -> Role:
        """Undo `rank`. Raises WireError for other numbers."""
        if not 0 <= rank < len(_BY_RANK):
            raise WireError("unknown role")
        return _BY_RANK[rank]


_BY_RANK = (Role.READER, Role.EDITOR, Role.OWNER)
_RANKS = {role: rank for rank, role in enumerate(_BY_RANK)}
