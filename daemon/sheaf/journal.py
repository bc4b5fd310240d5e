"""Lines for systemd's journal: is a stream connected to it, and the priority of a line (sd-daemon(3)).

Knows nothing of logging; `log` and the command line use it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7
"""Priorities, as in syslog(3)."""


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` is the journal, which other people may read, too (systemd.exec(5))."""
    try:
        output = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{output.st_dev}:{output.st_ino}"


def with_priority(text: str, priority: int) -> str:
    """`text` with the priority before each of its lines, as the journal takes every line for itself."""
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))
