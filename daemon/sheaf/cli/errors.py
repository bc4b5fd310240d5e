"""How a command fails: one sentence on standard error and a documented exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every `sheaf` command (docs/guide/command-line.md)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    NOT_SAVED = 6
    BUSY = 75
    INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends the command: the text says what happened and what to do; `main` prints it."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = code
