"""From which local address which STUN server answers (PROTOCOL §5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StunRoute:
    """A pair that worked when it was last tried. Both are literal addresses of one family."""

    local: str
    server: tuple[str, int]
