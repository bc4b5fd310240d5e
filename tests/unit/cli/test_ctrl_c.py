"""Ctrl-C at the worst moment of a waiting command: while the HTTP library holds its lock."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sheaf.cli.waiting import Waiting
from tests.support.daemon import _environment
from tests.support.fake_node import TICKET, FakeNode
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_codes import only_code

END_S_MAX = 30.0
INTERRUPTED_IN_A_REQUEST = """
import signal

import httpcore._synchronization
import httpx

from sheaf.cli.main import main

lock = httpcore._synchronization.ThreadLock
request = httpx.Client.request
due = [False]


def enter(self):
    self._lock.acquire()
    if due[0]:
        due[0] = False
        signal.raise_signal(signal.SIGINT)
    return self


def requested(self, method, url, **options):
    due[0] = method == "GET" and ("/invitations/" in url or "/join/" in url)
    return request(self, method, url, **options)


lock.__enter__ = enter
httpx.Client.request = requested
main()
"""


async def interrupted(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a command that is interrupted the first time it looks."""

    def run() -> tuple[int, str]:
        result = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_IN_A_REQUEST, *arguments],
            capture_output=True,
            text=True,
            timeout=END_S_MAX,
            check=False,
            env=_environment({"SHEAF_DATA_DIR": str(data_dir)}),
        )
        return result.returncode, result.stderr

    return await asyncio.to_thread(run)


async def test_ctrl_c_in_the_middle_of_a_request_withdraws_the_code(
    sheaf: Run, node: FakeNode, tmp_path: Path
) -> None:
    await sheaf("space", "create", "Home")
    code, said = await interrupted(tmp_path, "invite", "Home", "--code")
    assert (code, "The code is withdrawn." in said) == (130, True), said
    assert node.invitation(*only_code(node)).is_revoked


@pytest.mark.parametrize("ticket", [TICKET, "7-orbit-velvet"])
async def test_ctrl_c_in_the_middle_of_a_request_ends_a_join(
    sheaf: Run, node: FakeNode, tmp_path: Path, ticket: str
) -> None:
    code, said = await interrupted(tmp_path, "join", ticket)
    assert code == 130, said
    assert node.joins == {}


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with Waiting():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
