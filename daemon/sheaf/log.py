"""Logging for the whole process: structlog in front, text or JSON lines behind.

Events first, fields after. Never keys, tokens or content. Standard-library loggers of
our dependencies come out in the same form, from WARNING up. In systemd's journal each line
has its level as priority, for `journalctl -p warning`.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any, Final, Literal

import structlog

from sheaf import journal

_PRIORITIES: Final = (
    (logging.ERROR, journal.ERROR),
    (logging.WARNING, journal.WARNING),
    (logging.INFO, journal.INFO),
)
"""From which level on a line has which priority; below all of them it is for debugging."""


def configure_logging(
    log_format: Literal["text", "json"], level: Literal["debug", "info", "warning", "error"]
) -> None:
    """Set up once, at start; lines go to standard error."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JournalFormatter if journal.is_journal(sys.stderr) else structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        formatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sheaf").setLevel(level.upper())
    sys.excepthook = _log_the_last
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Puts the priority before each line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, of one or more lines."""
        found = (priority for level, priority in _PRIORITIES if record.levelno >= level)
        return journal.with_priority(super().format(record), next(found, journal.DEBUG))


def _log_the_last(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody caught: in the log, at its level, like everything else."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("sheaf").critical("ended by an error of its own", exc_info=(kind, error, trace))
