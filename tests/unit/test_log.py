"""The log as the journal takes it: a priority before each line, and nothing where it is no journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import _environment

SCRIPT = """
import logging, structlog, sys
from sheaf.log import configure_logging

configure_logging(sys.argv[1], "debug")
logger = structlog.get_logger("sheaf.test")
logger.debug("one")
logger.info("two", number=2)
logger.warning("three")
logging.getLogger("a.library").warning("four")
try:
    raise ValueError("inner")
except ValueError:
    logger.exception("five")
raise RuntimeError("six")
"""


def logged(tmp_path: Path, log_format: str, *, is_journal: bool) -> list[str]:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        info = os.fstat(stream.fileno())
        inode = info.st_ino if is_journal else info.st_ino + 1
        subprocess.run(
            [sys.executable, "-c", SCRIPT, log_format],
            stderr=stream,
            check=False,
            timeout=60,
            env=_environment({"JOURNAL_STREAM": f"{info.st_dev}:{inode}"}),
        )
    return path.read_text().splitlines()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_every_line_in_the_journal_has_its_level_as_priority(tmp_path: Path, log_format: str) -> None:
    lines = logged(tmp_path, log_format, is_journal=True)
    expected = {"one": "<7>", "two": "<6>", "three": "<4>", "four": "<4>", "five": "<3>", "six": "<3>"}
    for event, priority in expected.items():
        (line,) = [line for line in lines if event in line][-1:]
        assert line.startswith(priority)
    assert all(line.startswith("<") and line[2] == ">" for line in lines), "a traceback's lines, too"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_where_it_is_no_journal_there_are_no_priorities(tmp_path: Path, log_format: str) -> None:
    lines = logged(tmp_path, log_format, is_journal=False)
    assert len(lines) >= 6
    assert not any(line.startswith("<") for line in lines)
