"""What `sheaf up` says when it is ready, and to whom."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sheaf.cli.up import _announce
from sheaf.config import ReadyInfo

READY = ReadyInfo(port=7411, launch_link="http://127.0.0.1:7411/#token=secret", lan_listening="0.0.0.0:47411")


def announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_journal: bool, ready: ReadyInfo = READY
) -> str:
    """What a fresh daemon prints into a file, which is the journal or not."""
    output = tmp_path / "output"
    with output.open("w") as stream:
        info = os.fstat(stream.fileno())
        inode = info.st_ino if is_journal else info.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{inode}")
        monkeypatch.setattr(sys, "stdout", stream)
        _announce(ready, tmp_path, open_it=False)
    return output.read_text()


def test_the_link_is_printed_with_the_port_others_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = announced(tmp_path, monkeypatch, is_journal=False)
    assert READY.launch_link in text
    assert "port 47411" in text
    assert "0.0.0.0" not in text


@pytest.mark.parametrize("listening", ["127.0.0.1:47411", "[::1]:47411"])
def test_a_daemon_on_loopback_promises_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: str
) -> None:
    ready = replace(READY, lan_listening=listening)
    text = announced(tmp_path, monkeypatch, is_journal=False, ready=ready)
    assert f"Other machines cannot reach this one: it listens at {listening} only" in text
    assert "Other machines reach" not in text


def test_the_link_stays_out_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = announced(tmp_path, monkeypatch, is_journal=True)
    assert "token" not in text
    assert "sheaf open" in text
