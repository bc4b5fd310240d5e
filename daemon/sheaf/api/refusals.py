"""How long a client that is refused over and over is kept waiting for it (decision 0068).

Providers that do not know final close codes (y-websocket before 3.1) come back at once with what was
refused, ten times a second. So only the first refusal is said at once; later ones leave the client connected
and unread for a while. Clients whose messages are taken are never slowed down.
"""

from __future__ import annotations

from typing import Final

FORGOTTEN_AFTER_S: Final = 120.0
PAUSE_S_MAX: Final = 25.0
"""Below the 30 s after which stock providers give a silent line up."""
KEPT_MAX: Final = 256


class Refusals:
    """By document as it was asked for: how often clients were refused lately."""

    def __init__(self) -> None:
        self._lately: dict[str, tuple[int, float]] = {}

    def pause_s(self, document_id: str, now: float) -> float:
        """Note a refusal at `now` (monotonic); returns for how long to put off saying it."""
        count, last = self._lately.pop(document_id, (0, now))
        if now - last > FORGOTTEN_AFTER_S:
            count = 0
        self._lately[document_id] = (count + 1, now)
        if len(self._lately) > KEPT_MAX:
            del self._lately[next(iter(self._lately))]
        return min(2.0 ** (count - 1), PAUSE_S_MAX) if count else 0.0
